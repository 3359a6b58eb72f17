"""The collections that documents live in: opened for reading and writing, and made on first use in open databases."""

import time
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import OperationFailure

import database
from access.models import OWNER_FIELD, Permit
from cache import MemoryCache
from errors import Forbidden
from settings import config

KNOWN_SECONDS = 60
NAMESPACE_EXISTS = 48

_known: MemoryCache[bool] = MemoryCache(max_entries=10_000)


def open_collection(permit: Permit) -> Collection[dict[str, Any]]:
    """The collection that the permit is for; it need not exist."""
    return database.client()[permit.database][permit.collection]


def ensure_collection(permit: Permit) -> None:
    """Make the collection, in an open database, when a first document is about to be stored in it.

    It gets the index that a user's own list needs. Raises Forbidden where the database, or this caller's share of it,
    is full.
    """
    name = f"{permit.database}.{permit.collection}"
    if OWNER_FIELD not in permit.stamp or _known.get(name):
        return
    names = database.client()[permit.database].list_collection_names(nameOnly=True)
    if permit.collection not in names:
        if permit.is_limited:
            _check_limits(permit, names)
        _create(permit)
    _known.put(name, True, ends_at=time.time() + KNOWN_SECONDS, tags=(), generation=_known.generation)


def forget_collections() -> None:
    """Look again which collections there are."""
    _known.clear()


def _check_limits(permit: Permit, names: list[str]) -> None:
    if len(names) >= config.max_collections:
        raise Forbidden(f"Database {permit.database!r} already has {len(names)} collections; it takes no more.")
    started = {"database": permit.database, "started_by": permit.stamp[OWNER_FIELD], "collection": {"$in": names}}
    if _records().count_documents(started) >= config.max_collections_per_user:
        raise Forbidden(
            f"You have started {config.max_collections_per_user} collections in database {permit.database!r}; "
            "use one of those."
        )


def _create(permit: Permit) -> None:
    # Recorded first, so that a crash in between cannot leave a collection that counts for nobody.
    record = {"database": permit.database, "collection": permit.collection}
    _records().update_one(record, {"$setOnInsert": {"started_by": permit.stamp[OWNER_FIELD]}}, upsert=True)
    target = database.client()[permit.database]
    try:
        target.create_collection(permit.collection, check_exists=False)
    except OperationFailure as failure:
        if failure.code != NAMESPACE_EXISTS:  # somebody else was faster
            raise
    target[permit.collection].create_index([(OWNER_FIELD, 1), ("_id", 1)])


def _records() -> Collection[dict[str, Any]]:
    """Who started which collection, in the service's own database."""
    return database.service()["collections"]
