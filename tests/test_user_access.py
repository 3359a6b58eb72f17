"""Every route of accounts, sessions and keys as everybody: anonymous, another user, an admin, a key, a forger."""

from typing import Any

import pytest

from tests.conftest import PASSWORD, assert_problem

# Method, path, body; `{ann}` and the like stand for ids that belong to Ann.
OF_SESSIONS: list[tuple[str, str, Any]] = [
    ("GET", "/v1/users/me", None),
    ("PATCH", "/v1/users/me", {"name": "x"}),
    ("PUT", "/v1/users/me/password", {"current_password": PASSWORD, "new_password": "green heron 17"}),
    ("DELETE", "/v1/users/me", {"password": PASSWORD}),
    ("GET", "/v1/sessions", None),
    ("DELETE", "/v1/sessions/current", None),
    ("DELETE", "/v1/sessions/{session}", None),
    ("GET", "/v1/keys", None),
    ("POST", "/v1/keys", {"name": "x"}),
    ("PATCH", "/v1/keys/{key}", {"name": "x"}),
    ("DELETE", "/v1/keys/{key}", None),
]
OF_ADMINS: list[tuple[str, str, Any]] = [
    ("GET", "/v1/users", None),
    ("GET", "/v1/users/{ann}", None),
    ("PATCH", "/v1/users/{ann}", {"roles": ["admin"]}),
    ("DELETE", "/v1/users/{ann}", None),
]
OF_OWNERS = [route for route in OF_SESSIONS if "{" in route[1]]


@pytest.fixture
def anns(client, ann, make_key):
    """Fills Ann's ids into a path."""
    key = make_key(ann)

    def fill(path):
        return path.format(ann=ann.id, session=ann.session_id, key=key.key_id)

    return fill


@pytest.fixture(autouse=True)
def nothing_changed(client, ann, anns, admin):
    """Whatever was refused has changed nothing of Ann's."""

    def state():
        user, sessions, keys = (client.get(f"/v1/{path}", as_=ann) for path in ("users/me", "sessions", "keys"))
        return user.json, len(sessions.json["sessions"]), keys.json

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize(("method", "path", "body"), OF_SESSIONS + OF_ADMINS)
def test_anonymous_is_401(client, anns, method, path, body):
    assert_problem(client.open(method, anns(path), body), 401, "unauthorized")


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer x.y.z"}, {"X-Api-Key": "sheaf_x"}])
@pytest.mark.parametrize(("method", "path", "body"), OF_SESSIONS + OF_ADMINS)
def test_bad_credential_is_401(client, anns, headers, method, path, body):
    assert_problem(client.open(method, anns(path), body, headers=headers), 401, "unauthorized")


@pytest.mark.parametrize(("method", "path", "body"), OF_SESSIONS + OF_ADMINS)
def test_key_is_403_also_an_admins(client, anns, admin_key, make_key, ann, method, path, body):
    key_of_ann = make_key(ann)
    assert_problem(client.open(method, anns(path), body, as_=admin_key), 403, "forbidden")
    assert_problem(client.open(method, anns(path), body, as_=key_of_ann), 403, "forbidden")
    client.delete(f"/v1/keys/{key_of_ann.key_id}", as_=ann)


@pytest.mark.parametrize(("method", "path", "body"), OF_ADMINS)
def test_user_is_403_on_routes_for_admins(client, anns, ann, bob, method, path, body):
    assert_problem(client.open(method, anns(path), body, as_=bob), 403, "forbidden")
    assert_problem(client.open(method, anns(path), body, as_=ann), 403, "forbidden")


@pytest.mark.parametrize(("method", "path", "body"), OF_OWNERS)
def test_what_belongs_to_another_is_404_even_for_admins(client, anns, bob, admin, method, path, body):
    assert_problem(client.open(method, anns(path), body, as_=bob), 404, "not_found")
    assert_problem(client.open(method, anns(path), body, as_=admin), 404, "not_found")


@pytest.mark.parametrize(
    "path", ["/v1/users", "/v1/sessions", "/v1/sessions/refresh", "/v1/users/verify", "/v1/users/reset"]
)
@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (b"", {"Content-Type": "application/json"}, 400, "invalid_input"),
        (b"{", {"Content-Type": "application/json"}, 400, "invalid_input"),
        (b"[]", {"Content-Type": "application/json"}, 400, "invalid_input"),
        (b"null", {"Content-Type": "application/json"}, 400, "invalid_input"),
        (b'{"password":"\xff"}', {"Content-Type": "application/json"}, 400, "invalid_input"),
        (b'{"password":"\\ud800"}', {"Content-Type": "application/json"}, 400, "invalid_input"),
        (b"[" * 200, {"Content-Type": "application/json"}, 400, "invalid_input"),
        (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (b"{}", {}, 415, "unsupported_media_type"),
    ],
)
def test_bad_body_of_a_public_route_is_4xx(client, path, data, headers, status, code):
    assert_problem(client.post(path, data=data, headers=headers), status, code)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v1/users"), ("POST", "/v1/users/me"), ("GET", "/v1/sessions/refresh")]
)
def test_wrong_method_is_405(client, method, path):
    answer = client.open(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"]
