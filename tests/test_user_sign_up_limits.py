"""A flood of sign-ups: it is slowed down, sends little mail and leaves sign-in its places."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher

from tests.conftest import PASSWORD, assert_problem, wait_until
from user import mail, password, throttle

USERS = "/v1/users"
SESSIONS = "/v1/sessions"
ELSEWHERE = "198.51.100.1"


def sign_up(client, name, **options):
    return client.post(USERS, {"username": name, "password": PASSWORD}, **options)


@pytest.fixture
def limit(config):
    """A low limit."""
    config.sign_ups_per_address = 3
    return config.sign_ups_per_address


@pytest.fixture
def outbox(app, monkeypatch):
    """To whom e-mails were sent."""
    sent = []
    monkeypatch.setattr(mail, "send", lambda to, subject, sentence, url: sent.append(to))
    return sent


@pytest.fixture
def slow_hashing(app, monkeypatch):
    """One place of two is for new passwords; hashing one waits for `leave` after it has set `entered`."""
    entered, leave = threading.Event(), threading.Event()

    class SlowHasher(PasswordHasher):
        def hash(self, *arguments, **options):
            entered.set()
            leave.wait(10)
            return super().hash(*arguments, **options)

    places, new_places = threading.BoundedSemaphore(2), threading.BoundedSemaphore(1)
    monkeypatch.setattr(password, "_places", lambda: places)
    monkeypatch.setattr(password, "_places_for_new", lambda: new_places)
    monkeypatch.setattr(password, "_cores", threading.BoundedSemaphore(2))
    password.matches("x", None)  # the dummy is hashed once, beforehand
    monkeypatch.setattr(password, "hasher", SlowHasher(time_cost=1, memory_cost=8, parallelism=1))
    yield entered, leave
    leave.set()


def test_address_must_wait_after_its_sign_ups(client, limit):
    for number in range(limit):
        assert sign_up(client, f"user{number}").status_code == 201
    answer = sign_up(client, "late")
    assert_problem(answer, 429, "too_many_requests")
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    assert sign_up(client, "late", address=ELSEWHERE).status_code == 201


def test_refused_sign_ups_count_too(client, ann, limit):
    assert sign_up(client, "x").status_code == 400
    for _ in range(limit - 1):
        assert_problem(sign_up(client, "ann"), 409, "conflict")
    assert_problem(sign_up(client, "ann"), 429, "too_many_requests")


def test_sign_ups_at_once_do_not_outrun_the_limit(client, limit):
    start, statuses = threading.Barrier(6), []

    def run(name):
        start.wait()
        statuses.append(sign_up(client, name).status_code)

    threads = [threading.Thread(target=run, args=(f"user{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses)[limit:] == [429] * (6 - limit)


def test_sign_ups_are_counted_over_an_hour(client, limit, mongo):
    for number in range(limit + 1):
        answer = sign_up(client, f"user{number}")
    assert answer.status_code == 429
    past = datetime.now(UTC) - timedelta(seconds=1)
    mongo["sheaf"][throttle.COLLECTION].update_many({}, {"$set": {"expireAt": past}})
    assert sign_up(client, "late").status_code == 201


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_admins_create_as_many_accounts_as_they_like(client, config, admin, limit, mode):
    config.sign_up = mode
    for number in range(limit + 1):
        assert sign_up(client, f"user{number}", as_=admin).status_code == 201


def test_users_and_keys_of_admins_are_not_exempt(client, ann, admin_key, limit):
    for number in range(limit):
        assert sign_up(client, f"user{number}", as_=admin_key if number else ann).status_code == 201
    for actor in (ann, admin_key):
        assert_problem(sign_up(client, "late", as_=actor), 429, "too_many_requests")


def test_sign_ups_do_not_use_up_sign_ins(client, ann, limit):
    for number in range(limit + 1):
        sign_up(client, f"user{number}")
    assert client.post(SESSIONS, {"login": "ann", "password": PASSWORD}).status_code == 201


@pytest.mark.parametrize(
    ("names", "path"),
    [({"username": "ANN"}, "username"), ({"email": "Ann@sheaf.test"}, "email"), ({"email": "b@sheaf.test"}, "")],
)
def test_taken_name_is_found_before_anything_is_hashed(client, ann, monkeypatch, names, path):
    hashed = []
    hash_password = password.hash_password

    def count(text):
        hashed.append(text)
        return hash_password(text)

    monkeypatch.setattr(password, "hash_password", count)
    answer = client.post(USERS, {**names, "password": PASSWORD})
    if path:
        assert_problem(answer, 409, "conflict", path=path)
    assert len(hashed) == (answer.status_code == 201)


def test_sign_up_does_not_take_the_place_of_a_sign_in(client, ann, slow_hashing):
    entered, leave = slow_hashing
    first = []
    thread = threading.Thread(target=lambda: first.append(sign_up(client, "zoe").status_code))
    thread.start()
    assert entered.wait(10)
    answer = sign_up(client, "yves")
    assert_problem(answer, 429, "too_many_requests")
    assert answer.headers["Retry-After"] == "1"
    assert client.post(SESSIONS, {"login": "ann", "password": PASSWORD}).status_code == 201
    leave.set()
    thread.join()
    assert first == [201]


def test_change_of_password_does_not_take_the_place_of_a_sign_in(client, ann, bob, slow_hashing):
    entered, leave = slow_hashing
    body = {"current_password": PASSWORD, "new_password": "green heron 17 chair"}
    first = []
    thread = threading.Thread(
        target=lambda: first.append(client.put(f"{USERS}/me/password", body, as_=bob).status_code)
    )
    thread.start()
    assert entered.wait(10)
    assert_problem(client.put(f"{USERS}/me/password", body, as_=ann), 429, "too_many_requests")
    assert client.post(SESSIONS, {"login": "ann", "password": PASSWORD}).status_code == 201
    leave.set()
    thread.join()
    assert first == [204]


@pytest.mark.parametrize(
    ("threads", "places", "for_new"), [(1, 2, 1), (3, 2, 1), (8, 6, 3), (9, 7, 3), (256, 254, 127)]
)
def test_sign_in_always_has_places_of_its_own(config, threads, places, for_new):
    config.threads = threads
    found = [made.__wrapped__() for made in (password._places, password._places_for_new)]
    assert [each._value for each in found] == [places, for_new]


def test_sign_ups_are_no_mail_relay(client, outbox, monkeypatch, caplog):
    monkeypatch.setattr(throttle, "MAILS_PER_HOUR_FROM_ADDRESS", 2)
    for number in range(4):
        body = {"email": f"victim{number}@sheaf.test", "password": PASSWORD}
        assert client.post(USERS, body, address="192.0.2.1").status_code == 201
    wait_until(lambda: mail._room._value == mail.MAX_WAITING)
    assert sorted(outbox) == ["victim0@sheaf.test", "victim1@sheaf.test"]
    assert "confirmation" in caplog.text
    assert "victim2" not in caplog.text
    assert "192.0.2.1" not in caplog.text


def test_mails_of_sign_ups_and_those_asked_for_count_together(client, outbox, monkeypatch):
    monkeypatch.setattr(throttle, "MAILS_PER_HOUR_FROM_ADDRESS", 2)
    client.post(USERS, {"email": "zoe@sheaf.test", "password": PASSWORD})
    assert client.post(f"{USERS}/reset", {"login": "zoe@sheaf.test"}).status_code == 202
    assert_problem(client.post(f"{USERS}/verify", {"email": "zoe@sheaf.test"}), 429, "too_many_requests")


def test_changing_ones_address_again_and_again_is_no_mail_relay(client, ann, outbox, monkeypatch):
    monkeypatch.setattr(throttle, "MAILS_PER_HOUR_FROM_ADDRESS", 1)
    for number in range(3):
        body = {"email": f"victim{number}@sheaf.test", "current_password": PASSWORD}
        assert client.patch(f"{USERS}/me", body, as_=ann).status_code == 200
    wait_until(lambda: mail._room._value == mail.MAX_WAITING)
    assert outbox == ["victim0@sheaf.test"]


def test_accounts_that_admins_create_all_get_their_mail(client, admin, outbox, monkeypatch):
    monkeypatch.setattr(throttle, "MAILS_PER_HOUR_FROM_ADDRESS", 1)
    for number in range(3):
        client.post(USERS, {"email": f"user{number}@sheaf.test", "password": PASSWORD}, as_=admin)
    wait_until(lambda: len(outbox) == 3)
