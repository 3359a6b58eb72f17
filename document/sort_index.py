"""Which index of a collection gives a sort order, as far as paging has to know. Remembered for a minute.

Being out of date costs time and nothing else: either way of reading a page is exact.
"""

import dataclasses
import time
from typing import Any

from pymongo.errors import OperationFailure

from access.models import Permit
from cache import MemoryCache
from document.collection import open_collection
from document.keyset import Order

KNOWN_SECONDS = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Indexes:
    """What is known of a collection's indexes."""

    keys: tuple[Order, ...]
    """Of those that hold every document in plain order."""
    has_collation: bool
    """Text is compared by the collection's own rules."""
    is_plain: bool = True
    """The documents are stored as they are listed: not a view or a time series, where sort keys are not told."""

    def gives(self, query: dict[str, Any], order: Order) -> bool:
        """Whether some index holds what matches `query` in this order, after fields that the query fixes."""
        return any(_fits(keys, query, order) for keys in self.keys)


_known: MemoryCache[Indexes] = MemoryCache(max_entries=10_000)


def indexes_of(permit: Permit) -> Indexes:
    """The collection's indexes, as they were at most a minute ago."""
    name = f"{permit.database}.{permit.collection}"
    found = _known.get(name)
    if found is None:
        found = _read(permit)
        _known.put(name, found, ends_at=time.time() + KNOWN_SECONDS, tags=(), generation=_known.generation)
    return found


def forget_indexes() -> None:
    """Look again which indexes there are."""
    _known.clear()


def _read(permit: Permit) -> Indexes:
    target = open_collection(permit)
    try:
        described = list(target.database.list_collections(filter={"name": permit.collection}))
        if any(one.get("type", "collection") != "collection" for one in described):
            return Indexes((), False, is_plain=False)
        specifications = list(target.list_indexes())
    except OperationFailure:  # not every database user may look
        return Indexes((), False)
    collation = next((one.get("collation") for one in specifications if one["name"] == "_id_"), None)
    keys = tuple(
        list(one["key"].items())
        for one in specifications
        if one.get("collation") == collation
        and not {"partialFilterExpression", "sparse", "hidden"} & one.keys()
        and all(direction in (1, -1) for direction in one["key"].values())
    )
    return Indexes(keys, collation is not None)


def _fits(keys: Order, query: dict[str, Any], order: Order) -> bool:
    rest = list(keys)
    while rest and rest[0][0] != order[0][0] and _is_fixed(query, rest[0][0]):
        del rest[0]
    turns = {direction * wanted for (_, direction), (_, wanted) in zip(rest, order, strict=False)}
    return [name for name, _ in rest[: len(order)]] == [name for name, _ in order] and len(turns) == 1


def _is_fixed(query: dict[str, Any], field: str) -> bool:
    value = query.get(field, {"$exists": True})
    return not (isinstance(value, dict) and any(name.startswith("$") for name in value)) or list(value) == ["$eq"]
