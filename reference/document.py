"""The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1.html), made from the routes and what is beside them.

A path and its parameters come from the URL map, who may call it from `require` or `public`, shapes and failures from
`describe`, words from docstrings. Nothing is written twice.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from flask import Flask
from werkzeug.routing import Rule

import errors
from errors import ApiError
from openapi import VERSION, Description
from reference.schema import Components

Json = dict[str, Any]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PLACEHOLDER = re.compile(r"<(?:(?P<converter>\w+)(?:\(.*?\))?:)?(?P<name>\w+)>")
CONVERTERS: dict[str, Json] = {
    "default": {"type": "string", "minLength": 1},
    "document_id": {"type": "string", "minLength": 1, "pattern": "^[^_]"},
    "path": {"type": "string", "minLength": 1},
    "int": {"type": "integer", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
}
API_PREFIX = "/v1/"
TYPES_PARAMETER = {
    "name": "types",
    "in": "query",
    "description": "Form of the JSON in the answer. `Accept: application/ejson` asks for canonical and goes first.",
    "schema": {"enum": ["relaxed", "canonical", "plain"], "default": "relaxed"},
}
PROBLEM = {
    "title": "Problem",
    "description": "Why a request failed (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "Where the code is explained."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong, and what to do."},
        "code": {"type": "string", "description": "Stable; what programs should look at."},
        "request_id": {"type": "string", "description": "The request's line in the server's log has it too."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
BEARER = {"type": "http", "scheme": "bearer", "description": "The access token from POST /v1/sessions."}
KEY = {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "A key from POST /v1/keys."}
# What the groups of routes are for, by the name of their blueprint.
GROUPS = {
    "user": "Accounts: sign up, change or delete one's own, confirm an e-mail address, choose a new password. Admins "
    "look after those of others.",
    "session": "Sign in, get new tokens before the old ones end, see where one is signed in, and sign out.",
    "key": "API keys for programs: they act on documents for the user who made them, without a sign-in.",
    "document": "Store, find, change and delete documents. In open databases each belongs to who created it; all other "
    "databases are for admins and their keys.",
    "query": "What a body asks of a collection: long queries, aggregations, counts, distinct values and plans.",
    "monitor": "For load balancers and whoever operates the service: does it run, and can it serve?",
    "reference": "This page, and the same for programs.",
}
HEADERS: dict[type[ApiError], str] = {
    errors.Unauthorized: "WWW-Authenticate",
    errors.RefreshTokenReused: "WWW-Authenticate",
    errors.MethodNotAllowed: "Allow",
    errors.TooManyRequests: "Retry-After",
    errors.ServerBusy: "Retry-After",
    errors.DatabaseUnavailable: "Retry-After",
}


class Route(NamedTuple):
    """One method of one path, and its view."""

    method: str
    path: str
    endpoint: str
    view: Any
    rule: Rule

    @property
    def description(self) -> Description:
        """What `describe` says of the view."""
        return cast(Description, self.view.description)

    @property
    def needs(self) -> frozenset[str]:
        """What `require` asks of the caller; empty for a public route."""
        _, _, names = self.view.access.partition(":")
        return frozenset(names.split(",")) if names else frozenset()

    @property
    def is_api(self) -> bool:
        """Whether it serves stored data, in the caller's form of JSON."""
        return f"{self.path}/".startswith(API_PREFIX)


def routes(app: Flask) -> list[Route]:
    """Every route of the application, in the order in which the views stand in their files."""
    order = list(app.view_functions)
    found = [
        Route(method, PLACEHOLDER.sub(r"{\g<name>}", rule.rule), rule.endpoint, app.view_functions[rule.endpoint], rule)
        for rule in app.url_map.iter_rules()
        for method in METHODS
        if method in (rule.methods or ())
    ]
    return sorted(found, key=lambda one: (order.index(one.endpoint), one.path, METHODS.index(one.method)))


def error_kinds() -> list[type[ApiError]]:
    """Every failure the service can answer, by status and code."""
    return sorted(_subclasses(ApiError), key=lambda kind: (kind.status, kind.code))


def build(app: Flask) -> Json:
    """The document for `app`; the same for the same routes."""
    components = Components()
    components.refer(PROBLEM)
    paths: dict[str, Json] = {}
    for route in routes(app):
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, components)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Sheaf",
            "version": VERSION,
            "summary": "Accounts, permissions and an HTTP API for MongoDB.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": list(_tags(app)),
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "parameters": {"types": TYPES_PARAMETER},
            "responses": {kind.__name__: _problem_response(kind) for kind in error_kinds()},
            "securitySchemes": {"bearer": BEARER, "key": KEY},
        },
    }


def failures(route: Route) -> list[type[ApiError]]:
    """The failures a route can answer: its own, and those that follow from what it takes and needs."""
    found = set(route.description.errors)
    if route.needs:
        found |= {errors.Unauthorized, errors.Forbidden}
    if route.rule.arguments:
        found |= {errors.NotFound}
    if route.is_api:
        found |= {errors.InvalidInput, errors.DatabaseUnavailable}
    if route.description.body is not None:
        found |= {errors.InvalidInput, errors.BodyTooLarge, errors.UnsupportedMediaType, errors.ServerBusy}
    return sorted(found, key=lambda kind: (kind.status, kind.code))


def _subclasses(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _tags(app: Flask) -> Iterator[Json]:
    for name in app.blueprints:
        yield {"name": name, "description": GROUPS.get(name, "")}


def _operation(route: Route, components: Components) -> Json:
    summary, _, rest = (inspect.getdoc(route.view) or "").partition("\n\n")
    operation: Json = {
        "operationId": route.endpoint,
        "tags": [route.endpoint.partition(".")[0]],
        "summary": " ".join(summary.split()),
        "description": rest,
        "parameters": list(_parameters(route, components)),
        "responses": _responses(route, components),
        "security": _security(route),
        "x-access": route.view.access,
    }
    body = route.description.body
    if body is not None:
        schema = components.refer(body)
        content = {name: {"schema": schema} for name in route.description.content_types}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(route: Route, components: Components) -> Iterator[Json]:
    for match in PLACEHOLDER.finditer(route.rule.rule):
        schema = CONVERTERS[match["converter"] or "default"]
        yield {"name": match["name"], "in": "path", "required": True, "schema": schema}
    for name, described in route.description.query.items():
        if name == "types":  # Below, for every route whose answer has a form.
            continue
        schema = {key: value for key, value in described.items() if key not in ("required", "description")}
        parameter: Json = {"name": name, "in": "query", "schema": components.refer(schema)}
        if "description" in described:
            parameter["description"] = described["description"]
        if described.get("required") is True:
            parameter["required"] = True
        yield parameter
    if route.is_api and any(schema is not None for schema in route.description.answers.values()):
        yield {"$ref": "#/components/parameters/types"}


def _security(route: Route) -> list[Json]:
    """The credentials that can meet the route's needs; API keys are for documents only."""
    if not route.needs:
        return []
    if route.needs & {"session", "admin"}:
        return [{"bearer": []}]
    return [{"bearer": []}, {"key": []}]


def _responses(route: Route, components: Components) -> Json:
    found: Json = {}
    for status, schema in route.description.answers.items():
        found[str(status)] = _answer(route, schema, components)
    by_status: dict[str, list[type[ApiError]]] = {}
    for kind in failures(route):
        by_status.setdefault(str(kind.status), []).append(kind)
    for status_text, kinds in by_status.items():
        # An answer of the route's own under that status stands.
        found.setdefault(status_text, _failure(kinds))
    found["default"] = {"description": "Any other failure.", "content": _problem_content()}
    return dict(sorted(found.items()))


def _answer(route: Route, schema: Mapping[str, Any] | None, components: Components) -> Json:
    # A route that takes no body says with `content_types` what it answers.
    answered = ("application/json",) if route.description.body is not None else route.description.content_types
    if schema is None:
        pages: Json = {name: {} for name in answered if name != "application/json"}
        return {"description": "A page.", "content": pages} if pages else {"description": "Done; no body."}
    content: Json = {name: {"schema": components.refer(schema)} for name in answered}
    if route.is_api and "application/json" in content:
        # The same in canonical Extended JSON, in which numbers are objects: the schema does not fit it.
        content["application/ejson"] = {}
    return {"description": schema.get("title", "Done."), "content": content}


def _failure(kinds: list[type[ApiError]]) -> Json:
    if len(kinds) == 1:
        return {"$ref": f"#/components/responses/{kinds[0].__name__}"}
    words = "\n".join(f"- `{kind.code}`: {error_words(kind)}" for kind in kinds)
    return {"description": words, "content": _problem_content(*kinds)}


def _problem_response(kind: type[ApiError]) -> Json:
    response: Json = {"description": error_words(kind), "content": _problem_content(kind)}
    if kind in HEADERS:
        response["headers"] = {HEADERS[kind]: {"schema": {"type": "string"}}}
    return response


def _problem_content(*kinds: type[ApiError]) -> Json:
    content: Json = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if kinds:
        content["examples"] = {kind.code: {"value": _example_problem(kind)} for kind in kinds}
    return {errors.PROBLEM_TYPE: content}


def _example_problem(kind: type[ApiError]) -> Json:
    return {
        "type": f"/docs#error-{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": error_words(kind),
        "code": kind.code,
        "request_id": "0f3a5c6e8b1d4f27a9c0e2b4d6f81357",
    }


def error_words(kind: type[ApiError]) -> str:
    """When a failure is answered: its class's docstring on one line."""
    return " ".join((inspect.getdoc(kind) or "").split())
