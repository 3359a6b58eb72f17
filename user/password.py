"""Passwords: which are accepted, how they are hashed, and how many may be hashed at once."""

import contextlib
import functools
import importlib.util
import os
import runpy
import secrets
import threading
import unicodedata
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from errors import TooManyRequests
from settings import config
from user.identity import invalid

MIN_CHARACTERS = 10
MAX_CHARACTERS = 128
# argon2id as the OWASP Password Storage Cheat Sheet asks for at least; one hash takes about 20 ms and 19 MiB.
hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

# Hashing uses a whole core, so more at once would not be faster, only larger.
_cores = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))


def _count_places() -> int:
    """As many as there are threads, but two: these are always free for requests without a password."""
    return max(2, config.threads - 2)


@functools.cache
def _places() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(_count_places())


@functools.cache
def _places_for_new() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(_count_places() // 2)


@contextlib.contextmanager
def place() -> Iterator[None]:
    """A place among the requests of this process that hash a password; TooManyRequests at once when all are taken.

    Enter it before `matches`: sign-ins can then never occupy all threads or all memory.
    """
    with _one_of(_places()):
        yield


@contextlib.contextmanager
def place_for_new() -> Iterator[None]:
    """A place for a new password; enter it before `hash_password`.

    Only half of the places are for these: whoever floods the service with sign-ups keeps nobody from signing in.
    """
    with _one_of(_places_for_new()), place():
        yield


@contextlib.contextmanager
def _one_of(places: threading.BoundedSemaphore) -> Iterator[None]:
    if not places.acquire(blocking=False):
        raise TooManyRequests("Too many passwords are being checked just now; try again in a second.", 1)
    try:
        yield
    finally:
        places.release()


def hash_password(password: str) -> str:
    """The argon2id hash to store."""
    with _cores:
        return hasher.hash(_normalise(password))


def matches(password: str, password_hash: str | None) -> bool:
    """Whether `password` is the one that was hashed. Without a hash the same work is done, and the answer is False."""
    with _cores:
        dummy = _dummy_hash()
        try:
            return hasher.verify(password_hash or dummy, _normalise(password)) and bool(password_hash)
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return hasher.check_needs_rehash(password_hash)


def check_policy(value: object, *, names: tuple[str | None, ...], path: str = "password") -> str:
    """`value` when it is acceptable as a password for an account called `names`, else InvalidInput.

    10 to 128 characters of any kind, not among the common passwords, and not the account's own name or e-mail address
    (NIST SP 800-63B, section 5.1.1.2; no rules about kinds of characters).
    """
    if not isinstance(value, str):
        raise invalid(path, "must be a string")
    password = _normalise(value)
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise invalid(path, f"must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")
    folded = password.casefold()
    if folded in _common_passwords():
        raise invalid(path, "is among the most common passwords; choose another")
    if folded in _name_forms(names):
        raise invalid(path, "may not be the account's own name or e-mail address")
    return value


def _name_forms(names: tuple[str | None, ...]) -> set[str]:
    """The names, and of e-mail addresses also the part before the @."""
    given = [name.casefold() for name in names if name]
    return {form for name in given for form in (name, name.partition("@")[0])}


def _normalise(password: str) -> str:
    """The same characters typed on another keyboard are the same password (NFC)."""
    return unicodedata.normalize("NFC", password)


@functools.cache
def _dummy_hash() -> str:
    return hasher.hash(secrets.token_urlsafe())


@functools.cache
def _common_passwords() -> frozenset[str]:
    """Those of zxcvbn's 30,000 that are long enough to be chosen here.

    The list is read from its file: importing the package would keep 12 MB of other lists in memory.
    """
    origin = cast(ModuleSpec, importlib.util.find_spec("zxcvbn")).origin
    lists = runpy.run_path(str(Path(cast(str, origin)).parent / "frequency_lists.py"))["FREQUENCY_LISTS"]
    return frozenset(word.casefold() for word in lists["passwords"] if len(word) >= MIN_CHARACTERS)
