"""The collections that documents live in: opened for reading and writing, and made on first use in open databases."""

import time
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import OperationFailure

import database
from access.models import OWNER_FIELD, Permit
from cache import MemoryCache
from errors import Forbidden

KNOWN_SECONDS = 60
NAMESPACE_EXISTS = 48

_known: MemoryCache[bool] = MemoryCache(max_entries=10_000)


def open_collection(permit: Permit) -> Collection[dict[str, Any]]:
    """The collection that the permit is for; it need not exist."""
    return database.client()[permit.database][permit.collection]


def ensure_collection(permit: Permit) -> None:
    """Make the collection, in an open database, when a first document is about to be stored in it.

    It gets the index that a user's own list needs. Raises Forbidden where the database is full for this caller.
    """
    name = f"{permit.database}.{permit.collection}"
    if OWNER_FIELD not in permit.stamp or _known.get(name):
        return
    names = database.client()[permit.database].list_collection_names(nameOnly=True)
    if permit.collection not in names:
        if permit.max_collections is not None and len(names) >= permit.max_collections:
            raise Forbidden(f"Database {permit.database!r} already has {len(names)} collections; it takes no more.")
        _create(permit)
    _known.put(name, True, ends_at=time.time() + KNOWN_SECONDS, tags=(), generation=_known.generation)


def forget_collections() -> None:
    """Look again which collections there are."""
    _known.clear()


def _create(permit: Permit) -> None:
    target = database.client()[permit.database]
    try:
        target.create_collection(permit.collection, check_exists=False)
    except OperationFailure as failure:
        if failure.code != NAMESPACE_EXISTS:  # somebody else was faster
            raise
    target[permit.collection].create_index([(OWNER_FIELD, 1), ("_id", 1)])
