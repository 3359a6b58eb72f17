"""One log line per request, a request id on every answer, and the headers every answer carries."""

import functools
import itertools
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from user.principal import Principal

logger = logging.getLogger("sheaf.request")

StartResponse = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
_count = itertools.count()
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# nosniff: a stored document is never taken for a page. no-store: answers differ by caller.
FIXED_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
]


class RequestLog:
    """WSGI middleware round the whole application: sets `sheaf.request_id` and writes the line when the answer is out.

    An `X-Request-Id` that a proxy or client sent is kept when it is a plain token.
    """

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        sent_id = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = sent_id if REQUEST_ID.fullmatch(sent_id) else _make_id()
        environ["sheaf.request_id"] = request_id
        status, is_whole = 0, False

        def start(status_line: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            nonlocal status, is_whole
            status = int(status_line[:3])
            names = {name.lower() for name, _ in headers}
            is_whole = "content-length" in names
            headers.extend(pair for pair in FIXED_HEADERS if pair[0].lower() not in names)
            headers.append(("X-Request-Id", request_id))
            return start_response(status_line, headers, *rest)

        body = self._app(environ, start)
        if is_whole and not isinstance(body, list):
            body = _take_whole(body)
        if isinstance(body, list):
            _write_line(environ, status, started)
            return body
        return _Logged(body, lambda: _write_line(environ, status, started))


def _take_whole(body: Iterable[bytes]) -> list[bytes]:
    """The answer as a list, which a server sends in one go; whatever waits for its end is told at once."""
    try:
        return list(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


class _Logged:
    """A streamed body that calls `on_end` once, when it is through or given up."""

    def __init__(self, body: Iterable[bytes], on_end: Callable[[], None]) -> None:
        self._body = body
        self._on_end = on_end

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
        self._on_end()


def _write_line(environ: dict[str, Any], status: int, started: float) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    method, path = environ["REQUEST_METHOD"], _text(environ["PATH_INFO"])
    principal: Principal | None = environ.get("sheaf.principal")
    # Made by hand: logger.info() would look for the calling line, which is always this one.
    record = logging.LogRecord(logger.name, logging.INFO, __file__, 0, "%s %s %s", (method, path, status), None)
    record.__dict__.update(
        method=method,
        path=path,
        status=status,
        milliseconds=round((time.perf_counter() - started) * 1000, 1),
        user_id=str(principal.user_id) if principal and principal.user_id else None,
        request_id=environ["sheaf.request_id"],
    )
    logger.handle(record)


def _make_id() -> str:
    """A new request id: 32 hexadecimal digits, those of this process and a count.

    Not uuid4: asking the system for random bytes lets go of the interpreter, and getting it back is a wait.
    """
    return f"{_process_id()}{next(_count):012x}"


@functools.cache
def _id_of_process(_pid: int) -> str:
    return secrets.token_hex(10)


def _process_id() -> str:
    return _id_of_process(os.getpid())


def _text(path: str) -> str:
    """A WSGI path (bytes as Latin-1, PEP 3333) as the text it spells; never more than a line's worth."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")[:500]
