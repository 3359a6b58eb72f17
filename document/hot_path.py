"""The most frequent request, one document by its id, answered before the framework: GET /v1/db/{d}/{c}/{id} as such.

The same guard, rules and models as the route, without Flask's context and routing, which cost as much as the query.
Whatever is not exactly this shape goes on to the application: query parameters, other methods, encoded names.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import ejson
import errors
import wire
from access.guard import authenticate
from access.models import decide
from document import models
from document.path import RESERVED
from document.query import read_id

PREFIX = "/v1/db/"
STATUS_WORDS = {status.value: status.phrase for status in HTTPStatus}


class HotPath:
    """WSGI middleware between the request log and the application."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "GET" or environ.get("QUERY_STRING") or not path.startswith(PREFIX):
            return self._app(environ, start_response)
        names = path[len(PREFIX) :].split("/")
        if len(names) != 3 or not all(names) or names[2].startswith(RESERVED) or not path.isascii():
            return self._app(environ, start_response)
        status, headers, body = _answer(environ, *names)
        headers["Content-Length"] = str(len(body))
        start_response(f"{status} {STATUS_WORDS[status]}", list(headers.items()))
        return [body]


def _answer(environ: dict[str, Any], database: str, collection: str, id: str) -> tuple[int, dict[str, str], bytes]:
    form = wire.accepted_form(environ)
    try:
        permit = decide(authenticate(environ), "read", database, collection)
        body = ejson.encode(models.get(permit, read_id(id, None)), form)
    except Exception as failure:  # the outermost handler of this path, as the application's is of all others
        return errors.answer(failure, environ["sheaf.request_id"])
    return 200, {"Content-Type": wire.CONTENT_TYPES[form]}, body
