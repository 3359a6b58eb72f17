"""Guessing passwords is slowed down, per account and per address; the right user still gets in."""

import threading

import pytest

import database
import settings
from application import create_app
from tests.conftest import PASSWORD, Client, assert_problem, settings_for, sign_in
from user import throttle

SESSIONS = "/v1/sessions"
WRONG = "wrong password"


def attempt(client, login="ann", password=WRONG, address="192.0.2.1"):
    return client.post(SESSIONS, {"login": login, "password": password}, address=address)


@pytest.fixture
def limits(config):
    """Low limits."""
    config.failures_per_account, config.failures_per_address = 3, 8
    return config


def test_account_must_wait_after_its_failures(client, ann, limits, monkeypatch):
    for _ in range(3):
        assert_problem(attempt(client), 401, "unauthorized")
    monkeypatch.setattr("user.password.matches", None)  # no password is looked at any more
    for password in (WRONG, PASSWORD):
        answer = attempt(client, password=password)
        assert_problem(answer, 429, "too_many_requests")
        assert 0 < int(answer.headers["Retry-After"]) <= 900


def test_other_spellings_of_the_login_count_together(client, ann, limits):
    for login in ("ann", "ANN@sheaf.test", ann.id):
        assert_problem(attempt(client, login), 401, "unauthorized")
    assert_problem(attempt(client, "Ann "), 429, "too_many_requests")


def test_unknown_account_must_wait_just_the_same(client, limits):
    for login in ("nobody", "NOBODY", "nobody"):
        assert_problem(attempt(client, login), 401, "unauthorized")
    assert_problem(attempt(client, "nobody"), 429, "too_many_requests")


def test_right_password_forgets_the_failures(client, ann, limits):
    for _ in range(3):
        for _ in range(2):
            attempt(client)
        assert attempt(client, password=PASSWORD).status_code == 201


def test_the_user_gets_in_from_elsewhere_while_one_address_hammers(client, ann, limits):
    for _ in range(5):
        attempt(client)
    assert attempt(client, password=PASSWORD).status_code == 429
    assert attempt(client, password=PASSWORD, address="198.51.100.1").status_code == 201


def test_account_hammered_from_everywhere_is_open_only_where_it_is_signed_in(client, ann, limits):
    sign_in(client, "ann", address="198.51.100.1")
    limit = 3 * throttle.EVERYWHERE_FACTOR
    for number in range(limit):
        assert_problem(attempt(client, address=f"192.0.2.{number}"), 401, "unauthorized")
    assert_problem(attempt(client, address="203.0.113.1"), 429, "too_many_requests")
    assert_problem(attempt(client, password=PASSWORD, address="203.0.113.1"), 429, "too_many_requests")
    assert attempt(client, password=PASSWORD, address="198.51.100.1").status_code == 201


def test_address_must_wait_after_failures_of_many_accounts(client, ann, limits):
    for number in range(8):
        assert_problem(attempt(client, f"user{number}"), 401, "unauthorized")
    assert_problem(attempt(client, password=PASSWORD), 429, "too_many_requests")
    assert attempt(client, password=PASSWORD, address="198.51.100.1").status_code == 201


def test_right_passwords_do_not_use_up_the_address(client, ann, limits):
    for _ in range(12):
        assert attempt(client, password=PASSWORD).status_code == 201


def test_signing_in_to_an_account_of_ones_own_does_not_reset_the_address(client, ann, bob, limits):
    for number in range(8):
        attempt(client, f"user{number}")
        if number == 4:
            assert attempt(client, "bob", PASSWORD).status_code == 201
    assert_problem(attempt(client), 429, "too_many_requests")


def test_addresses_of_one_ipv6_subscriber_count_together(client, ann, limits):
    for number in range(3):
        attempt(client, address=f"2001:db8::{number}")
    assert_problem(attempt(client, address="2001:db8::ffff"), 429, "too_many_requests")
    assert_problem(attempt(client, address="2001:db8:0:1::1"), 401, "unauthorized")


def test_ipv4_written_as_ipv6_is_the_same_address(client, ann, limits):
    for address in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"):
        attempt(client, address=address)
    assert_problem(attempt(client, address="::ffff:192.0.2.1"), 429, "too_many_requests")


def test_attempts_at_once_do_not_outrun_the_limit(client, ann, limits):
    start, statuses = threading.Barrier(6), []

    def run():
        start.wait()
        statuses.append(attempt(client).status_code)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [401, 401, 401, 429, 429, 429]


def test_window_ends(client, ann, limits, mongo):
    for _ in range(4):
        attempt(client)
    assert attempt(client).status_code == 429
    from datetime import UTC, datetime, timedelta

    past = datetime.now(UTC) - timedelta(seconds=1)
    mongo["sheaf"][throttle.COLLECTION].update_many({}, {"$set": {"expireAt": past}})
    assert_problem(attempt(client), 401, "unauthorized")


def test_what_is_counted_holds_no_login_and_expires(client, ann, mongo):
    attempt(client, "a password typed here by mistake")
    attempt(client, "ann")
    counts = list(mongo["sheaf"][throttle.COLLECTION].find())
    assert counts
    assert "mistake" not in str(counts)
    assert all(count["expireAt"] for count in counts)


def test_forwarded_address_is_believed_only_from_trusted_proxies(client, ann, limits):
    for number in range(3):
        body = {"login": "ann", "password": WRONG}
        client.post(SESSIONS, body, headers={"X-Forwarded-For": f"203.0.113.{number}"}, address="192.0.2.1")
    assert_problem(attempt(client), 429, "too_many_requests")


@pytest.fixture
def behind(app, running_mongod):
    """Makes a client of an application behind so many proxies; the suite's own application is back afterwards."""

    def make(proxies):
        chosen = settings_for(running_mongod.uri, trusted_proxies=proxies, failures_per_account=3)
        return Client(create_app(chosen))

    yield make
    settings.use(app.config["CHOSEN"])
    database.connect(app)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "203.0.113.1, 203.0.113.2", "192.0.2.1"),
        (1, "203.0.113.1, 203.0.113.2", "203.0.113.2"),
        (1, "203.0.113.1", "203.0.113.1"),
        (1, None, "192.0.2.1"),
        (2, "203.0.113.0, 203.0.113.1, 203.0.113.2", "203.0.113.1"),
        (2, "203.0.113.2", "192.0.2.1"),
    ],
)
def test_address_is_what_the_last_trusted_proxy_says(behind, ann, proxies, forwarded, address):
    """Whoever is further left in X-Forwarded-For was named by somebody whom nobody trusts."""
    client = behind(proxies)
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    signed_in = sign_in(client, "ann", headers=headers, address="192.0.2.1")
    (seen,) = [one for one in client.get(SESSIONS, as_=signed_in).json["sessions"] if one["current"]]
    assert seen["address"] == address


def test_failures_behind_a_proxy_count_for_the_address_it_names(behind, ann):
    client = behind(1)

    def fail(forwarded):
        body = {"login": "ann", "password": WRONG}
        return client.post(SESSIONS, body, headers={"X-Forwarded-For": forwarded}, address="192.0.2.1")

    for number in range(3):
        assert_problem(fail(f"198.51.100.{number}, 203.0.113.1"), 401, "unauthorized")
    assert_problem(fail("198.51.100.9, 203.0.113.1"), 429, "too_many_requests")
    assert_problem(fail("198.51.100.0, 203.0.113.2"), 401, "unauthorized")
