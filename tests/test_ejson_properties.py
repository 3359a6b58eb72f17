"""What holds for every document and every body.

Outside the properties, as `ejson` says: documents that look like a wrapper, NaN payloads, deprecated types.
"""

import json
import math
from contextlib import suppress
from typing import Any, NoReturn

import bson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ejson
from ejson import Form
from errors import InvalidInput

WRAPPERS = [
    "$oid", "$numberInt", "$numberLong", "$numberDouble", "$numberDecimal", "$date", "$binary", "$uuid", "$code",
    "$regularExpression", "$timestamp", "$minKey", "$maxKey", "$symbol", "$undefined", "$dbPointer",
]  # fmt: skip
ORDINARY = [
    "",
    "_id",
    "a.b",
    "\x01",
    "\x0e",
    "null",
    "$ref",
    "$id",
    "$db",
    "$set",
    "$type",
    "$scope",
    "$regex",
    "$options",
]

int64s = st.integers(-(2**63), 2**63 - 1)
names = (st.sampled_from(ORDINARY) | st.text(max_size=8)).filter(lambda name: "\0" not in name and name not in WRAPPERS)
decimals = st.builds(
    lambda negative, digits, exponent: Decimal128(f"{'-' * negative}{digits}E{exponent}"),
    st.booleans(),
    st.integers(0, 10**34 - 1),
    st.integers(-6176, 6111),
) | st.sampled_from(["NaN", "Infinity", "-Infinity"]).map(Decimal128)
regexes = st.builds(
    lambda pattern, options: Regex(pattern, "".join(options)),
    st.text(max_size=8).filter(lambda pattern: "\0" not in pattern),
    st.sets(st.sampled_from("ilmsux")),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=12),
    st.integers(-(2**31), 2**31 - 1),
    int64s,
    int64s.map(Int64),
    st.integers(-1, 1).map(Int64),
    # The sign of a NaN is part of its payload.
    st.floats().map(lambda number: math.nan if math.isnan(number) else number),
    st.sampled_from([-0.0, math.nan, math.inf, -math.inf]),
    decimals,
    int64s.map(DatetimeMS),
    st.integers(-(10**14), 3 * 10**14).map(DatetimeMS),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.binary(max_size=20),
    st.builds(Binary, st.binary(max_size=20), st.integers(0, 255) | st.sampled_from([2, 3, 4])),
    regexes,
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(Code, st.text(max_size=8)),
    st.just(MinKey()),
    st.just(MaxKey()),
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(names, inner, max_size=4),
        st.builds(Code, st.text(max_size=4), st.dictionaries(names, inner, max_size=2)),
    ),
    max_leaves=12,
)
documents = st.dictionaries(names, values, max_size=5)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([0, 1, 2**31, 2**63, -(2**63) - 1, 2**64, 10**400]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=12),
        st.sampled_from(["00", "AP8=", "1", "1.5", "NaN", "0" * 24, "2022-01-12T02:33:23.067Z", "[", "]", "i", "\0"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*WRAPPERS, *ORDINARY]) | st.text(max_size=3), inner, max_size=2),
        st.fixed_dictionaries({"base64": inner, "subType": inner}),
        st.fixed_dictionaries({"pattern": inner, "options": inner}),
        st.fixed_dictionaries({"t": inner, "i": inner}),
    ),
    max_leaves=10,
)

nested_values: st.SearchStrategy[Any] = st.recursive(
    st.text('[]{}"\\', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("[]{}", max_size=3), inner, max_size=3),
)


def narrow(value: Any) -> Any:
    """The value as relaxed Extended JSON can tell it: whole numbers without their width."""
    if isinstance(value, dict):
        return {name: narrow(item) for name, item in value.items()}
    if isinstance(value, list):
        return [narrow(item) for item in value]
    if isinstance(value, Code) and value.scope is not None:
        return Code(str(value), narrow(value.scope))
    return int(value) if isinstance(value, Int64) else value


def refuse_constant(word: str) -> NoReturn:
    raise AssertionError(f"{word} is not JSON")


def depth(value: Any) -> int:
    if isinstance(value, (dict, list)):
        return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@settings(max_examples=300, deadline=None)
@given(documents)
def test_canonical_text_reads_back_to_the_same_bytes(document: dict[str, Any]) -> None:
    stored = bson.encode(document)
    assert bson.encode(ejson.loads(ejson.encode(stored, Form.CANONICAL))) == stored


@settings(max_examples=300, deadline=None)
@given(documents)
@example({"a": {"x": 1, "$ref": "c", "$id": 1}, "b": {"$id": 1, "$ref": "c"}, "c": {"$ref": 5}})
def test_relaxed_text_reads_back_to_the_same_but_for_width(document: dict[str, Any]) -> None:
    text = ejson.encode(bson.encode(document), Form.RELAXED)
    assert bson.encode(ejson.loads(text)) == bson.encode(narrow(document))


@settings(max_examples=100, deadline=None)
@given(documents)
def test_every_form_is_strict_json_with_keys_in_order(document: dict[str, Any]) -> None:
    stored = bson.encode(document)
    for form in Form:
        read = json.loads(ejson.encode(stored, form), parse_constant=refuse_constant)
        # Not the document's own order: bson.encode puts _id first.
        assert list(read) == list(bson.decode(stored, ejson.CODEC_OPTIONS))


@settings(max_examples=100, deadline=None)
@given(st.lists(documents, max_size=3))
def test_a_batch_is_its_documents_joined(batch: list[dict[str, Any]]) -> None:
    stored = [bson.encode(document) for document in batch]
    for form in Form:
        expected = b",".join(ejson.encode(document, form) for document in stored)
        assert ejson.encode_many(b"".join(stored), form) == expected


@settings(max_examples=100, deadline=None)
@given(documents)
def test_dumps_agrees_with_encode(document: dict[str, Any]) -> None:
    stored = bson.encode(document)
    exact = ejson.loads(ejson.encode(stored, Form.CANONICAL))
    for form in Form:
        assert ejson.dumps(exact, form) == ejson.encode(stored, form)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"[" * 5000)
@example(b'{"a":' * 5000)
def test_loads_raises_only_invalid_input_for_any_bytes(body: bytes) -> None:
    with suppress(InvalidInput):
        bson.encode({"a": ejson.loads(body)})


@pytest.mark.parametrize("ascii_only", [True, False])
@settings(max_examples=300, deadline=None)
@given(json_values)
def test_what_loads_takes_can_be_stored(ascii_only: bool, value: Any) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    with suppress(InvalidInput):
        stored = bson.encode({"a": ejson.loads(body)})
        assert bson.encode({"a": ejson.parse(value)}) == stored


@settings(max_examples=200, deadline=None)
@given(nested_values)
def test_only_nesting_over_the_limit_is_refused(value: Any) -> None:
    body = json.dumps(value).encode()
    if depth(value) > 3:
        with pytest.raises(InvalidInput, match="nested deeper than 3 levels"):
            ejson.loads(body, max_depth=3)
    else:
        assert ejson.loads(body, max_depth=3) == value
