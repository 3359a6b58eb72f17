"""API keys: made once, shown once, good until revoked, and never more than their owner."""

import hashlib
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from tests.conftest import PASSWORD, assert_problem
from user import key as models
from user import principal_cache

KEYS = "/v1/keys"
ITEMS = "/v1/db/app/items"


def test_key_is_shown_once_and_stored_as_hash(client, ann, mongo):
    answer = client.post(KEYS, {"name": "sensor"}, as_=ann)
    assert answer.status_code == 201
    made = answer.json
    assert re.fullmatch(r"sheaf_[A-Za-z0-9_-]{43}", made["key"])
    assert made["key"].startswith(made["prefix"])
    assert made.items() >= {"name": "sensor", "read_only": False, "expires_at": None}.items()
    assert client.post(ITEMS, {"n": 1}, headers={"X-Api-Key": made["key"]}).status_code == 201
    listed = client.get(KEYS, as_=ann)
    assert listed.json == {"keys": [{name: value for name, value in made.items() if name != "key"}]}
    stored = mongo["sheaf"]["keys"].find_one()
    assert made["key"] not in str(stored)
    assert stored["key_hash"] == hashlib.sha256(made["key"].encode()).hexdigest()
    assert stored["key_hash"] not in listed.text


@pytest.mark.parametrize("header", ["X-Api-Key", "api-key", "apiKey"])
def test_key_travels_in_each_of_its_headers(client, ann, make_key, header):
    assert client.get(ITEMS, headers={header: make_key(ann).key}).status_code == 200


def test_key_acts_as_its_owner_with_the_roles_of_now(client, ann, admin, make_key):
    key = make_key(ann)
    assert_problem(client.get("/v1/db/shop/items", as_=key), 403, "forbidden")
    client.patch(f"/v1/users/{ann.id}", {"roles": ["admin"]}, as_=admin)
    assert client.get("/v1/db/shop/items", as_=key).status_code == 200


def test_read_only_key_may_only_read(client, ann, make_key):
    key = make_key(ann, read_only=True)
    assert client.get(ITEMS, as_=key).status_code == 200
    assert_problem(client.post(ITEMS, {"n": 1}, as_=key), 403, "forbidden")


@pytest.mark.parametrize(
    "expires_at",
    [
        "2999-01-31T12:00:00Z",
        "2999-01-31T13:00:00+01:00",
        {"$date": "2999-01-31T12:00:00Z"},
        {"$date": {"$numberLong": str(int(datetime(2999, 1, 31, 12, tzinfo=UTC).timestamp() * 1000))}},
    ],
)
def test_expiry_is_a_date_in_any_form(client, ann, expires_at):
    answer = client.post(KEYS, {"name": "x", "expires_at": expires_at}, as_=ann)
    assert (answer.status_code, answer.json["expires_at"]) == (201, "2999-01-31T12:00:00.000Z")


def test_expired_key_is_401_before_the_database_removes_it(client, ann, make_key, mongo):
    key = make_key(ann, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert client.get(ITEMS, as_=key).status_code == 200
    mongo["sheaf"]["keys"].update_one({}, {"$set": {"expires_at": datetime.now(UTC)}})
    principal_cache.forget("keys", ObjectId(key.key_id))
    assert_problem(client.get(ITEMS, as_=key), 401, "unauthorized")


def test_cached_key_ends_with_its_time(client, ann, make_key, monkeypatch):
    import time

    import watcher

    key = make_key(ann, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert client.get(ITEMS, as_=key).status_code == 200
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3601)
    monkeypatch.setattr(watcher, "max_age_seconds", lambda: None)
    monkeypatch.setattr(models, "find_key", lambda text: None)
    assert_problem(client.get(ITEMS, as_=key), 401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 1}, "name"),
        ({"name": None}, "name"),
        ({"name": {"$ne": 1}}, "name"),
        ({"name": "x", "read_only": "yes"}, "read_only"),
        ({"name": "x", "read_only": None}, "read_only"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "expires_at": "2999-01-31T12:00:00"}, "expires_at"),
        ({"name": "x", "expires_at": "2999-01-31"}, "expires_at"),
        ({"name": "x", "expires_at": "2020-01-31T12:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": {"$date": "2020-01-31T12:00:00Z"}}, "expires_at"),
        ({"name": "x", "expires_at": {"$date": {"$numberLong": "9000000000000000000"}}}, "expires_at"),
        ({"name": "x", "expires_at": {"$date": {"$numberLong": "-9000000000000000000"}}}, "expires_at"),
        ({"name": "x", "expires_at": 32503680000}, "expires_at"),
        ({"name": "x", "key": "sheaf_mine"}, "key"),
        ({"name": "x", "user": "65a000000000000000000001"}, "user"),
        ({"name": "x", "user_id": "65a000000000000000000001"}, "user_id"),
        ({"name": "x", "roles": ["admin"]}, "roles"),
    ],
)
def test_bad_key_is_400_and_makes_none(client, ann, mongo, body, path):
    assert_problem(client.post(KEYS, body, as_=ann), 400, "invalid_input", path=path)
    assert mongo["sheaf"]["keys"].count_documents({}) == 0


def test_rename_changes_the_name_only(client, ann, make_key):
    key = make_key(ann, read_only=True)
    answer = client.patch(f"{KEYS}/{key.key_id}", {"name": "new"}, as_=ann)
    assert (answer.status_code, answer.json["name"], answer.json["read_only"]) == (200, "new", True)
    for body, path in (({"name": ""}, "name"), ({"name": "x", "read_only": False}, "read_only"), ({}, "name")):
        assert_problem(client.patch(f"{KEYS}/{key.key_id}", body, as_=ann), 400, "invalid_input", path=path)
    assert client.get(KEYS, as_=ann).json["keys"] == [answer.json]


def test_revoked_key_is_worthless_at_once(client, ann, make_key):
    key, other = make_key(ann), make_key(ann)
    assert client.get(ITEMS, as_=key).status_code == 200
    answer = client.delete(f"{KEYS}/{key.key_id}", as_=ann)
    assert (answer.status_code, answer.data) == (204, b"")
    assert_problem(client.get(ITEMS, as_=key), 401, "unauthorized")
    assert_problem(client.delete(f"{KEYS}/{key.key_id}", as_=ann), 404, "not_found")
    assert client.get(ITEMS, as_=other).status_code == 200


@pytest.mark.parametrize("key_id", ["x", "65a000000000000000000001", "%24ne", "{}"])
def test_unknown_key_id_is_404(client, ann, key_id):
    assert_problem(client.patch(f"{KEYS}/{key_id}", {"name": "x"}, as_=ann), 404, "not_found")
    assert_problem(client.delete(f"{KEYS}/{key_id}", as_=ann), 404, "not_found")


def test_keys_survive_a_change_of_password(client, ann, make_key):
    key = make_key(ann)
    body = {"current_password": PASSWORD, "new_password": "green heron 17 chair"}
    client.put("/v1/users/me/password", body, as_=ann)
    assert client.get(ITEMS, as_=key).status_code == 200


def test_wrong_keys_are_401_and_not_shown(client, ann, make_key):
    key = make_key(ann).key
    digest = hashlib.sha256(key.encode()).hexdigest()
    for text in ("", "x", key[:-1], key + "A", key.swapcase(), digest, ann.token, "sheaf_" + "A" * 43, "ü" * 20):
        answer = client.get(ITEMS, headers={"X-Api-Key": text})
        assert_problem(answer, 401, "unauthorized")
        assert len(text) < 10 or text not in answer.text


def test_key_is_no_bearer_token_and_token_no_key(client, ann, make_key):
    key = make_key(ann)
    assert client.get(ITEMS, as_=key).status_code == 200
    assert client.get(ITEMS, as_=ann).status_code == 200
    assert_problem(client.get(ITEMS, headers={"Authorization": f"Bearer {key.key}"}), 401, "unauthorized")
    assert_problem(client.get(ITEMS, headers={"X-Api-Key": ann.token}), 401, "unauthorized")


def test_an_account_has_a_limited_number_of_keys(client, ann, monkeypatch, make_key):
    monkeypatch.setattr(models, "MAX_KEYS_PER_USER", 2)
    make_key(ann), make_key(ann)
    assert_problem(client.post(KEYS, {"name": "x"}, as_=ann), 409, "conflict")


def test_keys_made_at_once_do_not_outrun_the_limit(client, ann, mongo, monkeypatch):
    monkeypatch.setattr(models, "MAX_KEYS_PER_USER", 3)
    start, answers = threading.Barrier(12), []

    def run():
        start.wait()
        answers.append(client.post(KEYS, {"name": "x"}, as_=ann))

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 409}
    made = {answer.json["id"] for answer in answers if answer.status_code == 201}
    assert len(made) <= 3
    assert made == {str(each["_id"]) for each in mongo["sheaf"]["keys"].find()}


def test_key_made_while_its_session_ends_is_taken_back(client, ann, mongo, monkeypatch):
    save = models.Key.save

    def end_session_meanwhile(key, **options):
        mongo["sheaf"]["sessions"].delete_many({})
        return save(key, **options)

    monkeypatch.setattr(models.Key, "save", end_session_meanwhile)
    assert_problem(client.post(KEYS, {"name": "x"}, as_=ann), 401, "unauthorized")
    assert mongo["sheaf"]["keys"].count_documents({}) == 0
