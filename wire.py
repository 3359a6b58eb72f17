"""HTTP in and out for views: bodies and query parameters read strictly, answers written in the caller's form."""

import dataclasses
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote_to_bytes, urlencode

from flask import Response, current_app, request

import ejson
from admission import reading_bodies, streaming_answers
from errors import BodyTooLarge, InvalidInput, UnsupportedMediaType
from settings import config

JSON_TYPES = frozenset({"application/json", "application/ejson", "application/merge-patch+json"})
MAX_OBJECT_BYTES = 65_536
STREAM_PIECE_BYTES = 131_072
CONTENT_TYPES = {
    ejson.Form.RELAXED: "application/json",
    ejson.Form.CANONICAL: "application/ejson",
    ejson.Form.PLAIN: "application/json",
}
MAX_LINK_CHARACTERS = 2000
FORMS = {"relaxed": ejson.Form.RELAXED, "canonical": ejson.Form.CANONICAL, "plain": ejson.Form.PLAIN}


@dataclasses.dataclass(frozen=True, slots=True)
class Body:
    """A parsed request body."""

    value: Any
    may_hold_operators: bool
    """False when no key can begin with `$`: nothing in the text could spell one."""


def read_body(max_bytes: int | None = None) -> Body:
    """The request's Extended JSON body, at most `max_bytes` long (default: SHEAF_MAX_BODY_BYTES), also when inflated.

    Raises InvalidInput, UnsupportedMediaType or BodyTooLarge.
    """
    max_bytes = min(max_bytes or config.max_body_bytes, config.max_body_bytes)
    _check_content_type()
    raw = _inflated(_received(max_bytes), max_bytes)
    if not raw.strip():
        raise InvalidInput("The request has no body; send JSON.", [{"path": "", "message": "body is missing"}])
    return Body(ejson.loads(raw), ejson.names_operators(raw))


def read_object(
    *, required: Iterable[str] = (), optional: Iterable[str] = (), max_bytes: int = MAX_OBJECT_BYTES
) -> dict[str, Any]:
    """The request's body as an object that has all `required` members and no others than those and the `optional`.

    Accounts and the like need little, so the default for `max_bytes` is small.
    """
    value = read_body(max_bytes).value
    if not isinstance(value, dict):
        raise InvalidInput("The body must be a JSON object.", [{"path": "", "message": "must be an object"}])
    required = tuple(required)
    problems = [{"path": name, "message": "is missing"} for name in required if name not in value]
    known = {*required, *optional}
    problems += [{"path": name, "message": "is not known here"} for name in value if name not in known]
    if problems:
        raise InvalidInput("; ".join(f"{p['path']!r} {p['message']}" for p in problems) + ".", problems)
    return value


def parameters() -> dict[str, str]:
    """The query parameters, each sent at most once and each described beside the view; `types` is known everywhere."""
    view = cast(Any, current_app.view_functions[request.endpoint or ""])
    known = {"types", *view.description.query}
    _check_query(request.query_string)
    found: dict[str, str] = {}
    for name, values in request.args.lists():
        if name not in known:
            raise parameter_error(name, f"is not known here; there are {', '.join(sorted(known))}")
        if len(values) > 1:
            raise parameter_error(name, "was sent more than once")
        found[name] = values[0]
    return found


def _check_query(query: bytes) -> None:
    try:
        unquote_to_bytes(query).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("The query string is not valid UTF-8.") from None


def parameter_error(name: str, message: str) -> InvalidInput:
    """The failure to raise for one bad query parameter."""
    return InvalidInput(f"Query parameter {name!r} {message}.", [{"path": name, "message": message}])


def integer(found: dict[str, str], name: str, default: int, *, minimum: int, maximum: int) -> int:
    """A whole-number query parameter within its range."""
    text = found.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and minimum <= int(text) <= maximum):
        raise parameter_error(name, f"must be a whole number from {minimum} to {maximum}; got {text[:40]!r}")
    return int(text)


def whole_number(sent: dict[str, Any], name: str, default: int, *, minimum: int, maximum: int) -> int:
    """A whole-number member of a body within its range."""
    value = sent.get(name, default)
    if name in sent and (not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum):
        raise InvalidInput(
            f"{name!r} must be a whole number from {minimum} to {maximum}; got {str(value)[:40]!r}.",
            [{"path": name, "message": f"must be a whole number from {minimum} to {maximum}"}],
        )
    return int(value)


def boolean(found: dict[str, str], name: str, *, default: bool) -> bool:
    """A query parameter that is `true` or `false`."""
    text = found.get(name)
    if text is None:
        return default
    if text not in ("true", "false"):
        raise parameter_error(name, f"must be true or false; got {text[:40]!r}")
    return text == "true"


def answer_form() -> ejson.Form:
    """The form of JSON the caller asked for: `Accept: application/ejson`, then `?types=`, else relaxed."""
    types = request.args.get("types", "relaxed")
    if types not in FORMS:
        raise parameter_error("types", "must be relaxed, canonical or plain")
    form = accepted_form(request.environ)
    return form if form is ejson.Form.CANONICAL else FORMS[types]


def accepted_form(environ: dict[str, Any]) -> ejson.Form:
    """The form that the `Accept` header asks for."""
    return ejson.Form.CANONICAL if "application/ejson" in environ.get("HTTP_ACCEPT", "") else ejson.Form.RELAXED


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer whose JSON body is `value`, in the caller's form."""
    form = answer_form()
    return reply_text(ejson.dumps(value, form), form, status, headers)


def reply_text(
    text: bytes | Iterable[bytes], form: ejson.Form, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """An answer whose JSON text is ready, or is streamed piece by piece."""
    return Response(text, status, headers, content_type=CONTENT_TYPES[form])


def reply_list(
    name: str,
    batches: Iterable[bytes],
    closing: Callable[[], Mapping[str, Any]] = dict,
    *,
    if_empty: Mapping[str, Any] | None = None,
) -> Response:
    """An answer `{name: [...], ...}` made from batches of raw BSON documents; more than one batch is streamed.

    The first batch is awaited here, so that whatever fails at once still has its status. A stream holds its thread for
    as long as the client reads, so places for it are limited (ServerBusy). `closing` tells the members after the list,
    when all batches are read. Its `next`, a token, is in a `Link` header, too, unless that had to be sent before the
    token is known. `if_empty` are members to add where there is no document.
    """
    form = answer_form()
    opening = b'{"' + name.encode() + b'":['
    source = filter(None, batches)
    first, second = next(source, b""), next(source, b"")
    if not second:
        members = {**closing(), **({} if first else if_empty or {})}
        text = opening + ejson.encode_many(first, form) + _list_end(members, form)
        return reply_text(text, form, headers=_next_link(members.get("next")))
    give_back = streaming_answers.take()
    texts = _list_text(opening, itertools.chain([first, second], source), closing, form)
    response = reply_text(_in_pieces(texts), form)
    response.call_on_close(give_back)
    return response


def _list_text(
    opening: bytes, batches: Iterable[bytes], closing: Callable[[], Mapping[str, Any]], form: ejson.Form
) -> Iterator[bytes]:
    before = opening
    for batch in batches:
        yield before + ejson.encode_many(batch, form)
        before = b","
    yield _list_end(closing(), form)


def _list_end(members: Mapping[str, Any], form: ejson.Form) -> bytes:
    return b"]," + ejson.dumps(dict(members), form)[1:] if members else b"]}"


def _in_pieces(texts: Iterable[bytes]) -> Iterator[bytes]:
    """The same text in small pieces: a server keeps several until the client has taken them, whatever their size."""
    for text in texts:
        for start in range(0, len(text), STREAM_PIECE_BYTES):
            yield text[start : start + STREAM_PIECE_BYTES]


def _next_link(token: str | None) -> dict[str, str]:
    """The header that leads to the next page: the same query from there (RFC 8288)."""
    if token is None or request.method not in ("GET", "HEAD"):
        return {}
    query = {name: value for name, value in request.args.items() if name != "skip"}
    target = urlencode({**query, "after": token})
    # Proxies have little room for headers; the token is in the body as well.
    return {"Link": f'<?{target}>; rel="next"'} if len(target) <= MAX_LINK_CHARACTERS else {}


def no_content() -> Response:
    """204, without a body and without a content type."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def _check_content_type() -> None:
    if request.mimetype not in JSON_TYPES:
        sent = repr(request.mimetype) if request.mimetype else "none"
        raise UnsupportedMediaType(f"Send the body as JSON, with `Content-Type: application/json`; got {sent}.")
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(f"JSON is UTF-8 (RFC 8259, section 8.1); got charset {charset!r}.")


def _received(max_bytes: int) -> bytes:
    """The body as it was sent. The thread waits for the client meanwhile, so places for it are limited."""
    # One more than is taken: werkzeug cuts off a chunked body at its limit, and we must see that there was more.
    request.max_content_length = max_bytes + 1
    give_back = reading_bodies.take()
    try:
        sent = request.get_data(cache=False)
    finally:
        give_back()
    if len(sent) > max_bytes:
        raise BodyTooLarge(f"The body is over the limit of {max_bytes} bytes.")
    return sent


def _inflated(data: bytes, max_bytes: int) -> bytes:
    """The body without its Content-Encoding."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        return data
    if encoding not in ("gzip", "x-gzip"):
        raise UnsupportedMediaType(f"Content-Encoding may be gzip or identity; got {encoding!r}.")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        inflated = inflater.decompress(data, max_bytes + 1)
    except zlib.error:
        raise InvalidInput("The body is not valid gzip.") from None
    if len(inflated) > max_bytes:
        raise BodyTooLarge(f"The inflated body is over the limit of {max_bytes} bytes.")
    if not inflater.eof or inflater.unused_data:
        raise InvalidInput("The body is not one whole gzip member.")
    return inflated
