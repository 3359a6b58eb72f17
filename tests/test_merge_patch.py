"""JSON merge patch, held against RFC 7396's own pseudo-code, with mongod applying the update."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from document.change import merge_patch
from errors import InvalidInput

NAMES = st.sampled_from(["a", "b", "c", "a.b", "ü", "0"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def apply_as_the_rfc_says(target: Any, patch: Any) -> Any:
    """MergePatch of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply_as_the_rfc_says(merged.get(name), value)
    return merged


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=OBJECTS, patch=OBJECTS)
def test_update_does_what_the_rfc_says(mongo, target, patch):
    collection = mongo["app"]["merge"]
    collection.replace_one({"_id": 1}, target, upsert=True)
    collection.update_one({"_id": 1}, merge_patch(patch))
    stored = collection.find_one({"_id": 1}, {"_id": 0})
    assert stored == apply_as_the_rfc_says(target, patch)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_examples_of_the_rfc(mongo, target, patch, expected):
    mongo["app"]["merge"].replace_one({"_id": 1}, target, upsert=True)
    mongo["app"]["merge"].update_one({"_id": 1}, merge_patch(patch))
    assert mongo["app"]["merge"].find_one({"_id": 1}, {"_id": 0}) == expected


def test_patch_of_many_fields(mongo):
    mongo["app"]["merge"].replace_one({"_id": 1}, {"old": 1, "o": {"y": 2}}, upsert=True)
    patch = {"old": None, "o": {"x": 1}, **{f"k{number}": number for number in range(5000)}}
    mongo["app"]["merge"].update_one({"_id": 1}, merge_patch(patch))
    stored = mongo["app"]["merge"].find_one({"_id": 1}, {"_id": 0})
    assert stored == {"o": {"y": 2, "x": 1}, **{f"k{number}": number for number in range(5000)}}


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels > 1 else {"a": 1, "b": None}


def test_patch_of_as_many_levels_as_are_allowed(mongo):
    mongo["app"]["merge"].replace_one({"_id": 1}, {}, upsert=True)
    mongo["app"]["merge"].update_one({"_id": 1}, merge_patch(nested(20)))
    assert mongo["app"]["merge"].count_documents({".".join("a" * 20): 1}) == 1


def test_patch_of_more_levels_is_refused():
    with pytest.raises(InvalidInput, match="20 levels"):
        merge_patch(nested(21))
