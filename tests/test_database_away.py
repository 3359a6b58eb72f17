"""MongoDB killed, hung and back: 503 with Retry-After within the limit, never a hang, and normal again by itself."""

import time

import pytest

from application import create_app
from tests.conftest import assert_problem, settings_for, sign_in_client, wait_until
from tests.mongod_fixture import start_mongod

ITEMS = "/v1/db/app/items"


@pytest.fixture
def own_mongod(tmp_path, app):
    """A mongod of this test's own, so that it can be killed; the suite's application is back afterwards."""
    running = start_mongod(tmp_path)
    yield running
    running.stop()
    import database
    from settings import use

    use(app.config["CHOSEN"])
    database.connect(app)


def test_database_that_dies_is_503_and_normal_again_after_restart(own_mongod):
    client, ann = sign_in_client(create_app(settings_for(own_mongod.uri)))
    client.post(ITEMS, {"_id": "x", "n": 1}, as_=ann)
    own_mongod.kill()
    for method, path, body in (("get", f"{ITEMS}/x", None), ("get", ITEMS, None), ("post", ITEMS, {"n": 2})):
        started = time.monotonic()
        answer = client.open(method, path, body, as_=ann)
        assert_problem(answer, 503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert time.monotonic() - started < 4
    assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code == 503
    own_mongod.restart()
    wait_until(lambda: client.get("/ready").status_code == 200, seconds=20)
    wait_until(lambda: client.get(f"{ITEMS}/x", as_=ann).status_code == 200, seconds=20)


def test_database_that_hangs_is_answered_within_the_time_limit(own_mongod):
    client, ann = sign_in_client(create_app(settings_for(own_mongod.uri, time_limit_seconds=2)))
    client.post(ITEMS, {"_id": "x", "n": 1}, as_=ann)
    own_mongod.pause()
    try:
        started = time.monotonic()
        answer = client.get(f"{ITEMS}/x", as_=ann)
        assert answer.status_code in (503, 504)
        assert time.monotonic() - started < 6
    finally:
        own_mongod.resume()
    wait_until(lambda: client.get(f"{ITEMS}/x", as_=ann).status_code == 200, seconds=20)
