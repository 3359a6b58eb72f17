"""The OpenAPI document as a page for people: what the template shows, and the curl line of each operation."""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from reference.schema import REFERENCE, examples, shape

Json = Mapping[str, Any]

STYLE = (Path(__file__).parent / "templates" / "reference.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# Nothing is loaded and nothing runs; the one style sheet stands in the page and is known by its hash.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Stand in for the caller's own values in curl lines.
EXAMPLE_NAMES = {"database": "app", "collection": "books"}
EXAMPLE_ID = "655f00aa1b2c3d4e5f607182"
# What no schema tells: by operation, query parameters and bodies that show what it can do.
EXAMPLE_QUERIES = {"document.list_documents": {"filter": '{"price": {"$lt": 10}}', "sort": "-price"}}
EXAMPLE_BODIES: dict[str, list[Any]] = {
    "document.change_document": [{"$inc": {"price": 1}}, {"subtitle": "A Novel", "price": None}]
}
# Stands in the page where the service's address belongs, which each reader may know by another name.
URL_MARK = "@url@"


class Parameter(NamedTuple):
    """A query parameter, in words."""

    name: str
    kind: str
    meaning: str
    is_required: bool


class Answer(NamedTuple):
    """A success: status, and the body's shape, or its type where it is not JSON; empty without a body."""

    status: str
    shape: str


class Operation(NamedTuple):
    """One method of one path, as the page shows it."""

    id: str
    name: str
    """What the caller does, for the table of contents."""
    method: str
    path: str
    summary: str
    paragraphs: list[str]
    who: str
    parameters: list[Parameter]
    """Those of the query that are this route's own; the path shows its own."""
    body: str
    answers: list[Answer]
    codes: list[tuple[int, str]]
    """Status and code of the failures, each explained under Errors."""
    curl: str


class Section(NamedTuple):
    """The operations of one tag."""

    name: str
    words: str
    operations: list[Operation]


class Problem(NamedTuple):
    """One error code."""

    status: int
    code: str
    title: str
    words: str


class Page(NamedTuple):
    """All that the template shows."""

    version: str
    sections: list[Section]
    problems: list[Problem]


def build(document: Json) -> Page:
    """The page for an OpenAPI document that reference.document built."""
    resolver = _Resolver(document)
    operations = list(_operations(document, resolver))
    sections = [
        Section(tag["name"], tag["description"], [one for tagged, one in operations if tagged == tag["name"]])
        for tag in document["tags"]
    ]
    problems = [_problem(response) for response in document["components"]["responses"].values()]
    return Page(document["info"]["version"], [one for one in sections if one.operations], problems)


def who_may(access: str) -> str:
    """A route's `access` in words."""
    _, _, needs = access.partition(":")
    if not needs:
        return "anybody"
    if "admin" in needs.split(","):
        return "admins, with an access token"
    if needs == "session":
        return "signed-in users, with an access token"
    return f"whoever may {' and '.join(needs.split(','))} there, with an access token or an API key"


def with_code(text: str) -> Markup:
    """Text whose `quoted` parts are shown as code."""
    parts = str(escape(text)).split("`")
    marked = [f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)]
    return Markup("".join(marked))  # noqa: S704 - what is joined was escaped above


class _Resolver:
    """Schemas of the document with their references followed."""

    def __init__(self, document: Json) -> None:
        self._components = document["components"]

    def schema(self, schema: Any) -> Any:
        """The schema with every named part in its place."""
        if isinstance(schema, list):
            return [self.schema(part) for part in schema]
        if not isinstance(schema, Mapping):
            return schema
        if "$ref" in schema:
            return self.schema(self._components["schemas"][schema["$ref"].removeprefix(REFERENCE)])
        return {name: self.schema(part) for name, part in schema.items()}

    def named(self, item: Json) -> Json:
        """A parameter or response, itself or the one referred to."""
        if "$ref" not in item:
            return item
        _, _, kind, name = item["$ref"].split("/")
        found: Json = self._components[kind][name]
        return found


def _operations(document: Json, resolver: _Resolver) -> Iterator[tuple[str, Operation]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield operation["tags"][0], _operation(method.upper(), path, operation, resolver)


def _operation(method: str, path: str, operation: Json, resolver: _Resolver) -> Operation:
    body, content_type = _body(operation, resolver)
    return Operation(
        id=operation["operationId"],
        name=operation["operationId"].rpartition(".")[2].replace("_", " "),
        method=method,
        path=path,
        summary=operation["summary"],
        paragraphs=[" ".join(part.split()) for part in operation["description"].split("\n\n") if part.strip()],
        who=who_may(operation["x-access"]),
        parameters=list(_parameters(operation, resolver)),
        body=shape(body) if body is not None else "",
        answers=list(_answers(operation, resolver)),
        codes=list(_codes(operation, resolver)),
        curl=_curl(method, path, operation, body, content_type),
    )


def _body(operation: Json, resolver: _Resolver) -> tuple[Any, str]:
    for content_type, media in operation.get("requestBody", {}).get("content", {}).items():
        return resolver.schema(media["schema"]), content_type
    return None, ""


def _parameters(operation: Json, resolver: _Resolver) -> Iterator[Parameter]:
    for item in operation["parameters"]:
        # One that is referred to is the same on all routes, and explained once.
        if item.get("in") == "query":
            yield _parameter(item, resolver.schema(item["schema"]))


def _parameter(parameter: Json, schema: Json) -> Parameter:
    kind = ", ".join(map(str, schema["enum"])) if "enum" in schema else schema.get("type", "")
    default = f"Default: {json.dumps(schema['default']).strip(chr(34))}." if "default" in schema else ""
    meaning = " ".join(filter(None, (parameter.get("description", ""), default)))
    return Parameter(parameter["name"], kind, meaning, parameter.get("required", False))


def _answers(operation: Json, resolver: _Resolver) -> Iterator[Answer]:
    for status, response in operation["responses"].items():
        found = resolver.named(response)
        media = next(iter(found.get("content", {"": {}}).items()))
        if media[0] == "application/problem+json":
            continue
        schema = resolver.schema(media[1].get("schema", {}))
        is_json = media[0] == "application/json"
        yield Answer(status, shape(schema) if is_json and schema else media[0])


def _codes(operation: Json, resolver: _Resolver) -> Iterator[tuple[int, str]]:
    for response in operation["responses"].values():
        media = resolver.named(response).get("content", {}).get("application/problem+json", {})
        for code, shown in media.get("examples", {}).items():
            yield shown["value"]["status"], code


def _problem(response: Json) -> Problem:
    (shown,) = response["content"]["application/problem+json"]["examples"].values()
    value = shown["value"]
    return Problem(value["status"], value["code"], value["title"], response["description"])


def _curl(method: str, path: str, operation: Json, body: Any, content_type: str) -> str:
    """The commands, one for each form of body, for a shell in which $SHEAF holds the server's address and $TOKEN an
    access token."""
    path = re.sub(r"\{(\w+)\}", lambda match: EXAMPLE_NAMES.get(match[1], EXAMPLE_ID), path)
    is_default = method == "GET" or (method == "POST" and body is not None)
    query = EXAMPLE_QUERIES.get(operation["operationId"], {})
    verb = ("curl" if is_default else f"curl -X {method}") + (" -G" if query else "")
    lines = [f'{verb} "$SHEAF{path}"']
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    lines += [f"--data-urlencode {shlex.quote(f'{name}={value}')}" for name, value in query.items()]
    if body is None:
        return " \\\n  ".join(lines)
    lines.append(f"-H {shlex.quote(f'Content-Type: {content_type}')}")
    sent = EXAMPLE_BODIES.get(operation["operationId"]) or examples(body)
    return "\n".join(" \\\n  ".join([*lines, f"-d {shlex.quote(json.dumps(each))}"]) for each in sent)
