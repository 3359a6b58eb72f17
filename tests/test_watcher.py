"""The watcher: evicts what changed within a moment, knows when it is not current, and recovers by itself."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId
from pymongo.change_stream import ChangeStream

import database
import watcher as watcher_of_the_process
from cache import MemoryCache
from tests.conftest import assert_problem, wait_until
from watcher import Watcher

EFFECTIVE_SECONDS = 1.0


@pytest.fixture
def watcher(app) -> Iterator[Watcher]:
    """A watcher of this test's own."""
    made = Watcher()
    yield made
    made.stop()


@pytest.fixture
def cache(watcher):
    """A cache that the watcher keeps true, with the watcher running."""
    kept = MemoryCache[int](max_entries=10)
    watcher.keep_true(kept)
    watcher.ensure_running()
    wait_until(watcher.is_current)
    return kept


def put(cache, key, tag):
    cache.put(key, 1, ends_at=time.time() + 60, tags=(tag,), generation=cache.generation)


def test_change_evicts_what_was_made_from_the_document_and_nothing_else(cache):
    users = database.service().users
    changed = users.insert_one({"n": 1}).inserted_id
    other = users.insert_one({"n": 1}).inserted_id
    put(cache, "changed", ("users", changed))
    put(cache, "other", ("users", other))
    users.update_one({"_id": changed}, {"$set": {"n": 2}})
    wait_until(lambda: cache.get("changed") is None, seconds=1)
    assert cache.get("other") == 1


def test_delete_evicts(cache):
    sessions = database.service().sessions
    session_id = sessions.insert_one({"n": 1}).inserted_id
    put(cache, "key", ("sessions", session_id))
    sessions.delete_one({"_id": session_id})
    wait_until(lambda: cache.get("key") is None, seconds=1)


def test_current_watcher_sets_no_age_limit_and_a_stopped_one_does(watcher, cache):
    assert watcher.max_age_seconds() is None
    watcher.stop()
    assert not watcher.is_current()
    assert watcher.max_age_seconds() < 1


def test_watcher_that_was_stopped_starts_again(watcher, cache):
    watcher.stop()
    watcher.ensure_running()
    wait_until(watcher.is_current)
    assert watcher.max_age_seconds() is None


def test_renamed_collection_clears_the_cache(cache):
    put(cache, "key", ("users", 1))
    database.service().keys.rename("keys_before")
    wait_until(lambda: cache.get("key") is None, seconds=1)
    database.service().keys_before.rename("keys")


def test_new_stream_trusts_nothing_from_before(watcher, cache):
    watcher.stop()
    put(cache, "key", ("users", 1))
    watcher.ensure_running()
    wait_until(watcher.is_current)
    assert cache.get("key") is None


@pytest.fixture
def stall(monkeypatch) -> Iterator[Callable[[], Callable[[], None]]]:
    """Lets the one change stream hang, as on a dead connection: nothing comes, nothing fails. Its answer ends that."""
    hanging, resumed = threading.Event(), threading.Event()
    see_next = ChangeStream.try_next

    def hang(stream: ChangeStream[Any]) -> Any:
        hanging.set()
        resumed.wait(30)
        return see_next(stream)

    def start() -> Callable[[], None]:
        monkeypatch.setattr(ChangeStream, "try_next", hang)
        assert hanging.wait(5)
        return resumed.set

    yield start
    resumed.set()


def test_stalled_stream_is_noticed_within_a_second_and_catches_up(watcher, cache, stall):
    watcher_of_the_process.stop()
    users = database.service().users
    changed = users.insert_one({"n": 1}).inserted_id
    put(cache, "changed", ("users", changed))
    resume = stall()
    users.update_one({"_id": changed}, {"$set": {"n": 2}})
    wait_until(lambda: not watcher.is_current(), seconds=EFFECTIVE_SECONDS)
    assert watcher.max_age_seconds() <= EFFECTIVE_SECONDS
    resume()
    wait_until(watcher.is_current)
    wait_until(lambda: cache.get("changed") is None)


@pytest.mark.parametrize("kind", ["token", "key"])
def test_who_was_disabled_while_the_stream_stalls_is_out_within_a_second(client, ann, make_key, mongo, stall, kind):
    """Neither the event nor a failure arrives: only the age of the last answer tells."""
    asking, path = (ann, "/v1/users/me") if kind == "token" else (make_key(ann), "/v1/db/app/items")
    assert client.get(path, as_=asking).status_code == 200
    wait_until(watcher_of_the_process.is_current)
    # The first request came before the stream, which trusts nothing from before it.
    assert client.get(path, as_=asking).status_code == 200
    stall()
    mongo["sheaf"]["users"].update_one({"_id": ObjectId(ann.id)}, {"$set": {"disabled": True}})
    wait_until(lambda: client.get(path, as_=asking).status_code != 200, seconds=EFFECTIVE_SECONDS)
    assert not watcher_of_the_process.is_current()
    assert_problem(client.get(path, as_=asking), 401, "unauthorized")
