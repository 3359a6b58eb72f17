"""A page in the order of a sort and `_id`, from an index that has the sort alone.

Read in the sort's order, documents that tie in it come as they please. They are put in order here; where the page ends
among them, the database is asked for those with the least `_id`, for which it has an index. Without this, MongoDB would
sort the whole collection.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import bson
from bson import Binary, Decimal128, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from document import keyset
from document.keyset import Order
from document.page_token import Place
from document.raw import KEYS_FIELD, split, take_keys

Document = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where to read, and what."""

    target: Collection[Document]
    query: Document
    order: Order
    """The sort, then `_id`."""
    fields: Document | None
    options: Document

    def read(self, query: Document, sort: Order, limit: int) -> list[bytes]:
        """Raw documents with the values that the sort saw in KEYS_FIELD; Undecided when they are too much at once."""
        fields = {**(self.fields or {}), KEYS_FIELD: {"$meta": "sortKey"}}
        cursor: Any = self.target.find_raw_batches(
            query, fields, sort=sort, limit=limit, batch_size=limit + 1, **self.options
        )
        with cursor:
            batch = next(cursor, b"")
            if cursor.alive:
                raise Undecided
        return split(batch)


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """The documents of a page, and where the next one begins."""

    documents: list[bytes]
    next: Place | None


@dataclasses.dataclass(slots=True)
class Row:
    """A raw document, the sort's values as a raw array and decoded, and its `_id`."""

    document: bytes
    keys: bytes
    values: list[Any]
    id: Any


class Undecided(Exception):
    """This way of reading does not lead to an exact page; the total order does."""


def read(source: Source, place: Place, limit: int) -> Part | None:
    """The page that begins at `place`; None when only a sort by the total order can tell it."""
    try:
        return _Reader(source).read(place, limit)
    except Undecided:
        return None


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._sort = source.order[:-1]

    def read(self, place: Place, limit: int) -> Part:
        values = (keyset.read_values(place.keys) or []) if place.keys else []
        wanted = limit + 1
        rows: list[Row] = []
        if values and not place.ends_tie:
            *values, last_id = values
            rows = self._read_tied(bson.encode(_numbered(values)), values, [last_id], wanted)
        if is_full := len(rows) == wanted:
            return self._part(rows, limit, is_full=True)
        query = keyset.after(self._source.query, self._sort, values) if values else self._source.query
        more = [self._row(document) for document in self._source.read(query, self._sort, wanted - len(rows))]
        is_full = len(rows) + len(more) == wanted
        rows += self._untangle(more, is_cut=is_full)
        return self._part(rows, limit, is_full=is_full)

    def _part(self, rows: list[Row], limit: int, *, is_full: bool) -> Part:
        kept = rows[:limit]
        documents = [row.document for row in kept]
        if not is_full:
            return Part(documents, None)
        if len(rows) <= limit:  # others were deleted meanwhile
            raise Undecided
        last = kept[-1]
        if not _ties(last, rows[limit]):
            return Part(documents, Place(last.keys, ends_tie=True))
        return Part(documents, Place(bson.encode(_numbered([*last.values, last.id]))))

    def _untangle(self, rows: list[Row], *, is_cut: bool) -> Iterator[Row]:
        """The same rows, in the order of `_id` where they tie; a tie that is cut at the end begins with its least."""
        groups = _groups(rows)
        kinds = {keyset.bracket_of(row.id) for group in groups if len(group) > 1 for row in group}
        if len(kinds) > 1:
            raise Undecided
        for index, group in enumerate(groups):
            if len(group) == 1:
                yield group[0]
            elif is_cut and index == len(groups) - 1:
                yield from self._read_tied(group[0].keys, group[0].values, [], len(group))
            else:
                yield from sorted(group, key=_id_key, reverse=self._source.order[-1][1] < 0)

    def _read_tied(self, keys: bytes, values: list[Any], last_id: list[Any], limit: int) -> list[Row]:
        query = keyset.equal_to(self._source.query, self._sort, values, last_id)
        found = self._source.read(query, [self._source.order[-1]], limit)
        return [Row(document, keys, values, id_) for document, id_ in map(self._id_row, found)]

    def _id_row(self, raw: bytes) -> tuple[bytes, Any]:
        document, keys = take_keys(raw)
        return document, _exact(keys)[0]

    def _row(self, raw: bytes) -> Row:
        document, keys = take_keys(raw)
        return Row(document, keys, _exact(keys), bson.decode(document, keyset.EXACT).get("_id"))


def _exact(keys: bytes) -> list[Any]:
    values = keyset.read_values(keys)
    if values is None:
        raise Undecided
    return values


def _groups(rows: list[Row]) -> list[list[Row]]:
    """Rows that tie with the one before, together."""
    groups: list[list[Row]] = []
    for row in rows:
        if groups and _ties(groups[-1][-1], row):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _ties(one: Row, other: Row) -> bool:
    return one.keys == other.keys or all(map(_is_same, one.values, other.values))


def _is_same(one: Any, other: Any) -> bool:
    bracket = keyset.bracket_of(one)
    if bracket != keyset.bracket_of(other):
        return False
    if bracket == keyset.NUMBER:
        return bool(_number(one) == _number(other))
    if type(one) is not type(other) or isinstance(one, RawBSONDocument):
        raise Undecided  # {"n": 1} and {"n": 1.0} tie
    return bool(one == other)


def _id_key(row: Row) -> Any:
    """What ids of one kind are sorted by as MongoDB does; Undecided for kinds that are rarely ids."""
    if isinstance(row.id, ObjectId):
        return row.id.binary
    if isinstance(row.id, str):
        return row.id.encode()
    if isinstance(row.id, int) and not isinstance(row.id, bool):
        return int(row.id)
    if isinstance(row.id, Binary):  # UUIDs
        return len(row.id), row.id.subtype, bytes(row.id)
    raise Undecided


def _number(value: Any) -> Any:
    number = value.to_decimal() if isinstance(value, Decimal128) else value
    return number if number == number else "NaN"  # noqa: PLR0124 - NaN alone differs from itself


def _numbered(values: list[Any]) -> Document:
    return {str(index): value for index, value in enumerate(values)}
