"""Confirming an e-mail address and choosing a new password, from the request to the link in the e-mail to the end."""

import re
import time

import jwt
import pytest
from pymongo.errors import AutoReconnect

from tests.conftest import PASSWORD, SECRET_KEY, Actor, assert_problem, sign_in, wait_until
from user import mail, models, throttle

USERS = "/v1/users"
ME = "/v1/users/me"
VERIFY = "/v1/users/verify"
RESET = "/v1/users/reset"
NEW_PASSWORD = "green heron 17 chair"


@pytest.fixture
def outbox(app, monkeypatch):
    """The e-mails that were sent: (recipient, subject, link)."""
    sent = []
    monkeypatch.setattr(mail, "send", lambda to, subject, sentence, url: sent.append((to, subject, url)))
    wait_until_sent()
    return sent


def wait_until_sent():
    """Return when nothing waits to be sent any more."""
    wait_until(lambda: mail._room._value == mail.MAX_WAITING)


def token_in(outbox):
    wait_until(lambda: outbox)
    found = re.fullmatch(r"http://127\.0\.0\.1:8000/v1/users/(?:verify|reset)#token=(\S+)", outbox[-1][2])
    assert found
    return found[1]


def ask_reset(client, outbox, login="ann"):
    before = len(outbox)
    assert client.post(RESET, {"login": login}).status_code == 202
    wait_until(lambda: len(outbox) > before)
    return token_in(outbox)


def test_sign_up_sends_a_link_that_confirms_the_address(client, outbox):
    client.post(USERS, {"email": "zoe@sheaf.test", "password": PASSWORD})
    token = token_in(outbox)
    assert outbox[0][:2] == ("zoe@sheaf.test", "Confirm your e-mail address")
    zoe = sign_in(client, "zoe@sheaf.test")
    assert client.get(ME, as_=zoe).json["email_verified"] is False
    for _ in range(2):
        answer = client.post(VERIFY, {"token": token})
        assert (answer.status_code, answer.data) == (204, b"")
    assert client.get(ME, as_=zoe).json["email_verified"] is True


def test_change_of_address_sends_a_link_to_the_new_one_and_ends_the_old_link(client, outbox):
    client.post(USERS, {"email": "zoe@sheaf.test", "password": PASSWORD})
    old = token_in(outbox)
    zoe = sign_in(client, "zoe@sheaf.test")
    client.patch(ME, {"email": "zoe2@sheaf.test", "current_password": PASSWORD}, as_=zoe)
    wait_until(lambda: len(outbox) == 2)
    assert outbox[1][0] == "zoe2@sheaf.test"
    assert_problem(client.post(VERIFY, {"token": old}), 401, "unauthorized")
    assert client.post(VERIFY, {"token": token_in(outbox)}).status_code == 204


def test_asking_for_a_link_answers_everybody_the_same(client, ann, bob, mongo, outbox):
    mongo["sheaf"]["users"].update_one({"username": "bob"}, {"$set": {"email_verified": True}})
    asked = [{"email": email} for email in ("ANN@sheaf.test", "bob@sheaf.test", "nobody@sheaf.test")]
    answers = [client.post(VERIFY, body) for body in asked]
    wait_until_sent()
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert len({answer.text for answer in answers}) == 1
    assert [to for to, _, _ in outbox] == ["ann@sheaf.test"]


def test_asking_for_a_reset_answers_everybody_the_same(client, ann, bob, make_user, mongo, outbox):
    make_user("without", email=None)
    mongo["sheaf"]["users"].update_one({"username": "bob"}, {"$set": {"disabled": True}})
    asked = [{"login": "Ann"}, {"email": "ann@sheaf.test"}, {"login": "bob"}, {"login": "without"}, {"login": "nobody"}]
    answers = [client.post(RESET, body) for body in asked]
    wait_until_sent()
    assert [answer.status_code for answer in answers] == [202] * 5
    assert len({answer.text for answer in answers}) == 1
    assert [to for to, _, _ in outbox] == ["ann@sheaf.test"] * 2


def test_asking_looks_nothing_up_before_it_answers(client, monkeypatch, outbox):
    put = []
    monkeypatch.setattr(mail, "put", lambda task, name: put.append((task, name)))
    monkeypatch.setattr("user.models.find_user", None)
    assert client.post(RESET, {"login": "ann"}).status_code == 202
    assert [task.__name__ for task, _ in put] == ["_deliver_reset"]


def test_reset_gives_a_new_password_once_and_ends_all_sessions(client, ann, outbox):
    token = ask_reset(client, outbox)
    answer = client.post(RESET, {"token": token, "password": NEW_PASSWORD})
    assert (answer.status_code, answer.data) == (204, b"")
    assert_problem(client.get(ME, as_=ann), 401, "unauthorized")
    assert_problem(client.post("/v1/sessions", {"login": "ann", "password": PASSWORD}), 401, "unauthorized")
    assert client.get(ME, as_=sign_in(client, "ann", NEW_PASSWORD)).json["email_verified"] is True
    assert_problem(client.post(RESET, {"token": token, "password": "another word 99"}), 401, "unauthorized")
    sign_in(client, "ann", NEW_PASSWORD)


def test_reset_link_ends_with_a_change_of_password_or_address(client, ann, outbox):
    token = ask_reset(client, outbox)
    client.patch(ME, {"email": "ann2@sheaf.test", "current_password": PASSWORD}, as_=ann)
    assert_problem(client.post(RESET, {"token": token, "password": NEW_PASSWORD}), 401, "unauthorized")
    wait_until_sent()
    token = ask_reset(client, outbox)
    client.put(f"{ME}/password", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}, as_=ann)
    assert_problem(client.post(RESET, {"token": token, "password": "another word 99"}), 401, "unauthorized")


def test_weak_new_password_is_400_and_the_link_stays_good(client, ann, outbox):
    token = ask_reset(client, outbox)
    for password in ("short", "password123", "ann@sheaf.test", None, 1, {"$ne": 1}):
        body = {"token": token, "password": password}
        assert_problem(client.post(RESET, body), 400, "invalid_input", path="password")
    assert client.post(RESET, {"token": token, "password": NEW_PASSWORD}).status_code == 204


@pytest.mark.parametrize("was_confirmed", [False, True])
def test_reset_ends_keys_and_sessions_whether_or_not_the_address_was_confirmed(
    client, ann, make_key, mongo, outbox, was_confirmed
):
    """Somebody may have signed up with another's address, and made a key to stay in after the other confirmed it."""
    key, others_key = make_key(ann), make_key(sign_in(client, "ann"))
    mongo["sheaf"]["users"].update_one({}, {"$set": {"email_verified": was_confirmed}})
    assert client.get("/v1/db/app/items", as_=key).status_code == 200
    client.post(RESET, {"token": ask_reset(client, outbox), "password": NEW_PASSWORD})
    for actor in (key, others_key, ann):
        assert_problem(client.get("/v1/db/app/items", as_=actor), 401, "unauthorized")
    assert [mongo["sheaf"][name].count_documents({}) for name in ("keys", "sessions")] == [0, 0]


def test_reset_leaves_the_keys_and_sessions_of_others(client, ann, bob, make_key, outbox):
    key = make_key(bob)
    client.post(RESET, {"token": ask_reset(client, outbox), "password": NEW_PASSWORD})
    for actor in (bob, key):
        assert client.get("/v1/db/app/items", as_=actor).status_code == 200


def test_reset_that_fails_halfway_has_ended_keys_and_sessions_before_it_changed_the_account(
    client, ann, make_key, mongo, outbox, monkeypatch
):
    key, token = make_key(ann), ask_reset(client, outbox)
    before = mongo["sheaf"]["users"].find_one()

    def fail(*_, **__):
        raise AutoReconnect("gone")

    monkeypatch.setattr(models.User, "save", fail)
    body = {"token": token, "password": NEW_PASSWORD}
    assert_problem(client.post(RESET, body), 503, "database_unavailable")
    for actor in (ann, key):
        assert_problem(client.get("/v1/db/app/items", as_=actor), 401, "unauthorized")
    assert mongo["sheaf"]["users"].find_one() == before
    monkeypatch.undo()
    assert client.post(RESET, body).status_code == 204


def test_session_and_key_made_in_the_middle_of_a_reset_end_too(client, ann, make_key, mongo, outbox, monkeypatch):
    token, save = ask_reset(client, outbox), models.User.save
    made: list[Actor] = []

    def save_meanwhile(user, *arguments, **options):
        if not made:
            thief = sign_in(client, "ann")
            made.extend([thief, make_key(thief)])
        return save(user, *arguments, **options)

    monkeypatch.setattr(models.User, "save", save_meanwhile)
    assert client.post(RESET, {"token": token, "password": NEW_PASSWORD}).status_code == 204
    for actor in made:
        assert_problem(client.get("/v1/db/app/items", as_=actor), 401, "unauthorized")


def test_reset_confirms_no_address_that_came_meanwhile(client, ann, mongo, outbox, monkeypatch):
    token, recover = ask_reset(client, outbox), models.recover

    def change_meanwhile(user, password):
        mongo["sheaf"]["users"].update_one({}, {"$set": {"email": "v@sheaf.test", "email_key": "v@sheaf.test"}})
        recover(user, password)

    monkeypatch.setattr(models, "recover", change_meanwhile)
    assert_problem(client.post(RESET, {"token": token, "password": NEW_PASSWORD}), 409, "conflict")
    assert mongo["sheaf"]["users"].find_one()["email_verified"] is False


def test_refused_new_password_ends_nothing(client, ann, make_key, outbox):
    key = make_key(ann)
    assert client.post(RESET, {"token": ask_reset(client, outbox), "password": "short"}).status_code == 400
    for actor in (ann, key):
        assert client.get("/v1/db/app/items", as_=actor).status_code == 200


def test_disabled_account_is_not_recovered(client, ann, mongo, outbox):
    reset = ask_reset(client, outbox)
    client.post(VERIFY, {"email": "ann@sheaf.test"})
    wait_until(lambda: len(outbox) == 2)
    mongo["sheaf"]["users"].update_one({}, {"$set": {"disabled": True}})
    assert_problem(client.post(RESET, {"token": reset, "password": NEW_PASSWORD}), 401, "unauthorized")
    assert_problem(client.post(VERIFY, {"token": token_in(outbox)}), 401, "unauthorized")


@pytest.mark.parametrize("path", [VERIFY, RESET])
def test_forged_and_foreign_tokens_are_401(client, ann, outbox, path):
    client.post(VERIFY, {"email": "ann@sheaf.test"})
    verify = token_in(outbox)
    wait_until_sent()
    reset = ask_reset(client, outbox)
    own = verify if path == VERIFY else reset
    claims = jwt.decode(own, options={"verify_signature": False})
    foreign = reset if path == VERIFY else verify
    wrong = [
        foreign,
        ann.token,
        ann.refresh_token,
        jwt.encode(claims, "another-secret-0123456789-abcdefghijkl", "HS256"),
        jwt.encode({**claims, "exp": int(time.time()) - 1}, SECRET_KEY, "HS256"),
        jwt.encode({**claims, "sub": "65a000000000000000000001"}, SECRET_KEY, "HS256"),
        own[:-10],
        "x",
        "",
        None,
        {"$ne": None},
    ]
    for token in wrong:
        body = {"token": token, **({"password": NEW_PASSWORD} if path == RESET else {})}
        assert_problem(client.post(path, body), 401, "unauthorized")
    for token in (verify, reset):
        assert_problem(client.get(ME, headers={"Authorization": f"Bearer {token}"}), 401, "unauthorized")
        assert_problem(client.post("/v1/sessions/refresh", {"refresh_token": token}), 401, "unauthorized")


def test_lifetimes_of_links(client, ann, outbox):
    client.post(VERIFY, {"email": "ann@sheaf.test"})
    lifetimes = [jwt.decode(token_in(outbox), options={"verify_signature": False})["exp"] - time.time()]
    wait_until_sent()
    lifetimes.append(jwt.decode(ask_reset(client, outbox), options={"verify_signature": False})["exp"] - time.time())
    assert [round(seconds / 3600, 1) for seconds in lifetimes] == [24, 1]


@pytest.mark.parametrize(
    ("path", "body", "member"),
    [
        (VERIFY, {}, "token"),
        (VERIFY, {"email": "not an address"}, "email"),
        (VERIFY, {"email": {"$ne": None}}, "email"),
        (VERIFY, {"email": "ann@sheaf.test", "token": "x"}, "email"),
        (VERIFY, {"login": "ann"}, "login"),
        (RESET, {}, "login"),
        (RESET, {"password": NEW_PASSWORD}, "login"),
        (RESET, {"login": "ann", "email": "ann@sheaf.test"}, "login"),
        (RESET, {"login": "ann", "password": NEW_PASSWORD}, "password"),
        (RESET, {"login": "ann", "token": "x", "password": NEW_PASSWORD}, "login"),
        (RESET, {"login": {"$ne": None}}, "login"),
        (RESET, {"login": ""}, "login"),
        (RESET, {"email": 1}, "email"),
    ],
)
def test_bad_request_is_400_and_sends_nothing(client, ann, outbox, path, body, member):
    assert_problem(client.post(path, body), 400, "invalid_input", path=member)
    wait_until_sent()
    assert outbox == []


def test_mails_are_limited_per_account_and_address_known_or_not(client, ann, outbox, monkeypatch):
    for login in ("ann", "nobody"):
        for _ in range(throttle.MAILS_PER_HOUR_TO_ACCOUNT):
            assert client.post(RESET, {"login": login}).status_code == 202
        answer = client.post(RESET, {"login": login.upper()}, address="192.0.2.1")
        assert_problem(answer, 429, "too_many_requests")
        assert 0 < int(answer.headers["Retry-After"]) <= 3600
    monkeypatch.setattr(throttle, "MAILS_PER_HOUR_FROM_ADDRESS", 1)
    assert client.post(RESET, {"login": "one"}, address="192.0.2.2").status_code == 202
    assert_problem(client.post(RESET, {"login": "two"}, address="192.0.2.2"), 429, "too_many_requests")


@pytest.mark.parametrize(
    "spell", [lambda number: " " * number + "ann@sheaf.test", lambda number: "ann" + "\t" * number]
)
def test_spellings_of_a_login_get_no_mails_beyond_the_limit(client, ann, outbox, spell):
    statuses = [client.post(RESET, {"login": spell(number)}).status_code for number in range(8)]
    wait_until_sent()
    assert statuses == [202] * throttle.MAILS_PER_HOUR_TO_ACCOUNT + [429] * (8 - throttle.MAILS_PER_HOUR_TO_ACCOUNT)
    assert len(outbox) == throttle.MAILS_PER_HOUR_TO_ACCOUNT


def test_names_of_one_account_share_its_mails(client, ann, outbox):
    for login in ("ann", "ann@sheaf.test", ann.id):
        for _ in range(throttle.MAILS_PER_HOUR_TO_ACCOUNT - 1):
            assert client.post(RESET, {"login": login}).status_code == 202
    wait_until_sent()
    assert len(outbox) == throttle.MAILS_PER_HOUR_TO_ACCOUNT


def test_spellings_of_an_address_to_confirm_count_together(client, ann, outbox):
    for email in ("ann@sheaf.test", "ANN@sheaf.test", "ann@SHEAF.test", "Ann@Sheaf.Test", "aNN@sheaf.test"):
        assert client.post(VERIFY, {"email": email}).status_code == 202
    assert_problem(client.post(VERIFY, {"email": "anN@sheaf.test"}), 429, "too_many_requests")


@pytest.mark.parametrize(("path", "body"), [(VERIFY, {"email": "ann@sheaf.test"}), (RESET, {"login": "ann"})])
def test_production_without_mail_server_is_501_and_says_what_is_missing(client, config, ann, outbox, path, body):
    config.environment = "production"
    answer = client.post(path, body)
    assert_problem(answer, 501, "not_available")
    assert "SHEAF_SMTP_URL" in answer.json["detail"]
    assert client.post(USERS, {"email": "zoe@sheaf.test", "password": PASSWORD}).status_code == 201
    wait_until_sent()
    assert outbox == []


def test_reset_waits_for_the_confirmation_setting_too(client, config, ann, outbox):
    """A reset proves the address as well as the confirmation link does."""
    config.require_verified_email = True
    assert_problem(client.post("/v1/sessions", {"login": "ann", "password": PASSWORD}), 403, "email_not_verified")
    client.post(RESET, {"token": ask_reset(client, outbox), "password": NEW_PASSWORD})
    sign_in(client, "ann", NEW_PASSWORD)


def test_two_uses_of_a_link_at_once_set_one_password(client, ann, outbox, monkeypatch):
    token = ask_reset(client, outbox)
    recover = models.recover

    def recover_twice(user, password):
        monkeypatch.setattr(models, "recover", recover)
        assert client.post(RESET, {"token": token, "password": "first password 1"}).status_code == 204
        recover(user, password)

    monkeypatch.setattr(models, "recover", recover_twice)
    assert_problem(client.post(RESET, {"token": token, "password": "second password 2"}), 409, "conflict")
    sign_in(client, "ann", "first password 1")


def test_an_address_entered_again_and_again_gets_few_links(client, ann, outbox):
    client.delete(ME, {"password": PASSWORD}, as_=ann)
    for _ in range(throttle.MAILS_PER_HOUR_TO_ACCOUNT + 2):
        client.post(USERS, {"username": "zoe", "email": "zoe@sheaf.test", "password": PASSWORD})
        client.delete(ME, {"password": PASSWORD}, as_=sign_in(client, "zoe"))
        wait_until_sent()
    assert len(outbox) <= throttle.MAILS_PER_HOUR_TO_ACCOUNT


@pytest.mark.parametrize("path", [VERIFY, RESET])
def test_page_of_a_link_is_self_contained_under_a_strict_policy(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http:" not in answer.text
    assert "https:" not in answer.text
    assert " src=" not in answer.text
    assert answer.headers["Referrer-Policy"] == "no-referrer"
