"""The OpenAPI document and the reference page: complete, valid, true of real answers, and safe to open."""

import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import errors
from application import BLUEPRINTS
from reference import document, page
from reference.schema import Components, examples, shape
from settings import Settings
from tests.conftest import PASSWORD, Actor, Answer, Client


@pytest.fixture
def spec(client: Client) -> dict[str, Any]:
    """The document as a program fetches it."""
    found: dict[str, Any] = client.get("/openapi.json").json
    return found


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation of everything in the document."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_document_is_valid_openapi(spec: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(spec).iter_errors()] == []


def test_document_has_every_route(app: Flask, spec: dict[str, Any]) -> None:
    expected = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(method, path, one["operationId"]) for method, path, one in operations(spec)} == expected


def test_document_is_the_same_each_time(app: Flask) -> None:
    assert json.dumps(document.build(app)) == json.dumps(document.build(app))


def test_operations_are_told_apart_and_described(spec: dict[str, Any]) -> None:
    found = [operation for _, _, operation in operations(spec)]
    assert len({operation["operationId"] for operation in found}) == len(found)
    tags = {tag["name"]: tag["description"] for tag in spec["tags"]}
    assert list(tags) == [blueprint.name for blueprint, _ in BLUEPRINTS]
    assert all(tags.values())
    for operation in found:
        assert re.fullmatch(r"[A-Z].*\.", operation["summary"]), f"{operation['operationId']}: not a sentence"
        assert operation["tags"][0] in tags


def test_security_follows_from_the_decorator(app: Flask, spec: dict[str, Any]) -> None:
    refusing = {one.endpoint for one in document.routes(app) for kind in one.description.errors if kind.status == 403}
    for method, path, operation in operations(spec):
        schemes = {name for choice in operation["security"] for name in choice}
        responses = operation["responses"]
        if operation["x-access"] == "public":
            assert not schemes, f"{method} {path}"
            assert ("403" in responses) == (operation["operationId"] in refusing), f"{method} {path}"
            continue
        assert {"401", "403"} <= responses.keys(), f"{method} {path}"
        assert schemes == ({"bearer", "key"} if path.startswith("/v1/db/") else {"bearer"})


def test_common_failures_are_on_every_route_that_can_meet_them(spec: dict[str, Any]) -> None:
    for method, path, operation in operations(spec):
        statuses = operation["responses"].keys()
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= statuses, f"{method} {path}"
        if "{" in path:
            assert {"400", "404"} <= statuses, f"{method} {path}"
        if path.startswith("/v1/"):
            assert "503" in statuses, f"{method} {path}"
        assert "default" in statuses


def test_too_many_requests_only_where_declared(app: Flask, spec: dict[str, Any]) -> None:
    declared = {route.endpoint for route in document.routes(app) if errors.TooManyRequests in route.description.errors}
    assert declared
    assert declared == {one["operationId"] for _, _, one in operations(spec) if "429" in one["responses"]}


def test_every_path_parameter_is_declared(spec: dict[str, Any]) -> None:
    for _, path, operation in operations(spec):
        named = [one["name"] for one in operation["parameters"] if one.get("in") == "path"]
        assert named == re.findall(r"{(\w+)}", path)


def check_answer(spec: dict[str, Any], method: str, path: str, answer: Answer) -> None:
    """Fail unless the answer is one that the document declares for the route, body included."""
    responses = spec["paths"][path][method]["responses"]
    response = responses.get(str(answer.status_code), responses["default"])
    if "$ref" in response:
        response = spec["components"]["responses"][response["$ref"].rpartition("/")[2]]
    content = response.get("content", {})
    if not content:
        assert answer.data == b""
        return
    schema = content[answer.content_type.partition(";")[0]].get("schema", {})
    whole = {**schema, "components": spec["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer.json)


def test_real_answers_fit_their_schemas(
    client: Client, spec: dict[str, Any], ann: Actor, bob: Actor, admin: Actor
) -> None:
    user, users, me = "/v1/users/{user_id}", "/v1/users", "/v1/users/me"
    sessions, keys = "/v1/sessions", "/v1/keys"
    books, book = "/v1/db/{database}/{collection}", "/v1/db/{database}/{collection}/{id}"
    here, one = "/v1/db/app/books", "/v1/db/app/books/dune"
    new_user = {"username": "carl", "email": "carl@example.org", "password": PASSWORD}
    key = client.post(keys, {"name": "program", "expires_at": "2099-01-01T00:00:00Z"}, as_=ann)
    made: list[tuple[str, str, Answer]] = [
        ("post", users, client.post(users, new_user)),
        ("post", users, client.post(users, new_user)),
        ("post", users, client.post(users, {"username": "x"})),
        ("get", me, client.get(me, as_=ann)),
        ("get", me, client.get(me)),
        ("get", users, client.get(users, as_=admin)),
        ("get", users, client.get(users, as_=ann)),
        ("get", user, client.get(f"/v1/users/{ann.id}", as_=admin)),
        ("get", user, client.get(f"/v1/users/{'0' * 24}", as_=admin)),
        ("post", sessions, client.post(sessions, {"login": "carl", "password": PASSWORD})),
        ("post", sessions, client.post(sessions, {"login": "carl", "password": "wrong"})),
        ("get", sessions, client.get(sessions, as_=ann)),
        ("post", keys, key),
        ("get", keys, client.get(keys, as_=ann)),
        ("delete", f"{keys}/{{key_id}}", client.delete(f"{keys}/{key.json['id']}", as_=ann)),
        ("post", books, client.post(here, {"_id": "dune", "price": 9}, as_=ann)),
        ("post", books, client.post(here, {"_id": "dune"}, as_=ann)),
        ("post", books, client.post(here, [{}, {}], as_=ann)),
        ("post", books, client.post(here, data=b"x", as_=ann)),
        ("get", books, client.get(here, as_=ann)),
        ("get", books, client.get(here, query={"limit": 0}, as_=ann)),
        ("get", book, client.get(one, as_=ann)),
        ("get", book, client.get(one, as_=bob)),
        ("put", book, client.put(one, {"price": 8}, as_=ann)),
        ("put", book, client.put(f"{one}2", {"price": 8}, as_=ann)),
        ("patch", book, client.patch(one, {"price": None}, as_=ann)),
        ("delete", book, client.delete(one, as_=ann)),
        ("get", "/health", client.get("/health")),
        ("get", "/ready", client.get("/ready")),
        ("get", "/openapi.json", client.get("/openapi.json")),
    ]
    assert {answer.status_code for _, _, answer in made} >= {200, 201, 204, 400, 401, 403, 404, 409, 415}
    for method, path, answer in made:
        check_answer(spec, method, path, answer)


def test_real_answers_to_queries_fit_their_schemas(
    client: Client, spec: dict[str, Any], ann: Actor, admin: Actor
) -> None:
    client.post("/v1/db/app/books", {"_id": "dune", "price": 9}, as_=ann)
    lost: dict[str, Any] = {"filter": {"_id": "0" * 24}}
    bodies: dict[str, dict[str, Any]] = {
        "_query": lost,
        "_aggregate": {"pipeline": [{"$count": "n"}]},
        "_count": lost,
        "_distinct": {**lost, "field": "price"},
        "_explain": {"query": lost},
    }
    for name, body in bodies.items():
        for sent, actor, status in ((body, ann, 200), (body, admin, 200), ({"x": 1}, ann, 400), (body, None, 401)):
            answer = client.post(f"/v1/db/app/books/{name}", sent, as_=actor)
            assert answer.status_code == status, answer.text
            check_answer(spec, "post", f"/v1/db/{{database}}/{{collection}}/{name}", answer)


def test_programs_need_not_fetch_the_document_twice(client: Client) -> None:
    first = client.get("/openapi.json")
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


class Reader(HTMLParser):
    """What a browser would find in the page: ids, links, and elements that load or run something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.elements: list[str] = []
        self.loads: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("src", "href", "srcset", "style", "action") or name.startswith("on"):
                self.loads.append(value or "")


@pytest.fixture
def reference(client: Client) -> Reader:
    """The reference page, read."""
    return Reader(client.get("/docs").text)


def test_every_error_has_its_place_on_the_page(reference: Reader) -> None:
    assert {f"error-{kind.code}" for kind in document.error_kinds()} <= set(reference.ids)


def test_every_operation_has_its_place_on_the_page(reference: Reader, spec: dict[str, Any]) -> None:
    assert {operation["operationId"] for _, _, operation in operations(spec)} <= set(reference.ids)


def test_links_on_the_page_lead_somewhere(reference: Reader, client: Client) -> None:
    assert len(reference.ids) == len(set(reference.ids))
    for link in reference.links:
        if link.startswith("#"):
            assert link[1:] in reference.ids, link
        else:
            assert client.get(link).status_code == 200, link


def test_page_loads_nothing_and_runs_nothing(reference: Reader, client: Client) -> None:
    assert reference.loads == ["data:,"]
    assert not {"script", "iframe", "img", "form", "object"} & set(reference.elements)
    policy = client.get("/docs").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_style_sheet_is_the_one_the_policy_admits(client: Client) -> None:
    found = re.search(r"<style>(.*?)</style>", client.get("/docs").text, re.DOTALL)
    assert found is not None
    assert found[1] == page.STYLE


def test_page_names_a_command_for_every_operation(reference: Reader, client: Client) -> None:
    assert client.get("/docs").text.count("<code>curl ") == reference.elements.count("article")


@pytest.mark.parametrize(
    ("host", "public_url", "shown"),
    [
        ("sheaf.test:8443", "", "http://sheaf.test:8443"),
        ("sheaf.test", "https://api.sheaf.test/", "https://api.sheaf.test"),
        ("a$(reboot)", "", "http://127.0.0.1:8000"),
        ("<b>", "", "http://127.0.0.1:8000"),
    ],
)
def test_examples_are_for_the_address_the_reader_uses(
    client: Client, config: Settings, host: str, public_url: str, shown: str
) -> None:
    config.public_url, config.host, config.port = public_url, "0.0.0.0", 8000
    text = client.get("/docs", headers={"Host": host}).text
    assert f"SHEAF={shown}\n" in text
    assert page.URL_MARK not in text


@pytest.mark.parametrize(
    ("operation", "parts"),
    [
        ("document.list_documents", ["-G", "--data-urlencode 'filter={", "$lt", "sort=-price"]),
        ("document.change_document", ['{"$inc": {"price": 1}}', '"price": null']),
        ("user.reset_password", ['"token": ', '"login": ']),
        ("document.insert_documents", ["-d '{", "-d '[{"]),
    ],
)
def test_examples_show_what_an_operation_can_do(app: Flask, operation: str, parts: list[str]) -> None:
    shown = {one.id: one.curl for section in page.build(document.build(app)).sections for one in section.operations}
    assert [part for part in parts if part not in shown[operation]] == []


def test_examples_are_for_operations_that_exist(app: Flask) -> None:
    known = {route.endpoint: route for route in document.routes(app)}
    for operation, query in page.EXAMPLE_QUERIES.items():
        assert query.keys() <= known[operation].description.query.keys()
    for operation, bodies in page.EXAMPLE_BODIES.items():
        for body in bodies:
            Draft202012Validator(known[operation].description.body or False).validate(body)


def test_groups_are_described_for_users(spec: dict[str, Any]) -> None:
    for tag in spec["tags"]:
        assert not re.search(r"HTTP for|`/v1/", tag["description"]), tag["name"]


def test_words_of_docstrings_cannot_become_markup() -> None:
    assert page.with_code("a <b> & `<i>` c") == "a &lt;b&gt; &amp; <code>&lt;i&gt;</code> c"


def test_schemas_with_a_title_become_components_once() -> None:
    inner = {"title": "Inner part", "type": "string"}
    components = Components()
    outer = {"title": "Outer", "type": "object", "properties": {"title": inner, "other": {"items": inner}}}
    assert components.refer(outer) == {"$ref": "#/components/schemas/Outer"}
    reference = {"$ref": "#/components/schemas/InnerPart"}
    assert components.schemas["Outer"]["properties"] == {"title": reference, "other": {"items": reference}}
    assert components.schemas["InnerPart"] == inner


def test_two_schemas_of_one_title_are_refused() -> None:
    components = Components()
    components.refer({"title": "Thing", "type": "string"})
    with pytest.raises(ValueError, match="Two different schemas are titled 'Thing'"):
        components.refer({"title": "Thing", "type": "integer"})


PART = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, "any JSON"),
        ({"type": ["string", "null"]}, "string"),
        ({"enum": ["x", "y"]}, '"x" or "y"'),
        ({"const": "Bearer"}, '"Bearer"'),
        ({"type": "object"}, "{...}"),
        (PART, '{"a"?, "b"?}'),
        ({**PART, "required": ["a"]}, '{"a", "b"?}'),
        ({**PART, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, '{"a"} or {"b"}'),
        ({**PART, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, '{"a"?, "b"?}'),
        ({"type": "array", "items": PART}, '[{"a"?, "b"?}, ...]'),
        (
            {"type": "object", "properties": {"list": {"type": "array", "items": PART}}},
            '{"list"?: [{"a"?, "b"?}, ...]}',
        ),
    ],
)
def test_shape_on_one_line(schema: Mapping[str, Any], expected: str) -> None:
    assert shape(schema) == expected


def test_examples_of_bodies_fit_their_schemas(app: Flask) -> None:
    """Curl lines show them; a pattern cannot be guessed, so a schema that has one says an example or is optional."""
    for route in document.routes(app):
        if route.description.body is not None:
            for value in examples(route.description.body):
                Draft202012Validator(route.description.body).validate(value)
