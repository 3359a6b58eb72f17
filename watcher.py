"""One change stream per process on the service's own collections; it keeps the process's caches true.

While the stream is current, a cached entry may be trusted until an event evicts it. When it is not (database away, or a
standalone mongod, which has no change streams), `max_age_seconds()` bounds how old an entry may be.
"""

import logging
import math
import os
import threading
import time
from typing import Any

from pymongo.change_stream import ChangeStream
from pymongo.errors import OperationFailure, PyMongoError

import database
from cache import MemoryCache

logger = logging.getLogger("sheaf.watcher")

WATCHED = ("users", "sessions", "keys")
AWAIT_MILLISECONDS = 250
# An answer is due every AWAIT_MILLISECONDS; after this long without one, events may be waiting that we have not seen.
CURRENT_SECONDS = 0.7
STALE_AGE_SECONDS = 0.7
RETRY_SECONDS = 1.0
# Replica set needed: "The $changeStream stage is only supported on replica sets".
NO_CHANGE_STREAMS = 40573


class Watcher:
    """Follows one stream in a thread; the process has one, whose methods this module offers."""

    def __init__(self) -> None:
        self._caches: list[MemoryCache[Any]] = []
        self._start_lock = threading.Lock()
        self._running_in: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_answer = -math.inf

    def keep_true(self, cache: MemoryCache[Any]) -> None:
        """From now on evict the tag (collection, id) from `cache` when that document of the service changes."""
        self._caches.append(cache)

    def is_current(self) -> bool:
        """Whether every change older than a moment ago has been seen."""
        return time.monotonic() - self._last_answer < CURRENT_SECONDS

    def max_age_seconds(self) -> float | None:
        """How old a cached entry may be just now; None when the change stream vouches for every entry."""
        return None if self.is_current() else STALE_AGE_SECONDS

    def ensure_running(self) -> None:
        """Start the thread in this process if it is not running (also after a fork)."""
        if self._running_in == os.getpid():
            return
        with self._start_lock:
            if self._running_in != os.getpid():
                self._running_in = os.getpid()
                self._stop.clear()
                self._thread = threading.Thread(target=self._watch_until_stopped, name="watcher", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread and forget everything cached; `ensure_running` starts anew."""
        self._stop.set()
        if self._thread is not None and self._running_in == os.getpid():
            self._thread.join(timeout=5)
        self._running_in, self._last_answer = None, -math.inf
        self.clear_caches()

    def clear_caches(self) -> None:
        """Forget everything cached."""
        for cache in self._caches:
            cache.clear()

    def _watch_until_stopped(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except OperationFailure as failure:
                if failure.code == NO_CHANGE_STREAMS:
                    logger.info("this MongoDB has no change streams: cached sessions live %s s", STALE_AGE_SECONDS)
                    return
                logger.warning("watching for changes failed, trying again: code %s", failure.code)
            except PyMongoError as failure:
                logger.warning("watching for changes failed, trying again: %s", type(failure).__name__)
            except Exception:  # the loop must outlive any event
                logger.exception("watching for changes failed, trying again")
            self._stop.wait(RETRY_SECONDS)

    def _watch(self) -> None:
        """Follow one stream until it fails. It begins now, so what was cached before may have changed unseen."""
        pipeline = [{"$match": {"ns.coll": {"$in": list(WATCHED)}, "operationType": {"$ne": "insert"}}}]
        with database.service().watch(pipeline, max_await_time_ms=AWAIT_MILLISECONDS) as stream:
            self.clear_caches()
            self._last_answer = time.monotonic()
            while not self._stop.is_set() and stream.alive:
                self._see_next(stream)
                self._last_answer = time.monotonic()

    def _see_next(self, stream: ChangeStream[dict[str, Any]]) -> None:
        event = stream.try_next()
        if event is None:
            return
        if "documentKey" in event:
            tag = (event["ns"]["coll"], event["documentKey"]["_id"])
            for cache in self._caches:
                cache.evict(tag)
        else:  # a collection was dropped or renamed
            self.clear_caches()


_of_this_process = Watcher()
keep_true = _of_this_process.keep_true
is_current = _of_this_process.is_current
max_age_seconds = _of_this_process.max_age_seconds
ensure_running = _of_this_process.ensure_running
stop = _of_this_process.stop
clear_caches = _of_this_process.clear_caches
