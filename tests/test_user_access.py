"""Every route but those of documents as everybody, in one table: what is answered, and that nobody else's is touched.

What is asked for is Ann's; Bob is another user. A route that is not in the table fails the first test.
"""

import time
from typing import Any

import pytest
from bson import ObjectId

from tests.conftest import PASSWORD, assert_problem, sign_in
from user import models, recovery, tokens

CALLERS = ("anonymous", "other", "owner", "admin", "key", "read-only key", "admin's key")
CODES = {401: "unauthorized", 403: "forbidden", 404: "not_found"}
NEW_PASSWORD = "green heron 17"
# Names in braces stand for what belongs to Ann.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/users"): {"username": "carla", "password": PASSWORD},
    ("PATCH", "/v1/users/me"): {"name": "x"},
    ("PUT", "/v1/users/me/password"): {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
    ("DELETE", "/v1/users/me"): {"password": PASSWORD},
    ("POST", "/v1/users/verify"): {"token": "{verify}"},
    ("POST", "/v1/users/reset"): {"token": "{reset}", "password": NEW_PASSWORD},
    ("PATCH", "/v1/users/<user_id>"): {"roles": ["admin"]},
    ("POST", "/v1/sessions"): {"login": "ann", "password": PASSWORD},
    ("POST", "/v1/sessions/refresh"): {"refresh_token": "{refresh}"},
    ("POST", "/v1/keys"): {"name": "x"},
    ("PATCH", "/v1/keys/<key_id>"): {"name": "x"},
}
# Statuses for CALLERS, in that order.
OF_ANYBODY = {
    ("POST", "/v1/users"): (201,) * 7,
    ("GET", "/v1/users/verify"): (200,) * 7,
    ("POST", "/v1/users/verify"): (204,) * 7,
    ("GET", "/v1/users/reset"): (200,) * 7,
    ("POST", "/v1/users/reset"): (204,) * 7,
    ("POST", "/v1/sessions"): (201,) * 7,
    ("POST", "/v1/sessions/refresh"): (200,) * 7,
    ("GET", "/health"): (200,) * 7,
    ("GET", "/ready"): (200,) * 7,
    ("GET", "/openapi.json"): (200,) * 7,
    ("GET", "/docs"): (200,) * 7,
}
# Everybody sees and changes their own; keys are for documents, also an admin's.
OF_ONESELF = {
    ("GET", "/v1/users/me"): (401, 200, 200, 200, 403, 403, 403),
    ("PATCH", "/v1/users/me"): (401, 200, 200, 200, 403, 403, 403),
    ("PUT", "/v1/users/me/password"): (401, 204, 204, 204, 403, 403, 403),
    ("DELETE", "/v1/users/me"): (401, 204, 204, 204, 403, 403, 403),
    ("GET", "/v1/sessions"): (401, 200, 200, 200, 403, 403, 403),
    ("DELETE", "/v1/sessions/current"): (401, 204, 204, 204, 403, 403, 403),
    ("DELETE", "/v1/sessions/<session_id>"): (401, 404, 204, 404, 403, 403, 403),
    ("GET", "/v1/keys"): (401, 200, 200, 200, 403, 403, 403),
    ("POST", "/v1/keys"): (401, 201, 201, 201, 403, 403, 403),
    ("PATCH", "/v1/keys/<key_id>"): (401, 404, 200, 404, 403, 403, 403),
    ("DELETE", "/v1/keys/<key_id>"): (401, 404, 204, 404, 403, 403, 403),
}
OF_ADMINS = {
    ("GET", "/v1/users"): (401, 403, 403, 200, 403, 403, 403),
    ("GET", "/v1/users/<user_id>"): (401, 403, 403, 200, 403, 403, 403),
    ("PATCH", "/v1/users/<user_id>"): (401, 403, 403, 200, 403, 403, 403),
    ("DELETE", "/v1/users/<user_id>"): (401, 403, 403, 204, 403, 403, 403),
}
TABLE = OF_ANYBODY | OF_ONESELF | OF_ADMINS
# Every request that is admitted and changes something.
CHANGES = [
    (method, rule, caller, status)
    for (method, rule), statuses in TABLE.items()
    for caller, status in zip(CALLERS, statuses, strict=True)
    if status < 400 and method != "GET"
]


@pytest.fixture
def callers(ann, bob, admin, admin_key, make_key, make_user):
    """Who asks, by the names in CALLERS."""
    make_user("deputy", admin=True)  # the last admin may not go
    return {
        "anonymous": None,
        "other": bob,
        "owner": ann,
        "admin": admin,
        "key": make_key(ann),
        "read-only key": make_key(ann, read_only=True),
        "admin's key": admin_key,
    }


@pytest.fixture
def request_for(client, ann, make_key):
    """Fills what is Ann's into a route's path and body: a second session and a key that asks for nothing itself."""
    other = sign_in(client, "ann")
    ends_at = int(time.time()) + 60
    ids = {"<user_id>": ann.id, "<session_id>": other.session_id, "<key_id>": make_key(ann).key_id}
    values = {
        "{refresh}": other.refresh_token,
        "{verify}": tokens.issue("verify", ObjectId(ann.id), ends_at, email="ann@sheaf.test"),
        "{reset}": tokens.issue(
            "reset", ObjectId(ann.id), ends_at, fingerprint=recovery._fingerprint(models.get_user(ann.id))
        ),
    }

    def fill(method, rule):
        path = rule
        for name, value in ids.items():
            path = path.replace(name, value)
        body = BODIES.get((method, rule))
        return path, body and {
            name: values.get(value, value) if isinstance(value, str) else value for name, value in body.items()
        }

    return fill


@pytest.fixture
def stored(mongo, request_for, callers):
    """Reads all accounts, sessions and keys as they are stored; of one user alone when it is named."""

    def read(user_id=None):
        service = mongo["sheaf"]
        own = {"_id": ObjectId(user_id)}, {"user": ObjectId(user_id)}, {"user": ObjectId(user_id)}
        filters = own if user_id else ({}, {}, {})
        names = ("users", "sessions", "keys")
        return [list(service[name].find(query).sort("_id")) for name, query in zip(names, filters, strict=True)]

    return read


def test_table_has_every_other_route(app):
    found = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if not rule.rule.startswith("/v1/db")  # tests/test_document_access.py
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert found == TABLE.keys(), "say in OF_ANYBODY, OF_ONESELF or OF_ADMINS what each caller is answered"


@pytest.mark.parametrize(("method", "rule"), list(TABLE))
def test_who_is_refused_or_only_reads_changes_nothing(client, callers, request_for, stored, method, rule):
    path, body = request_for(method, rule)
    before = stored()
    for caller, status in zip(CALLERS, TABLE[method, rule], strict=True):
        if status < 400 and method != "GET":
            continue  # below
        answer = client.open(method, path, body, as_=callers[caller])
        assert (caller, answer.status_code) == (caller, status), answer.text
        if status >= 400:
            assert_problem(answer, status, CODES[status])
        if status >= 400 or ((method, rule) in OF_ONESELF and caller != "owner"):
            assert "ann@sheaf.test" not in answer.text
    assert stored() == before


@pytest.mark.parametrize(("method", "rule", "caller", "status"), CHANGES)
def test_who_is_admitted_changes_only_what_is_theirs(
    client, ann, callers, request_for, stored, method, rule, caller, status
):
    path, body = request_for(method, rule)
    before, before_of_ann = stored(), stored(ann.id)
    answer = client.open(method, path, body, as_=callers[caller])
    assert answer.status_code == status, answer.text
    assert stored() != before
    if (method, rule) in OF_ONESELF and caller != "owner":
        assert stored(ann.id) == before_of_ann


def test_head_meets_the_same_rules(client, callers, request_for):
    for rule in [rule for method, rule in TABLE if method == "GET"]:
        path, _ = request_for("GET", rule)
        for caller, status in zip(CALLERS, TABLE["GET", rule], strict=True):
            answer = client.open("HEAD", path, as_=callers[caller])
            assert (rule, caller, answer.status_code, answer.data) == (rule, caller, status, b"")


def test_options_tells_methods_and_nothing_else(client, request_for, stored):
    before = stored()
    for rule in {rule for _, rule in TABLE}:
        answer = client.open("OPTIONS", request_for("OPTIONS", rule)[0])
        assert (rule, answer.status_code, answer.data) == (rule, 200, b"")
    assert stored() == before


@pytest.mark.parametrize("caller", CALLERS)
def test_closed_sign_up_is_for_admins_with_an_access_token(client, callers, stored, config, caller):
    config.sign_up = "closed"
    before = stored()
    answer = client.post("/v1/users", BODIES["POST", "/v1/users"], as_=callers[caller])
    if caller == "admin":
        assert answer.status_code == 201
        assert len(stored()[0]) == len(before[0]) + 1
        return
    assert_problem(answer, 403, "forbidden")
    assert stored() == before


BAD_CREDENTIALS = [{"Authorization": "Bearer x.y.z"}, {"X-Api-Key": "sheaf_x"}]


@pytest.mark.parametrize("headers", BAD_CREDENTIALS, ids=["token", "key"])
def test_bad_credential_is_401_on_every_route_that_needs_one(client, request_for, stored, headers):
    before = stored()
    for method, rule in [*OF_ONESELF, *OF_ADMINS]:
        path, body = request_for(method, rule)
        assert_problem(client.open(method, path, body, headers=headers), 401, "unauthorized")
    assert stored() == before


@pytest.mark.parametrize("headers", BAD_CREDENTIALS, ids=["token", "key"])
# At sign-up admins are known: it may be closed, or limited, for all others.
@pytest.mark.parametrize(("method", "rule"), [route for route in OF_ANYBODY if route != ("POST", "/v1/users")])
def test_bad_credential_is_not_looked_at_where_none_is_needed(client, request_for, headers, method, rule):
    path, body = request_for(method, rule)
    assert client.open(method, path, body, headers=headers).status_code == OF_ANYBODY[method, rule][0]


@pytest.mark.parametrize("headers", BAD_CREDENTIALS, ids=["token", "key"])
def test_bad_credential_at_sign_up_is_401(client, stored, headers):
    before = stored()
    answer = client.post("/v1/users", BODIES["POST", "/v1/users"], headers=headers)
    assert_problem(answer, 401, "unauthorized")
    assert stored() == before


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
