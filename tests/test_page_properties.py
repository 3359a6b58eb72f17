"""For any documents, sort, filter and page size: the pages joined are the whole list as mongod sorts it."""

import json
import math
from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from pymongo.errors import OperationFailure

import ejson
from access.models import Permit
from document import keyset, models
from document.page import Listing, total_order
from document.raw import split
from document.sort_index import forget_indexes
from errors import InvalidInput
from tests.conftest import Actor, Client

PERMIT = Permit("shop", "items", {}, {}, frozenset(), is_limited=False)
SLOW_FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
# Shrinking takes minutes, as each attempt makes a collection.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
FIELDS = ["n", "m", "o.p", "o.q"]

# Few values, so that many tie; some tie across types.
VALUES: list[Any] = [
    *[None, 1, Int64(1), 1.0, Decimal128("1.00"), 0.1, Decimal128("0.1"), 2, -3, 2**53 + 1, Int64(2**62), -0.0],
    *[math.nan, Decimal128("NaN"), math.inf, -math.inf, Decimal128("-Infinity"), Decimal128("1E+400")],
    *["", "a", "b", "B", "é", {}, {"x": 1}, {"x": 1.0}, {"y": 0}, {"x": {"z": [1]}}, {"x": MaxKey()}],
    *[b"", b"a", b"bb", Binary(b"a", 5), ObjectId(b"\0" * 12), ObjectId(b"\1" * 12), True, False],
    *[DatetimeMS(0), DatetimeMS(-(2**62)), DatetimeMS(10**12), Timestamp(1, 1), Timestamp(1, 2)],
    *[Code("x"), Code("y"), Code("x", {"z": 1}), MinKey(), MaxKey()],
]
USUAL = st.sampled_from([1, 2, 3, "a", "b"])
boundaries = st.sampled_from(VALUES) | USUAL
# No filter can say what follows a regular expression: lists with one at the end of a page go on by place.
mixed = st.sampled_from([*VALUES, Regex("a"), Regex("b", "i")]) | USUAL


def documents_of(value: st.SearchStrategy[Any], inner: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Documents without `_id`; any field may be missing."""
    fields = {"n": value, "m": value, "o": inner}
    return st.lists(st.fixed_dictionaries({}, optional=fields), min_size=1, max_size=25)


def objects_of(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={"p": value, "q": value}) | st.sampled_from([5, None])


plain = documents_of(mixed, objects_of(mixed))
without_regex = documents_of(boundaries, objects_of(boundaries))
leaves = mixed | st.lists(mixed | st.lists(mixed, max_size=1), max_size=3)
deep = st.fixed_dictionaries({}, optional={"p": leaves, "q": leaves}) | st.sampled_from([3, None])
with_arrays = documents_of(leaves, deep | st.lists(deep | st.lists(deep, max_size=1), max_size=3))
sorts = st.lists(st.tuples(st.sampled_from(FIELDS), st.sampled_from([1, -1])), max_size=3, unique_by=lambda key: key[0])
filters = st.sampled_from(
    [{}, {}, {"m": {"$exists": True}}, {"n": 1}, {"$or": [{"n": 1}, {"o": {"$exists": True}}, {"m": "a"}]}]
)
indexes = st.lists(
    st.sampled_from(
        [
            [("n", 1)],
            [("m", -1)],
            [("n", 1), ("_id", 1)],
            [("n", 1), ("m", -1)],
            [("n", 1), ("m", 1), ("_id", 1)],
            [("o.p", 1)],
            [("o.p", -1), ("o.q", -1)],
        ]
    ),
    max_size=3,
)
hidden_fields = st.sampled_from([None, None, {"_id": 1}, {"_id": 0}, {"n": 0}, {"m": 1, "_id": 0}])


def make_id(index: int, kind: str) -> Any:
    """An id that no other index has; those of kind "any" are of several types."""
    if kind == "oid":
        return ObjectId(bytes([index * 37 % 251]) + bytes(10) + bytes([index]))
    if kind == "text":
        return "zéa\U0001f600"[index % 4] + f"{index}"
    if kind == "number":
        return (index * 7919) % 101 - 50 if index < 100 else index
    return [index, f"{index}", index + 0.5, {"k": index}, DatetimeMS(index), Binary(bytes([index]), 4)][index % 6]


def fill(collection: Any, documents: list[dict[str, Any]], kind: str, keys: list[Any]) -> None:
    """Make the collection hold these, with a `key` that tells them apart, and the indexes that MongoDB takes."""
    collection.drop()
    forget_indexes()
    collection.insert_many([{"_id": make_id(index, kind), "key": index, **one} for index, one in enumerate(documents)])
    for each in keys:
        try:
            collection.create_index(each)
        except OperationFailure:  # parallel arrays
            assume(False)


def whole(collection: Any, listing: Listing) -> list[int]:
    """The keys of all documents, as mongod sorts them."""
    order = total_order(listing)
    try:
        return [each["key"] for each in collection.find(listing.query, {"key": 1}).sort(order or [])]
    except OperationFailure:  # parallel arrays cannot be sorted by
        assume(False)
        raise


def pages(listing: Listing) -> Iterator[list[Any]]:
    """The pages one after the other, as raw documents; each within its limit."""
    token: str | None = None
    while True:
        page = models.find(PERMIT, Listing(**{**fields_of(listing), "after": token}))
        found = [document for batch in page for document in split(batch)]
        assert len(found) <= listing.limit
        yield found
        token = page.next_token
        if token is None:
            return
        assert len(found) == listing.limit


def fields_of(listing: Listing) -> dict[str, Any]:
    return {name: getattr(listing, name) for name in Listing.__slots__}


def key_of(document: bytes) -> int:
    return int(bson.decode(document, keyset.EXACT)["key"])


@settings(max_examples=120, deadline=None, suppress_health_check=SLOW_FIXTURES, phases=PHASES)
@given(
    documents=plain | with_arrays,
    kind=st.sampled_from(["oid", "text", "number", "any"]),
    keys=indexes,
    sort=sorts,
    query=filters,
    limit=st.integers(1, 9),
    skip=st.sampled_from([0, 0, 0, 1, 5]),
)
def test_pages_joined_are_the_whole_list(app, mongo_session, documents, kind, keys, sort, query, limit, skip) -> None:
    collection = mongo_session["shop"]["items"]
    fill(collection, documents, kind, keys)
    listing = Listing(query, sort=sort or None, limit=limit)
    expected = whole(collection, listing)
    try:
        found = [key_of(document) for page in pages(listing) for document in page]
    except InvalidInput:
        assert keyset.shared_prefixes(sort) == ["o"]
        assert any(isinstance(one.get("o"), list) for one in documents)
        event("refused")
        return
    assert found == expected
    if skip:
        skipped = Listing(query, sort=sort or None, limit=limit, skip=skip)
        found = skipped_keys(skipped)
        # Where an index gives the sort alone, what is passed over may end anywhere in a tie.
        assert found == expected[skip:] or (keys and len(found) == len(expected) - skip)


def skipped_keys(listing: Listing) -> list[int]:
    """The keys of the pages that begin with a `skip`."""
    first = models.find(PERMIT, listing)
    found = [key_of(document) for batch in first for document in split(batch)]
    if first.next_token is None:
        return found
    rest = Listing(**{**fields_of(listing), "skip": 0, "after": first.next_token})
    token: str | None = first.next_token
    while token:
        page = models.find(PERMIT, Listing(**{**fields_of(rest), "after": token}))
        found += [key_of(document) for batch in page for document in split(batch)]
        token = page.next_token
    assert len(set(found)) == len(found)
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_FIXTURES, phases=PHASES)
@given(
    documents=without_regex,
    kind=st.sampled_from(["oid", "text", "any"]),
    keys=indexes,
    sort=sorts,
    fields=hidden_fields,
    limit=st.integers(1, 6),
    data=st.data(),
)
def test_pages_hold_once_what_was_there_throughout(
    app, mongo_session, documents, kind, keys, sort, fields, limit, data: DataObject
) -> None:
    collection = mongo_session["shop"]["items"]
    fill(collection, documents, kind, keys)
    shown = {**fields, "key": 1} if fields and any(fields.values()) else fields
    listing = Listing({}, sort=sort or None, fields=shown, limit=limit)
    order = whole(collection, listing)
    there = set(order)
    found: list[int] = []
    for turn, page in enumerate(pages(listing)):
        found += map(key_of, page)
        gone = data.draw(st.sets(st.sampled_from(order), max_size=2))
        collection.delete_many({"key": {"$in": list(gone)}})
        there -= gone
        if turn < 20:
            new = data.draw(without_regex)[:2]
            numbers = range(100 + turn * 2, 102 + turn * 2)
            collection.insert_many([{"_id": make_id(i, kind), "key": i, **one} for i, one in zip(numbers, new)])  # noqa: B905
    assert len(set(found)) == len(found)
    assert [key for key in found if key in there] == [key for key in order if key in there]


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW_FIXTURES, phases=PHASES)
@given(documents=plain, sort=sorts, query=filters, limit=st.integers(1, 9))
def test_pages_over_http_are_the_whole_list(
    client: Client, admin: Actor, mongo_session, documents, sort, query, limit
) -> None:
    collection = mongo_session["shop"]["items"]
    fill(collection, documents, "any", [])
    listing = Listing(query, sort=sort or None)
    expected = whole(collection, listing)
    asked: dict[str, Any] = {"limit": limit, "filter": json.dumps(query), "fields": "key"}
    if sort:
        asked["sort"] = json.dumps(dict(sort))
    found: list[int] = []
    while True:
        answer = client.get("/v1/db/shop/items", query=asked, as_=admin)
        if answer.status_code == 400 and "after" in asked:
            pytest.fail(answer.text)
        read = ejson.loads(answer.data)
        found += [each["key"] for each in read["documents"]]
        assert all(each.keys() == {"_id", "key"} for each in read["documents"])
        assert ('rel="next"' in answer.headers.get("Link", "")) == (read["next"] is not None)
        if read["next"] is None:
            break
        asked["after"] = read["next"]
    assert found == expected
