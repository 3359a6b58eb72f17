"""Signing in: the right password, every wrong one, and how it is hashed."""

import threading

import pytest
from argon2 import PasswordHasher
from bson import ObjectId

from settings import Settings
from tests.conftest import PASSWORD, assert_problem, sign_in
from user import models, password, session

SESSIONS = "/v1/sessions"
ME = "/v1/users/me"


def test_sign_in_answers_a_pair_of_tokens(client, ann):
    answer = client.post(SESSIONS, {"login": "ann", "password": PASSWORD})
    assert answer.status_code == 201
    assert set(answer.json) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 1800)
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_is_read_in_any_case(client, ann, scheme):
    assert client.get(ME, headers={"Authorization": f"{scheme} {ann.token}"}).status_code == 200


@pytest.mark.parametrize(
    ("login", "text"),
    [
        ("nobody", PASSWORD),
        ("nobody@sheaf.test", PASSWORD),
        ("65a000000000000000000001", PASSWORD),
        ("not an @ address", PASSWORD),
        ("a\u0000b", PASSWORD),
        ("ann", "wrong password"),
        ("ann", PASSWORD.upper()),
        ("ann", PASSWORD + " "),
        ("disabled", PASSWORD),
        ("without-password", PASSWORD),
    ],
)
def test_every_wrong_sign_in_answers_the_same_after_the_same_work(
    client, ann, make_user, mongo, monkeypatch, login, text
):
    make_user("disabled")
    make_user("without-password")
    mongo["sheaf"]["users"].update_one({"username": "disabled"}, {"$set": {"disabled": True}})
    mongo["sheaf"]["users"].update_one({"username": "without-password"}, {"$unset": {"password_hash": ""}})
    sessions = mongo["sheaf"]["sessions"].count_documents({})
    verified = []

    class CountingHasher(PasswordHasher):
        def verify(self, stored, given):
            verified.append(stored)
            return super().verify(stored, given)

    monkeypatch.setattr(password, "hasher", CountingHasher(time_cost=1, memory_cost=8, parallelism=1))
    answer = client.post(SESSIONS, {"login": login, "password": text})
    assert_problem(answer, 401, "unauthorized")
    assert answer.json["detail"] == "Login or password is wrong."
    assert len(verified) == 1
    assert mongo["sheaf"]["sessions"].count_documents({}) == sessions


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"login": {"$ne": None}, "password": PASSWORD}, "login"),
        ({"login": "ann", "password": {"$ne": None}}, "password"),
        ({"login": ["ann"], "password": PASSWORD}, "login"),
        ({"login": {"$oid": "65a000000000000000000001"}, "password": PASSWORD}, "login"),
        ({"login": {"$regularExpression": {"pattern": ".*", "options": ""}}, "password": PASSWORD}, "login"),
        ({"login": "ann", "password": {"$binary": {"base64": "AA==", "subType": "00"}}}, "password"),
        ({"login": "ann", "password": 12345678901}, "password"),
        ({"login": "", "password": PASSWORD}, "login"),
        ({"login": "a" * 255, "password": PASSWORD}, "login"),
        ({"login": "ann", "password": ""}, "password"),
        ({"login": "ann", "password": "x" * 1000}, "password"),
        ({"login": "ann"}, "password"),
        ({"password": PASSWORD}, "login"),
        ({"login": "ann", "password": PASSWORD, "roles": ["admin"]}, "roles"),
    ],
)
def test_bad_sign_in_is_400_and_named(client, ann, body, path):
    assert_problem(client.post(SESSIONS, body), 400, "invalid_input", path=path)


def test_unconfirmed_address_is_403_only_after_the_right_password(client, ann, config, mongo):
    config.require_verified_email = True
    assert_problem(client.post(SESSIONS, {"login": "ann", "password": "wrong password"}), 401, "unauthorized")
    assert_problem(client.post(SESSIONS, {"login": "ann", "password": PASSWORD}), 403, "email_not_verified")
    mongo["sheaf"]["users"].update_one({"username": "ann"}, {"$set": {"email_verified": True}})
    sign_in(client, "ann")


def test_single_session_ends_the_earlier_ones_of_this_user(client, ann, bob, config):
    config.single_session = True
    newest = sign_in(client, "ann")
    assert_problem(client.get(ME, as_=ann), 401, "unauthorized")
    assert_problem(client.post(f"{SESSIONS}/refresh", {"refresh_token": ann.refresh_token}), 401, "unauthorized")
    assert client.get(ME, as_=newest).status_code == 200
    assert client.get(ME, as_=bob).status_code == 200


def test_hash_is_renewed_at_sign_in_when_parameters_changed(client, ann, mongo, monkeypatch):
    def stored():
        return mongo["sheaf"]["users"].find_one({"username": "ann"})["password_hash"]

    before = stored()
    sign_in(client, "ann")
    assert stored() == before
    monkeypatch.setattr(password, "hasher", PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    assert_problem(client.post(SESSIONS, {"login": "ann", "password": "wrong password"}), 401, "unauthorized")
    assert stored() == before
    sign_in(client, "ann")
    assert "m=16,t=2,p=1" in stored()
    sign_in(client, "ann")
    assert client.get(ME, as_=ann).status_code == 200


def test_parameters_in_use_are_at_least_those_owasp_asks_for():
    fresh = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
    import ast
    from pathlib import Path

    tree = ast.parse(Path(password.__file__).read_text(encoding="utf-8"))
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "PasswordHasher"
    ]
    assert [ast.unparse(keyword) for keyword in calls[0].keywords] == [
        "time_cost=2",
        "memory_cost=19456",
        "parallelism=1",
    ]
    assert fresh.type.name == "ID"


def test_sign_in_with_the_old_password_while_it_is_changed_fails(client, ann, mongo, monkeypatch):
    find_user = models.find_user

    def change_meanwhile(login):
        found = find_user(login)
        models.set_password(models.get_user(ann.id), "green heron 17 chair")
        return found

    monkeypatch.setattr(models, "find_user", change_meanwhile)
    assert_problem(client.post(SESSIONS, {"login": "ann", "password": PASSWORD}), 401, "unauthorized")
    assert mongo["sheaf"]["sessions"].count_documents({}) == 0


def test_more_sign_ins_at_once_than_places_are_429_and_other_requests_go_on(client, ann, monkeypatch):
    places = threading.BoundedSemaphore(1)
    monkeypatch.setattr(password, "_places", lambda: places)
    entered, leave = threading.Event(), threading.Event()

    class SlowHasher(PasswordHasher):
        def verify(self, stored, given):
            entered.set()
            leave.wait(10)
            return super().verify(stored, given)

    monkeypatch.setattr(password, "hasher", SlowHasher(time_cost=1, memory_cost=8, parallelism=1))
    first = []
    body = {"login": "ann", "password": PASSWORD}
    thread = threading.Thread(target=lambda: first.append(client.post(SESSIONS, body).status_code))
    thread.start()
    assert entered.wait(10)
    answer = client.post(SESSIONS, body)
    assert_problem(answer, 429, "too_many_requests")
    assert answer.headers["Retry-After"] == "1"
    assert client.get(ME, as_=ann).status_code == 200
    leave.set()
    thread.join()
    assert first == [201]


def test_there_are_fewer_places_than_threads():
    places, taken = password._places(), 0
    while places.acquire(blocking=False):
        taken += 1
    for _ in range(taken):
        places.release()
    assert 1 <= taken <= Settings().threads - 2


def test_sessions_remember_from_where(client, ann):
    agent = "x" * 1000
    answer = client.post(
        SESSIONS, {"login": "ann", "password": PASSWORD}, headers={"User-Agent": agent}, address="192.0.2.7"
    )
    assert answer.status_code == 201
    newest = session.list_sessions(ObjectId(ann.id))[0]
    assert (newest.address, newest.user_agent) == ("192.0.2.7", "x" * 300)


def test_sign_in_beyond_the_limit_ends_the_oldest_session(client, ann, bob, monkeypatch):
    monkeypatch.setattr(session, "MAX_SESSIONS_PER_USER", 3)
    newer = [sign_in(client, "ann") for _ in range(2)]
    assert client.get(ME, as_=ann).status_code == 200
    newer.append(sign_in(client, "ann"))
    assert_problem(client.get(ME, as_=ann), 401, "unauthorized")
    listed = client.get(SESSIONS, as_=newer[0]).json["sessions"]
    assert [each["id"] for each in listed] == [each.session_id for each in reversed(newer)]
    assert client.get(ME, as_=bob).status_code == 200


def test_sign_ins_at_once_leave_no_more_sessions_than_allowed(client, ann, mongo, monkeypatch):
    monkeypatch.setattr(session, "MAX_SESSIONS_PER_USER", 3)
    start = threading.Barrier(5)

    def run():
        start.wait()
        session.sign_in("ann", PASSWORD, address="192.0.2.1", user_agent="")

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Fewer are possible: each sign-in keeps its own, and may end one that another counted on.
    assert 1 <= mongo["sheaf"]["sessions"].count_documents({}) <= 3


def test_list_of_sessions_is_bounded(client, ann, mongo):
    stored = mongo["sheaf"]["sessions"].find_one()
    mongo["sheaf"]["sessions"].insert_many([{**stored, "_id": ObjectId()} for _ in range(150)])
    assert len(client.get(SESSIONS, as_=ann).json["sessions"]) == 100
    sign_in(client, "ann")
    assert mongo["sheaf"]["sessions"].count_documents({}) == 100
