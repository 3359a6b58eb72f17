"""MemoryCache: entries end with their time, their tags and the bound, and are never kept past a change."""

import time

import pytest

from cache import MemoryCache


@pytest.fixture
def cache():
    return MemoryCache[str](max_entries=3)


def put(cache, key, *tags, seconds=60.0, generation=None):
    found = cache.generation if generation is None else generation
    cache.put(key, key.upper(), ends_at=time.time() + seconds, tags=tags, generation=found)


def test_entry_is_found_until_its_time(cache, monkeypatch):
    put(cache, "a", seconds=10)
    assert cache.get("a") == "A"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 11)
    assert cache.get("a") is None
    assert len(cache) == 0


def test_entry_older_than_the_caller_accepts_is_forgotten(cache, monkeypatch):
    put(cache, "a")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1)
    assert cache.get("a", max_age_seconds=2) == "A"
    assert cache.get("a", max_age_seconds=0.5) is None


def test_evicting_a_tag_forgets_every_entry_made_from_it(cache):
    put(cache, "a", "user 1", "session 1")
    put(cache, "b", "user 1", "session 2")
    put(cache, "c", "user 2")
    cache.evict("session 1")
    assert [cache.get(key) for key in "abc"] == [None, "B", "C"]
    cache.evict("user 1")
    assert [cache.get(key) for key in "abc"] == [None, None, "C"]


def test_oldest_entry_makes_room(cache):
    for key in "abcd":
        put(cache, key)
    assert [cache.get(key) for key in "abcd"] == [None, "B", "C", "D"]


def test_entry_read_before_an_eviction_is_not_kept(cache):
    before = cache.generation
    cache.evict("anything")
    put(cache, "a", generation=before)
    assert cache.get("a") is None


def test_entry_can_be_put_again_with_other_tags(cache):
    put(cache, "a", "old")
    put(cache, "a", "new")
    cache.evict("old")
    assert cache.get("a") == "A"
    cache.evict("new")
    assert cache.get("a") is None


def test_clear_forgets_all(cache):
    put(cache, "a", "tag")
    cache.clear()
    assert cache.get("a") is None
    put(cache, "a")
    assert cache.get("a") == "A"
