"""How log lines look and where they go: JSON in production, one readable line in development, both on stderr.

What is logged is decided where it is logged; here nothing is added to it.
"""

import atexit
import collections
import datetime
import json
import logging
import os
import re
import sys
import threading
import time
from typing import Any, TextIO

import orjson

from settings import config

# Members that callers hand to the logger as `extra`. A list of what may pass: an unknown one is not printed.
EXTRA = ("method", "path", "status", "milliseconds", "user_id", "request_id")
FLUSH_SECONDS = 0.05
# The servers print through handlers of their own; in a worker their lines take our form instead.
SERVER_LOGGERS = ("_granian", "gunicorn.error")
# Line ends and terminal commands in Unicode, and the marks that turn the writing direction.
UNPRINTABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff]"
)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is at that moment, which servers and pytest replace.

    With `is_buffered`, lines below `warning` wait up to FLUSH_SECONDS and a thread of their own writes them together.
    A request that wrote for itself would let go of the interpreter and wait to get it back, and so would whoever
    waits for the handler's lock: measured, that was a fifth of all throughput.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_buffered = False
        self._waiting: collections.deque[str] = collections.deque()
        self._flushing_in: int | None = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Take one record; a line that waits needs no lock, for adding to a deque is one step."""
        if not self.is_buffered or record.levelno >= logging.WARNING:
            return super().handle(record)
        self._waiting.append(self.format(record))
        if self._flushing_in != os.getpid():
            self._start_flushing()
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record now, after those that wait."""
        self.flush_waiting()
        self.stream = sys.stderr
        super().emit(record)

    def flush_waiting(self) -> None:
        """Write the lines that wait."""
        lines = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        if lines:
            sys.stderr.write("\n".join([*lines, ""]))
            sys.stderr.flush()

    def _start_flushing(self) -> None:
        self.acquire()
        try:
            if self._flushing_in != os.getpid():
                self._flushing_in = os.getpid()
                atexit.register(self.flush_waiting)
                threading.Thread(target=self._flush_for_ever, name="log", daemon=True).start()
        finally:
            self.release()

    def _flush_for_ever(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            self.acquire()
            try:
                self.flush_waiting()
            finally:
                self.release()


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, the `EXTRA` members that are set, and `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; lossless, and free of anything that could end it early."""
        entry = {
            "time": _utc_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        found = record.__dict__
        for name in EXTRA:
            if found.get(name) is not None:
                entry[name] = found[name]
        text = _exception_text(self, record)
        if text:
            entry["exception"] = text
        return _dump(entry)


class LineFormatter(logging.Formatter):
    """`23:04:05 INFO sheaf.request: GET /v1/db ...`; further lines are indented, so that none passes for another."""

    def format(self, record: logging.LogRecord) -> str:
        """The line and those that belong to it; other control characters are shown as escapes."""
        time = datetime.datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        first, *more = (_request_line(record) or record.getMessage()).split("\n")
        more += _exception_text(self, record).splitlines()
        lines = [f"{time} {record.levelname} {record.name}: {escape(first)}", *(f"    {escape(line)}" for line in more)]
        return "\n".join(lines)


def configure_logging() -> None:
    """Print this process's log to stderr in the form and from the level that the settings name.

    Calling it again changes form and level, and adds nothing. Only our own loggers go below `warning`: at `debug` the
    driver would print every command with its documents, and Werkzeug at `info` every URL with its query.
    """
    level = getattr(logging, config.log_level.upper())
    root = logging.getLogger()
    handler = next((one for one in root.handlers if isinstance(one, StderrHandler)), None)
    if handler is None:
        handler = StderrHandler()
        root.addHandler(handler)
    handler.setFormatter(JsonFormatter() if config.is_production else LineFormatter())
    handler.is_buffered = config.is_production
    # None of it is printed, and each would cost something per record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("werkzeug").setLevel(max(level, logging.WARNING))
    logging.getLogger("sheaf").setLevel(level)
    for name in SERVER_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [one for one in logger.handlers if type(one) is not logging.StreamHandler]
        logger.propagate = True


def escape(text: str) -> str:
    """The text with every character that could end a line or command a terminal spelled as an escape."""
    return text if text.isprintable() else UNPRINTABLE.sub(_escape_character, text)


def _escape_character(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _dump(entry: dict[str, Any]) -> str:
    try:
        line = orjson.dumps(entry, default=str)
    except TypeError:  # A lone surrogate is no UTF-8; the standard library spells it as an escape.
        return json.dumps(entry, default=str)
    # In JSON the escapes mean the characters themselves, so nothing is lost.
    return line.decode() if line.isascii() else escape(line.decode())


def _request_line(record: logging.LogRecord) -> str | None:
    """A request's record as `GET /v1/db 200 1.4 ms user=... request=...`; None for any other record."""
    found = record.__dict__
    if "request_id" not in found or "method" not in found:
        return None
    user = f" user={found['user_id']}" if found.get("user_id") else ""
    return escape(
        f"{found['method']} {found['path']} {found['status']} {found['milliseconds']} ms"
        f"{user} request={found['request_id']}"
    )


def _exception_text(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def _utc_time(created: float) -> str:
    moment = datetime.datetime.fromtimestamp(created, datetime.UTC).isoformat(timespec="milliseconds")
    return moment[:-6] + "Z"
