"""The watcher: evicts what changed within a moment, knows when it is not current, and recovers by itself."""

import time
from collections.abc import Iterator

import pytest

import database
from cache import MemoryCache
from tests.conftest import wait_until
from watcher import Watcher


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
