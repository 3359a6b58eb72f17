"""What every answer carries, whoever made it: the hot path, a view, a failure, a stream or the framework."""

from collections.abc import Callable
from typing import Any

import pytest

from document import models
from tests.conftest import Actor, Answer, Client, assert_problem

ITEMS = "/v1/db/app/items"
JSON = {"Content-Type": "application/json"}
CANONICAL = {"Accept": "application/ejson"}
Send = Callable[[Client, Actor], Answer]


def fail(*_: Any, **__: Any) -> None:
    """What a bug does."""
    raise RuntimeError("a bug")


def get_unchanged(client: Client, ann: Actor) -> Answer:
    """A page that the browser has already."""
    tag = client.get("/docs").headers["ETag"]
    return client.get("/docs", headers={"If-None-Match": tag})


KINDS: dict[str, tuple[Send, int]] = {
    "hot path": (lambda client, ann: client.get(f"{ITEMS}/x", as_=ann), 200),
    "hot path, canonical": (lambda client, ann: client.get(f"{ITEMS}/x", as_=ann, headers=CANONICAL), 200),
    "hot path, not found": (lambda client, ann: client.get(f"{ITEMS}/y", as_=ann), 404),
    "hot path, nobody": (lambda client, ann: client.get(f"{ITEMS}/x"), 401),
    "view": (lambda client, ann: client.get(f"{ITEMS}/x", as_=ann, query={"types": "plain"}), 200),
    "view, created": (lambda client, ann: client.post(ITEMS, {"n": 1}, as_=ann), 201),
    "view, no content": (lambda client, ann: client.delete(f"/v1/sessions/{ann.session_id}", as_=ann), 204),
    "view, bad input": (lambda client, ann: client.post(ITEMS, data=b"{", headers=JSON, as_=ann), 400),
    "view, nobody": (lambda client, ann: client.get("/v1/users/me"), 401),
    "view, another's": (lambda client, ann: client.get("/v1/users", as_=ann), 403),
    "view, HEAD": (lambda client, ann: client.open("HEAD", f"{ITEMS}/x", as_=ann), 200),
    "stream": (lambda client, ann: client.get(ITEMS, as_=ann, query={"limit": 1000}), 200),
    "framework, no route": (lambda client, ann: client.get("/nowhere"), 404),
    "framework, wrong method": (lambda client, ann: client.put("/v1/users"), 405),
    "framework, OPTIONS": (lambda client, ann: client.open("OPTIONS", "/v1/users"), 200),
    "page of a link": (lambda client, ann: client.get("/v1/users/reset"), 200),
    "reference": (lambda client, ann: client.get("/docs"), 200),
    "reference, unchanged": (get_unchanged, 304),
    "OpenAPI": (lambda client, ann: client.get("/openapi.json"), 200),
    "health": (lambda client, ann: client.get("/health"), 200),
}


@pytest.fixture
def stocked(client: Client, ann: Actor) -> Client:
    """A client, where Ann has one document."""
    assert client.put(f"{ITEMS}/x", {"n": 1}, as_=ann).status_code == 201
    return client


def assert_fixed_headers(answer: Answer, *, may_be_kept: bool = False) -> None:
    """Each of the headers once: no proxy or browser has to choose between two."""
    expected = {
        "X-Content-Type-Options": ["nosniff"],
        "Referrer-Policy": ["no-referrer"],
        "Cache-Control": ["no-cache" if may_be_kept else "no-store"],
    }
    assert {name: answer.headers.getlist(name) for name in expected} == expected
    (request_id,) = answer.headers.getlist("X-Request-Id")
    assert request_id


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_answer_has_the_fixed_headers_once(stocked: Client, ann: Actor, kind: str) -> None:
    send, status = KINDS[kind]
    if kind == "stream":  # more than fits into one batch of MongoDB's
        for number in range(3):
            assert stocked.put(f"{ITEMS}/{number}", {"text": "x" * 7_000_000}, as_=ann).status_code == 201
    answer = send(stocked, ann)
    assert answer.status_code == status, answer.text
    # What is the same for everybody a browser may keep, but it asks each time.
    assert_fixed_headers(answer, may_be_kept=kind.startswith(("reference", "OpenAPI")))
    if kind == "stream":
        assert len(answer.json["documents"]) == 4
        assert "Content-Length" not in answer.headers
    if kind.startswith("page"):
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", [f"{ITEMS}/x", f"{ITEMS}/x?types=plain", ITEMS], ids=["hot path", "view", "list"])
def test_answer_to_a_bug_has_the_fixed_headers_once(
    stocked: Client, ann: Actor, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(models, "get", fail)
    monkeypatch.setattr(models, "find", fail)
    answer = stocked.get(path, as_=ann)
    assert_problem(answer, 500, "internal_error")
    assert "a bug" not in answer.text
    assert_fixed_headers(answer)
