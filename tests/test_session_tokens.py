"""Access and refresh tokens: what is accepted, what is refused, and how sessions end."""

import base64
import json
import threading
import time
from datetime import UTC, datetime

import jwt
from bson import ObjectId

import watcher
from errors import Unauthorized
from tests.conftest import SECRET_KEY, assert_problem, sign_in
from user import principal_cache, tokens

SESSIONS = "/v1/sessions"
ME = "/v1/users/me"


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(ann):
    """Tokens that are wrong in one way each, by what is wrong."""
    claims = claims_of(ann.token)
    header, payload, signature = ann.token.split(".")
    yield "empty", ""
    yield "not a token", "abc"
    yield "two parts", f"{header}.{payload}"
    yield "no signature", f"{header}.{payload}."
    yield "alg none", f"{part({'alg': 'none', 'typ': 'JWT'})}.{payload}."
    yield "alg None with signature", f"{part({'alg': 'None', 'typ': 'JWT'})}.{payload}.{signature}"
    yield "no alg", f"{part({'typ': 'JWT'})}.{payload}.{signature}"
    yield "wrong key", jwt.encode(claims, "another-secret-0123456789-abcdefghijkl", "HS256")
    yield "empty key", jwt.encode(claims, "0" * 64, "HS512")
    yield "HS512 with our key", jwt.encode(claims, SECRET_KEY + "x" * 64, "HS512")
    yield "HS384 with our key", jwt.encode(claims, SECRET_KEY.ljust(48, "x"), "HS384")
    yield "tampered claims", f"{header}.{part({**claims, 'sub': '65a000000000000000000001'})}.{signature}"
    yield "tampered signature", f"{header}.{payload}.{'A' * len(signature)}"
    yield "expired", jwt.encode({**claims, "exp": int(time.time()) - 1}, SECRET_KEY, "HS256")
    for name in ("exp", "sub", "sid", "use"):
        yield f"without {name}", jwt.encode({k: v for k, v in claims.items() if k != name}, SECRET_KEY, "HS256")
    yield "refresh token", ann.refresh_token
    for use in ("verify", "reset", "other", 1):
        yield f"for {use}", jwt.encode({**claims, "use": use}, SECRET_KEY, "HS256")
    yield "session of nobody", jwt.encode({**claims, "sid": "65a000000000000000000001"}, SECRET_KEY, "HS256")
    yield "session of another", jwt.encode({**claims, "sub": "65a000000000000000000001"}, SECRET_KEY, "HS256")
    yield "deeply nested header", base64.urlsafe_b64encode(b"[" * 6000).rstrip(b"=").decode() + f".e30.{'A' * 43}"
    yield "long", "a" * 20_000
    yield "not ASCII", "ü.ö.ä"
    yield "token of a key's hash", "0" * 64


def test_forged_tokens_are_401_with_a_sentence(client, ann):
    for what, token in forged(ann):
        answer = client.get(ME, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, what
        assert_problem(answer, 401, "unauthorized")
        assert token == "" or token not in answer.text, what
    assert client.get(ME, as_=ann).status_code == 200


def respelled(token):
    """The same token in other words: what lenient readers of base64 take for the same bytes."""
    header, payload, signature = token.split(".")
    yield token + "="
    yield token + "=="
    yield f"{header}=.{payload}.{signature}"
    yield f"{header}.{payload}==.{signature}"
    yield f"{header}.{payload}.{signature[:5]}!{signature[5:]}"
    yield f"{header}.{payload}.{signature[:5]} {signature[5:]}"
    yield f"{header}.{payload}.{signature[:5]}\t{signature[5:]}"
    yield f"{header}.{payload}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}"  # two bits that no byte has
    yield f"{token}."
    yield f"{token}.{signature}"


def test_other_spellings_of_a_token_are_401_and_not_kept(client, ann):
    assert client.get(ME, as_=ann).status_code == 200
    kept = len(principal_cache.of_tokens)
    for token in respelled(ann.token):
        assert_problem(client.get(ME, headers={"Authorization": f"Bearer {token}"}), 401, "unauthorized")
    assert len(principal_cache.of_tokens) == kept
    for token in respelled(ann.refresh_token):
        assert_problem(refresh(client, token), 401, "unauthorized")
    assert refresh(client, ann.refresh_token).status_code == 200


def test_every_token_given_out_is_spelled_as_it_has_to_be(client, ann):
    now = int(time.time())
    for number in range(200):
        token = tokens.issue("verify", ObjectId(), now + 100 + number, email="zoe@sheaf.test")
        assert tokens.read(token, "verify", required=("email",))


def test_bad_token_is_not_rescued_by_another_credential(client, ann, make_key):
    headers = {"Authorization": "Bearer x", **make_key(ann).headers}
    assert_problem(client.get("/v1/db/app/items", headers=headers), 401, "unauthorized")


def test_expired_token_says_how_to_go_on(client, ann):
    token = jwt.encode({**claims_of(ann.token), "exp": int(time.time()) - 1}, SECRET_KEY, "HS256")
    answer = client.get(ME, headers={"Authorization": f"Bearer {token}"})
    assert "refresh" in answer.json["detail"]


def test_cached_token_ends_with_its_time(client, ann, monkeypatch):
    assert client.get(ME, as_=ann).status_code == 200
    assert len(principal_cache.of_tokens) > 0

    def prove_again(token):
        raise Unauthorized("proven again")

    monkeypatch.setattr(tokens, "_prove_token", prove_again)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1790)
    monkeypatch.setattr(watcher, "max_age_seconds", lambda: None)
    assert client.get("/v1/db/app/items", as_=ann).status_code == 200
    monkeypatch.setattr(time, "time", lambda: now + 1801)
    assert client.get("/v1/db/app/items", as_=ann).json["detail"] == "proven again"


def test_token_of_a_deleted_user_is_401(client, ann, mongo):
    mongo["sheaf"]["users"].delete_one({"_id": ObjectId(ann.id)})
    assert_problem(client.get(ME, as_=ann), 401, "unauthorized")
    assert_problem(client.post(f"{SESSIONS}/refresh", {"refresh_token": ann.refresh_token}), 401, "unauthorized")


def test_session_whose_time_is_over_is_401_before_the_database_removes_it(client, ann, mongo):
    mongo["sheaf"]["sessions"].update_one({}, {"$set": {"expires_at": datetime.now(UTC)}})
    assert_problem(client.get(ME, as_=ann), 401, "unauthorized")
    assert_problem(client.post(f"{SESSIONS}/refresh", {"refresh_token": ann.refresh_token}), 401, "unauthorized")


def test_access_token_does_not_outlive_its_session(client, config, ann):
    config.refresh_token_seconds = 60
    answer = client.post(SESSIONS, {"login": "ann", "password": "blue otter 42 lamp"}).json
    assert 50 <= answer["expires_in"] <= 60


def refresh(client, token):
    return client.post(f"{SESSIONS}/refresh", {"refresh_token": token})


def test_refresh_answers_a_new_pair_in_the_same_session(client, ann):
    answer = refresh(client, ann.refresh_token)
    assert answer.status_code == 200
    assert set(answer.json) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert answer.json["refresh_token"] != ann.refresh_token
    assert claims_of(answer.json["access_token"])["sid"] == ann.session_id
    assert client.get(ME, headers={"Authorization": f"Bearer {answer.json['access_token']}"}).status_code == 200
    for _ in range(3):
        answer = refresh(client, answer.json["refresh_token"])
        assert answer.status_code == 200


def test_refresh_token_used_twice_ends_its_session_and_no_other(client, ann):
    elsewhere = sign_in(client, "ann")
    newer = refresh(client, ann.refresh_token).json
    assert_problem(refresh(client, ann.refresh_token), 401, "refresh_token_reused")
    assert_problem(refresh(client, newer["refresh_token"]), 401, "unauthorized")
    for token in (ann.token, newer["access_token"]):
        assert_problem(client.get(ME, headers={"Authorization": f"Bearer {token}"}), 401, "unauthorized")
    assert client.get(ME, as_=elsewhere).status_code == 200


def test_refresh_token_used_twice_at_once_is_good_at_most_once(client, ann):
    start, statuses = threading.Barrier(4), []

    def use():
        start.wait()
        statuses.append(refresh(client, ann.refresh_token).status_code)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 401, 401, 401]
    assert_problem(client.get(ME, as_=ann), 401, "unauthorized")


def test_forged_refresh_tokens_are_401_and_end_nothing(client, ann):
    claims = claims_of(ann.refresh_token)
    wrong = [
        ann.token,
        jwt.encode({**claims, "gen": 5}, "another-secret-0123456789-abcdefghijkl", "HS256"),
        jwt.encode({**claims, "exp": int(time.time()) - 1}, SECRET_KEY, "HS256"),
        jwt.encode({k: v for k, v in claims.items() if k != "gen"}, SECRET_KEY, "HS256"),
        "x",
        "",
        1,
        None,
        {"$ne": None},
    ]
    for token in wrong:
        assert_problem(refresh(client, token), 401, "unauthorized")
    assert client.get(ME, as_=ann).status_code == 200
    assert refresh(client, ann.refresh_token).status_code == 200


def test_refresh_token_is_no_bearer_token(client, ann):
    headers = {"Authorization": f"Bearer {ann.refresh_token}"}
    assert_problem(client.get(ME, headers=headers), 401, "unauthorized")


def test_list_shows_own_sessions_and_marks_the_current_one(client, ann, bob):
    elsewhere = sign_in(client, "ann", address="192.0.2.7", headers={"User-Agent": "phone"})
    found = client.get(SESSIONS, as_=ann).json["sessions"]
    assert [each["id"] for each in found] == [elsewhere.session_id, ann.session_id]
    assert [each["current"] for each in found] == [False, True]
    assert (found[0]["address"], found[0]["user_agent"]) == ("192.0.2.7", "phone")
    assert set(found[0]) == {"id", "created_at", "last_used_at", "expires_at", "address", "user_agent", "current"}


def test_sign_out_ends_this_session_at_once(client, ann):
    elsewhere = sign_in(client, "ann")
    assert client.get(ME, as_=ann).status_code == 200
    answer = client.delete(f"{SESSIONS}/current", as_=ann)
    assert (answer.status_code, answer.data) == (204, b"")
    assert_problem(client.get(ME, as_=ann), 401, "unauthorized")
    assert_problem(refresh(client, ann.refresh_token), 401, "unauthorized")
    assert client.get(ME, as_=elsewhere).status_code == 200


def test_end_another_session_of_ones_own(client, ann, bob):
    lost = sign_in(client, "ann")
    assert client.get(ME, as_=lost).status_code == 200
    assert client.delete(f"{SESSIONS}/{lost.session_id}", as_=ann).status_code == 204
    assert_problem(client.get(ME, as_=lost), 401, "unauthorized")
    assert_problem(client.delete(f"{SESSIONS}/{lost.session_id}", as_=ann), 404, "not_found")
    for session_id in (bob.session_id, "x", "65a000000000000000000001", "%7B%7D"):
        assert_problem(client.delete(f"{SESSIONS}/{session_id}", as_=ann), 404, "not_found")
    assert client.get(ME, as_=bob).status_code == 200


def test_verifying_a_known_token_asks_no_database(client, ann, monkeypatch):
    def fail(token):
        raise AssertionError("the token was verified again")

    monkeypatch.setattr(watcher, "max_age_seconds", lambda: None)
    assert client.get("/v1/db/app/items", as_=ann).status_code == 200
    monkeypatch.setattr(tokens, "_prove_token", fail)
    assert client.get("/v1/db/app/items", as_=ann).status_code == 200
