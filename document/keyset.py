"""Filters for "the documents after this one" in a sort order, exact over all BSON types, and quick where an index fits.

MongoDB sorts across types, but `$gt` and `$lt` compare within one; so what follows a value is said type by type.
A filter has two parts. What an index can seek: values, per type. What makes it exact where a field holds an array, of
which the sort takes the least element, or descending the greatest: no element may stand before the boundary.
https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
"""

import math
from datetime import datetime
from typing import Any

import bson
from bson import Binary, Code, DatetimeMS, Decimal128, MaxKey, MinKey, ObjectId, Timestamp
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

Document = dict[str, Any]
Order = list[tuple[str, int]]
"""Field names with 1 or -1."""

# Kinds of values that compare with one another, in MongoDB's order, by their names for `$type`. A missing field sorts
# as null, an empty array as undefined.
BRACKETS: tuple[tuple[str, ...], ...] = (
    ("minKey",),
    ("undefined",),
    ("null",),
    ("number",),
    ("string", "symbol"),
    ("object",),
    ("array",),
    ("binData",),
    ("objectId",),
    ("bool",),
    ("date",),
    ("timestamp",),
    ("regex",),
    ("dbPointer",),
    ("javascript",),
    ("javascriptWithScope",),
    ("maxKey",),
)
UNDEFINED, NULL, NUMBER, ARRAY = 1, 2, 3, 6
# Kinds without values to compare: all that are of the kind are equal.
SINGLE = frozenset({0, NULL, 16})

# Inner documents stay raw, so that their bytes survive.
EXACT = CodecOptions(document_class=RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_AUTO)

# Arrays sort between objects and binary data. Objects compare by the kind of their first value first.
_LAST_OBJECT = {"": MaxKey()}
_FIRST_BINARY = Binary(b"")


def read_values(keys: bytes) -> list[Any] | None:
    """The values in a raw BSON array, or None where a filter cannot say what follows one of them.

    Those are arrays, deprecated types and regular expressions, which `$gt` refuses.
    """
    values = list(bson.decode(keys, EXACT).values())
    # Deprecated types are decoded as others; then these are not the bytes that came.
    is_exact = bson.encode({str(index): value for index, value in enumerate(values)}) == keys
    return values if is_exact and all(bracket_of(value) is not None for value in values) else None


def bracket_of(value: Any) -> int | None:
    """The index in BRACKETS of a value's kind; None for those that cannot be a boundary."""
    if isinstance(value, bool):
        return 9
    if isinstance(value, Code):
        return 14 if value.scope is None else 15
    for kinds, index in _KINDS:
        if isinstance(value, kinds):
            return index
    return None


_KINDS: tuple[tuple[type | tuple[type, ...], int], ...] = (
    (ObjectId, 8),
    (str, 4),
    ((int, float, Decimal128), NUMBER),
    (type(None), NULL),
    ((datetime, DatetimeMS), 10),
    (RawBSONDocument, 5),
    (bytes, 7),
    (Timestamp, 11),
    (MinKey, 0),
    (MaxKey, 16),
)


def after(query: Document, order: Order, values: list[Any]) -> Document:
    """What matches `query` and comes after the document that has `values` in `order`."""
    branches: list[Document] = []
    equal: Document = {}
    for level, ((field, direction), value) in enumerate(zip(order, values, strict=True)):
        exact = [_not_before(*key) for key in zip(order[:level], values[:level], strict=False)]
        if field == "_id":
            branches.append(_all({**equal, **_id_after(direction, value)}, *exact))
            break
        exact.append(_not_before((field, direction), value, or_equal=True))
        branches += [_all({**equal, **seek}, *exact) for seek in _seek_after(field, direction, value)]
        # Whatever holds an array is looked at in full. With an index that knows of no array this costs one seek.
        branches.append(_all({**equal, **_holds_array(field)}, _exactly_after(order, values, level)))
        equal = {**equal, **_seek_equal(field, value)}
    if len(branches) == 1:
        return _all(query, branches[0])
    # With the query in each branch, each finds its index, and they are merged in order.
    return {"$or": [_all(query, branch) for branch in branches]}


def equal_to(query: Document, order: Order, values: list[Any], last_id: list[Any]) -> Document:
    """What matches `query` and ties with `values` in `order`; with `last_id`, `[id]`, only what comes after that id."""
    conditions = []
    for key, value in zip(order, values, strict=True):
        conditions.append({"$or": [_seek_equal(key[0], value), _holds_array(key[0])]})
        conditions += [_not_before(key, value), {"$or": _before(key, value, or_equal=True)}]
    if last_id:
        conditions.append(_id_after(order[-1][1], last_id[0]))
    return _all(query, *conditions)


def shared_prefixes(order: Order) -> list[str]:
    """First names that several fields of the order begin with: of an array there, fields are not sorted one by one."""
    names = [field.partition(".")[0] for field, _ in order if "." in field]
    return sorted({name for name in names if names.count(name) > 1 or (name, 1) in order or (name, -1) in order})


def meets_array(document: Any, field: str) -> bool:
    """Whether there is an array on the way to `field`."""
    for name in field.split(".")[:-1]:
        document = document.get(name) if isinstance(document, dict) else None
        if isinstance(document, list):
            return True
    return False


def _exactly_after(order: Order, values: list[Any], level: int) -> Document:
    """What comes after `values` from `level` on, said without any help for an index."""
    field, direction = order[level]
    if field == "_id":
        return _id_after(direction, values[level])
    if field.partition(".")[0] in shared_prefixes(order):
        return {}
    beyond = _not_before(order[level], values[level], or_equal=True)
    if level + 1 == len(order):
        return beyond
    tied = _all(_not_before(order[level], values[level]), _exactly_after(order, values, level + 1))
    return {"$or": [beyond, tied]}


def _id_after(direction: int, value: Any) -> Document:
    # An _id is always there and never an array, so that expressions, which compare across types, are exact.
    return {"$expr": {"$gt" if direction > 0 else "$lt": ["$_id", {"$literal": value}]}}


def _seek_after(field: str, direction: int, value: Any) -> list[Document]:
    """Filters that an index can seek: one value, no array, of `field` that comes after `value`."""
    found = [{field: test} for test in _same_kind(value, direction, or_equal=False)]
    bracket = bracket_of(value) or 0
    later = range(bracket + 1, len(BRACKETS)) if direction > 0 else range(bracket)
    kinds = [name for index in later if index not in (NULL, ARRAY) for name in BRACKETS[index]]
    if kinds:
        found.append({field: {"$type": kinds}})
    if NULL in later:
        found.append({field: None})
    return found


def _seek_equal(field: str, value: Any) -> Document:
    bracket = bracket_of(value) or 0
    if bracket in SINGLE and bracket != NULL:
        return {field: {"$type": BRACKETS[bracket][0]}}
    return {field: {"$eq": value}}


def _holds_array(field: str) -> Document:
    """Filter for an array at the field's path or on the way to it."""
    # For {"$type": "array"}, or with an array to compare with, any index would be read from end to end.
    path = f"${field}"
    return {"$expr": {"$and": [{"$gt": [path, {"$literal": _LAST_OBJECT}]}, {"$lt": [path, _FIRST_BINARY]}]}}


def _not_before(key: tuple[str, int], value: Any, *, or_equal: bool = False) -> Document:
    tests = _before(key, value, or_equal=or_equal)
    return {"$nor": tests} if tests else {}


def _before(key: tuple[str, int], value: Any, *, or_equal: bool) -> list[Document]:
    """Filters of which one holds when some element at the field comes before `value` (or ties with it)."""
    field, direction = key
    bracket = bracket_of(value) or 0
    found: list[Document] = [{field: test} for test in _same_kind(value, -direction, or_equal=or_equal)]
    earlier = [*(range(bracket) if direction > 0 else range(bracket + 1, len(BRACKETS)))]
    if or_equal and bracket in SINGLE:
        earlier.append(bracket)
    if kinds := [name for index in earlier if index not in (NULL, ARRAY) for name in BRACKETS[index]]:
        found.append({field: {"$type": kinds}})
    if UNDEFINED in earlier:
        found.append({field: {"$size": 0}})
    if ARRAY in earlier:
        found.append({field: {"$elemMatch": {"$type": "array"}}})
    if NULL in earlier:
        found += _nulls(field)
    return found


def _nulls(field: str) -> list[Document]:
    """Filters of which one holds when the sort finds a null, or nothing, at the field."""
    found: list[Document] = [{"$and": [{field: None}, {field: {"$not": {"$type": "undefined"}}}]}]
    parts = field.split(".")
    if len(parts) > 1:
        found.append({field: {"$exists": False}})
        # Within an array on the way, what is no object has no field.
        ways = [".".join(parts[:length]) for length in range(1, len(parts))]
        found += [{way: {"$elemMatch": {"$not": {"$type": "object"}}}} for way in ways]
    return found


def _same_kind(value: Any, direction: int, *, or_equal: bool) -> list[Any]:
    """Tests for values of the same kind that come after `value` in this direction, or tie with it."""
    bracket = bracket_of(value) or 0
    if bracket in SINGLE:
        return []
    if bracket == NUMBER and _is_nan(value):
        # NaN sorts below all numbers, while as an operand it compares with none.
        beyond: list[Any] = [{"$gte": -math.inf}] if direction > 0 else []
        return [*beyond, {"$eq": math.nan}] if or_equal else beyond
    operator = ("$gt" if direction > 0 else "$lt") + ("e" if or_equal else "")
    tests: list[Any] = [{operator: value}]
    if bracket == NUMBER and direction < 0:
        tests.append({"$eq": math.nan})
    return tests


def _is_nan(value: Any) -> bool:
    return value.to_decimal().is_nan() if isinstance(value, Decimal128) else bool(math.isnan(value))


def _all(*conditions: Document) -> Document:
    """Their conjunction, flat where no name comes twice."""
    merged: Document = {}
    for condition in conditions:
        if not merged.keys().isdisjoint(condition):
            return {"$and": [condition for condition in conditions if condition]}
        merged.update(condition)
    return merged
