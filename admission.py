"""How many requests of a slow kind this process takes on at once, so that all others still find a thread.

A thread waits while a client sends its body or reads a long answer. Whoever does that slowly, or means harm, must not
hold them all.
"""

import threading
from collections.abc import Callable

from errors import ServerBusy
from settings import config


class Places:
    """The places for one slow kind of request, a share of SHEAF_THREADS."""

    def __init__(self, share: Callable[[int], int]) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._taken = 0

    def take(self) -> Callable[[], None]:
        """Take a place and answer how to give it back, once or several times; ServerBusy when all are taken."""
        with self._lock:
            if self._taken >= max(1, self._share(config.threads)):
                raise ServerBusy("Too many requests of this kind are under way here; try again in a second.")
            self._taken += 1
        return _Once(self._give_back)

    def _give_back(self) -> None:
        with self._lock:
            self._taken -= 1


class _Once:
    """Calls `action` at the first call only."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._actions = [action]

    def __call__(self) -> None:
        # list.pop is atomic, so that two threads cannot both find the action.
        try:
            action = self._actions.pop()
        except IndexError:
            return
        action()


reading_bodies = Places(lambda threads: threads - 2)
streaming_answers = Places(lambda threads: threads // 2)
