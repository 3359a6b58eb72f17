"""JSON merge patch, held against RFC 7396's own pseudo-code, with mongod applying the update."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from document.change import merge_patch

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
