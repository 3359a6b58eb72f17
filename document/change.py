"""What a write may hold: documents to store, update operators and pipelines, and JSON merge patches (RFC 7396)."""

from typing import Any

import ejson
from access.models import Permit
from document.expression import check_predicate, invalid
from document.operator import REFERENCE_FIELDS
from document.pipeline import check_update_stages
from errors import Forbidden

Update = dict[str, Any] | list[dict[str, Any]]

# https://www.mongodb.com/docs/manual/reference/operator/update/
VALUE_OPERATORS = frozenset(
    {"$set", "$setOnInsert", "$inc", "$mul", "$min", "$max", "$pullAll", "$unset", "$pop", "$rename"}
)
MODIFIERS = {
    "$push": frozenset({"$each", "$slice", "$sort", "$position"}),
    "$addToSet": frozenset({"$each"}),
    "$currentDate": frozenset({"$type"}),
}
OTHER_OPERATORS = frozenset({"$pull", "$bit"})
# MongoDB bounds how deep an expression nests, and each level of a patch takes several.
MAX_PATCH_DEPTH = 20
# Stages of an update that touch no other fields than those they name.
FIELD_STAGES = frozenset({"$set", "$addFields", "$unset"})
UPDATE_OPERATORS = VALUE_OPERATORS | OTHER_OPERATORS | MODIFIERS.keys()


def check_document(document: Any, path: str) -> dict[str, Any]:
    """`document`, if it is an object without a field name that begins with `$` at any depth."""
    if not isinstance(document, dict):
        raise invalid(path, "must be a JSON object")
    check_value(document, path)
    return document


def check_value(value: Any, path: str) -> None:
    """Refuse field names that begin with `$`; `$ref`, `$id` and `$db` of a reference may."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_value(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            if name.startswith("$") and name not in REFERENCE_FIELDS:
                raise invalid(inner, "begins with $; field names of stored documents may not")
            check_value(item, inner)


def stamped(permit: Permit, document: dict[str, Any]) -> dict[str, Any]:
    """`document` with the values that the rules set; a caller may repeat such a value, but not choose another."""
    for name, value in permit.stamp.items():
        if name in permit.readonly and document.get(name, value) != value:
            raise _readonly(name)
    return {**document, **{name: value for name, value in permit.stamp.items() if name not in document}}


def read_update(permit: Permit, body: Any) -> Update:
    """The update for a PATCH body: a pipeline, operators when its names begin with `$`, else a merge patch."""
    if isinstance(body, list):
        check_pipeline(permit, body)
        return body
    if not isinstance(body, dict):
        raise invalid("", "the body must be update operators, a pipeline (an array), or a merge patch")
    if any(name.startswith("$") for name in body):
        check_operators(permit, body)
        return body
    for name in body.keys() & permit.readonly:
        raise _readonly(name)
    check_value(body, "")
    return merge_patch(body)


def check_pipeline(permit: Permit, stages: list[Any]) -> None:
    """Refuse stages that are not on the allow list, and those that might change a field the caller may not write."""
    check_update_stages(stages, "")
    if not permit.readonly:
        return
    for index, stage in enumerate(stages):
        [(name, value)] = stage.items()
        if name not in FIELD_STAGES:
            listed = ", ".join(sorted(FIELD_STAGES))
            raise Forbidden(
                f"{name} may change fields that the server sets; there are {listed} for you.",
                [{"path": f"[{index}].{name}", "message": "is for admins"}],
            )
        for field in [value] if isinstance(value, str) else value:
            if not isinstance(field, str) or field.partition(".")[0] in permit.readonly:
                raise _readonly(str(field))


def read_array_filters(text: str, change: Update) -> list[dict[str, Any]]:
    """The filters that a query parameter holds for `$[name]` in update operators."""
    filters = ejson.loads(text.encode())
    if not isinstance(filters, list) or not all(isinstance(each, dict) for each in filters):
        raise invalid("array_filters", "must be an array of filters")
    if isinstance(change, list):
        raise invalid("array_filters", "goes with update operators only")
    for index, each in enumerate(filters):
        check_predicate(each, f"array_filters[{index}]")
    return filters


def check_operators(permit: Permit, update: dict[str, Any]) -> None:
    """Refuse operators that are not on the allow list, and changes to fields the caller may not write."""
    for operator, changes in update.items():
        if operator not in UPDATE_OPERATORS:
            raise invalid(operator, "is not an update operator; operators and plain fields cannot be mixed")
        if not isinstance(changes, dict):
            raise invalid(operator, "must be an object of fields and values")
        for field, value in changes.items():
            _check_change(permit, operator, field, value)


def _check_change(permit: Permit, operator: str, field: str, value: Any) -> None:
    touched = [field, value] if operator == "$rename" else [field]
    for name in touched:
        if type(name) is not str:  # Code is a str, too
            raise invalid(f"{operator}.{field}", "must be a field name")
        if name.partition(".")[0] in permit.readonly:
            raise _readonly(name)
    path = f"{operator}.{field}"
    if operator == "$pull":
        check_predicate(value, path)
    elif operator in VALUE_OPERATORS:
        check_value(value, path)
    elif operator in MODIFIERS:
        _check_modifiers(operator, value, path)


def _check_modifiers(operator: str, value: Any, path: str) -> None:
    if not isinstance(value, dict) or not any(name.startswith("$") for name in value):
        check_value(value, path)
        return
    for name, item in value.items():
        if name not in MODIFIERS[operator]:
            raise invalid(f"{path}.{name}", f"is not known in {operator}")
        check_value(item, f"{path}.{name}")


def merge_patch(patch: dict[str, Any]) -> Update:
    """The update that applies `patch` as RFC 7396 says: null removes, objects merge, all else replaces."""
    if not any(isinstance(value, dict) or "." in name for name, value in patch.items()):
        return {
            "$set": {name: value for name, value in patch.items() if value is not None},
            "$unset": {name: "" for name, value in patch.items() if value is None},
        }
    return [{"$replaceWith": _merged("$$ROOT", patch, 1)}]


def _merged(target: Any, patch: dict[str, Any], depth: int) -> Any:
    """The aggregation expression for RFC 7396's MergePatch(target, patch).

    Names go in as data, so that they may hold dots, and all at once: one step for each would nest too deep for MongoDB.
    """
    if depth > MAX_PATCH_DEPTH:
        raise invalid("", f"a merge patch may nest {MAX_PATCH_DEPTH} levels; use $set or PUT for deeper ones")
    removed = [name for name, value in patch.items() if value is None]
    changed = [
        {"k": {"$literal": name}, "v": _merged_value(name, value, depth)}
        for name, value in patch.items()
        if value is not None
    ]
    kept = {"$filter": {"input": {"$objectToArray": "$$target"}, "cond": _is_not_in("$$this.k", removed)}}
    base = {"$arrayToObject": kept} if removed else "$$target"
    # A target that is no object is replaced by an empty one before the patch applies to it.
    target_object = {"$cond": [{"$eq": [{"$type": target}, "object"]}, target, {}]}
    merged = {"$mergeObjects": [base, {"$arrayToObject": [changed]}]}
    return {"$let": {"vars": {"target": target_object}, "in": merged}}


def _merged_value(name: str, value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return _merged({"$getField": {"field": {"$literal": name}, "input": "$$target"}}, value, depth + 1)
    return {"$literal": value}


def _is_not_in(name: str, names: list[str]) -> dict[str, Any]:
    return {"$not": [{"$in": [name, {"$literal": names}]}]}


def _readonly(name: str) -> Forbidden:
    return Forbidden(f"{name!r} is set by the server.", [{"path": name, "message": "is set by the server"}])
