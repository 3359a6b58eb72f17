"""Bounded caches in the process. Whoever fills one says how long an entry may live and what change ends it."""

import dataclasses
import threading
import time
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry(Generic[Value]):
    value: Value
    made_at: float
    ends_at: float
    tags: tuple[Hashable, ...]


class MemoryCache(Generic[Value]):
    """A bounded map whose entries end with their time, or with a change to anything they were made from.

    `tags` name what an entry was made from, for instance the ids of a user and of a session. To fill it without a race,
    read `generation` first, then the database, and hand the generation to `put`: an entry made from what was read
    before an eviction is not kept.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: dict[str, _Entry[Value]] = {}
        self._keys_of_tag: dict[Hashable, set[str]] = {}
        self._lock = threading.Lock()
        self.generation = 0

    def get(self, key: str, *, max_age_seconds: float | None = None) -> Value | None:
        """The value kept under `key`, unless it has ended; with `max_age_seconds`, also not if it is older."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = time.time()
        if now >= entry.ends_at or (max_age_seconds is not None and now - entry.made_at > max_age_seconds):
            self.remove(key)
            return None
        return entry.value

    def put(self, key: str, value: Value, *, ends_at: float, tags: Iterable[Hashable], generation: int) -> None:
        """Keep `value` until `ends_at` (Unix time) or until one of `tags` is evicted; the oldest entry makes room."""
        with self._lock:
            if generation != self.generation:
                return
            if key in self._entries:
                self._remove(key)
            elif len(self._entries) >= self._max_entries:
                self._remove(next(iter(self._entries)))
            entry = _Entry(value, time.time(), ends_at, tuple(tags))
            self._entries[key] = entry
            for tag in entry.tags:
                self._keys_of_tag.setdefault(tag, set()).add(key)

    def remove(self, key: str) -> None:
        """Forget one entry."""
        with self._lock:
            self._remove(key)

    def evict(self, tag: Hashable) -> None:
        """Forget every entry made from `tag`."""
        with self._lock:
            self.generation += 1
            for key in list(self._keys_of_tag.get(tag, ())):
                self._remove(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.generation += 1
            self._entries.clear()
            self._keys_of_tag.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        for tag in entry.tags if entry else ():
            keys = self._keys_of_tag.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._keys_of_tag[tag]
