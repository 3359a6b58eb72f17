"""Filters, expressions and projections held against the allow list, wherever in them an operator can stand.

Also what makes an expression safe beside a rule: `guard`. Pipelines are in `document/pipeline.py`.
"""

import re
from collections.abc import Iterable
from typing import Any

from document.operator import (
    EXPRESSIONS,
    LOGICAL_OPERATORS,
    PREDICATE_OPERATORS,
    REFERENCE_FIELDS,
    SYSTEM_VARIABLES,
    TEXT_PARAMETERS,
    TOTAL_EXPRESSIONS,
    WHOLE_FILTER_OPERATORS,
)
from errors import InvalidInput

Document = dict[str, Any]

# What `$meta` may tell: of the match, not of where and how a document is stored.
METADATA = ("textScore", "geoNearDistance", "geoNearPoint", "indexKey")
VARIABLE = re.compile(r"[a-z][A-Za-z0-9_]*")


def invalid(path: str, message: str) -> InvalidInput:
    """The failure to raise for the part of the input at `path`."""
    return InvalidInput(f"{path!r} {message}." if path else f"{message}.", [{"path": path, "message": message}])


def check_filter(value: Any, path: str) -> None:
    """Refuse whatever is no filter over whole documents made of operators on the allow list."""
    if not isinstance(value, dict):
        raise invalid(path, "must be a JSON object")
    for name, item in value.items():
        inner = f"{path}.{name}"
        if name in LOGICAL_OPERATORS:
            for index, part in enumerate(_array(item, inner)):
                check_filter(part, f"{inner}[{index}]")
        elif name in WHOLE_FILTER_OPERATORS:
            _check_whole(name, item, inner)
        elif name.startswith("$"):
            raise invalid(inner, "is not an operator that may stand here in a filter")
        else:
            check_predicate(item, inner)


def check_predicate(value: Any, path: str) -> None:
    """Refuse operators that a condition on one field (or on the items of a list) may not hold."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_predicate(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            if name.startswith("$") and name not in PREDICATE_OPERATORS and name not in REFERENCE_FIELDS:
                raise invalid(f"{path}.{name}", "is not an operator that may stand here in a filter")
            check_predicate(item, f"{path}.{name}")


def _check_whole(name: str, item: Any, path: str) -> None:
    if name == "$expr":
        check_expression(item, path)
    elif name == "$text":
        for parameter in _object(item, path):
            if parameter not in TEXT_PARAMETERS:
                raise invalid(f"{path}.{parameter}", "is not known in $text")
    elif name == "$jsonSchema":
        _object(item, path)  # what is in it is data: a schema has no operators


def check_expression(value: Any, path: str) -> None:
    """Refuse operators and variables that an aggregation expression may not hold; `$literal` holds data."""
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_expression(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            inner = f"{path}.{name}"
            if name.startswith("$") and (name not in EXPRESSIONS or len(value) > 1):
                raise invalid(inner, "is not an operator that may stand here in an expression")
            if name == "$setField":
                _check_set_field(item, f"{inner}.field")
            if name == "$meta" and item not in METADATA:
                raise invalid(inner, f"must be one of {', '.join(METADATA)}")
            if name != "$literal":
                check_expression(item, inner)


def _check_set_field(value: Any, path: str) -> None:
    """Refuse a computed name and one with NUL: MongoDB 6.0 takes what follows the NUL for raw BSON."""
    field = value.get("field") if isinstance(value, dict) else None
    if isinstance(field, dict) and field.keys() == {"$literal"}:
        field = field["$literal"]
    if type(field) is not str or "\0" in field:
        raise invalid(path, "must be the name of a field, without NUL")


def _check_text(text: str, path: str) -> None:
    """A string in an expression: a variable (`$$name`), a field (`$name`) or just text."""
    if text.startswith("$$"):
        name = text[2:].partition(".")[0]
        if name not in SYSTEM_VARIABLES and not VARIABLE.fullmatch(name):
            raise invalid(path, f"names the variable {text[:80]!r}, which is not known here")


def check_fields(value: Any, path: str) -> None:
    """Refuse whatever is no object of field names and expressions, as `$project`, `$set` or `$group` take it."""
    for name, item in _object(value, path).items():
        if name.startswith("$"):
            raise invalid(f"{path}.{name}", "begins with $; a field name is wanted here")
        check_expression(item, f"{path}.{name}")


def is_field(name: str) -> bool:
    """Whether a projection or an order may name this field."""
    return bool(name) and not name.startswith("$") and "\0" not in name


def check_projection(value: Any, path: str) -> None:
    """Refuse whatever is no projection as `find` takes it."""
    for name, item in _object(value, path).items():
        inner = f"{path}.{name}"
        if not is_field(name):
            raise invalid(inner, "is not the name of a field")
        if isinstance(item, dict) and item.keys() == {"$elemMatch"}:
            check_predicate(item["$elemMatch"], f"{inner}.$elemMatch")
        else:
            check_expression(item, inner)


def check_output(value: Any, operators: Iterable[str], path: str) -> None:
    """Refuse whatever is no object of field names, each with one of `operators` and its parameters."""
    for name, item in _object(value, path).items():
        inner = f"{path}.{name}"
        if name.startswith("$"):
            raise invalid(inner, "begins with $; a field name is wanted here")
        for operator, parameters in _object(item, inner).items():
            if operator != "window" and operator not in operators:
                raise invalid(f"{inner}.{operator}", "is not an operator that may stand here")
            check_expression(parameters, f"{inner}.{operator}")


def check_variables(value: Any, path: str) -> None:
    """Refuse whatever is no object of variables and their values, as `let` takes it."""
    for name, item in _object(value, path).items():
        # CURRENT is out too: rebound, it would give field names another meaning.
        if not VARIABLE.fullmatch(name):
            raise invalid(f"{path}.{name}", "is not a variable's name: a small letter, then letters, digits and _")
        check_expression(item, f"{path}.{name}")


def guard(query: Document, rule: Document) -> Document:
    """`query` with every `$expr` that can fail made to look only at documents that match `rule`.

    MongoDB is free to test the parts of a filter in any order. An expression that fails on a document outside the rule
    would tell of it, often with its values, in the message. `$cond` computes no branch that it does not take.
    """
    found = dict(query)
    for name, item in query.items():
        if name in LOGICAL_OPERATORS:
            found[name] = [guard(part, rule) for part in item]
        elif name == "$expr" and not is_total(item):
            found[name] = {"$cond": [_as_expression(rule), item, False]}
    return found


def may_fail(query: Any) -> bool:
    """Whether a filter has an `$expr` that can fail, depending on a document's values."""
    return any(
        any(map(may_fail, item)) if name in LOGICAL_OPERATORS else name == "$expr" and not is_total(item)
        for name, item in query.items()
    )


def is_total(expression: Any) -> bool:
    """Whether the expression, already checked, has a value for every document there can be."""
    if isinstance(expression, list):
        return all(map(is_total, expression))
    if not isinstance(expression, dict) or "$literal" in expression:
        return True
    if "$in" in expression:
        return _is_membership(expression["$in"])
    return all(
        (not name.startswith("$") or name in TOTAL_EXPRESSIONS) and is_total(item) for name, item in expression.items()
    )


def _is_membership(operands: Any) -> bool:
    """`$in` fails where its second operand is no array; one that is written out always is."""
    return isinstance(operands, list) and len(operands) == 2 and isinstance(operands[1], list) and is_total(operands)


def _as_expression(rule: Document) -> Document:
    """A rule of plain equalities as an expression. `$$ROOT` cannot be rebound, as `$field` can through CURRENT."""
    for name, value in rule.items():
        if name.startswith("$") or value is None or isinstance(value, (dict, list, re.Pattern)):
            raise InvalidInput(
                "An $expr that can fail on some values (it converts, computes, ...) cannot be joined with this "
                "collection's rule; compare with $eq, $gt, ... only, or use it behind the first stage of a pipeline."
            )
    return {"$and": [{"$eq": [f"$$ROOT.{name}", {"$literal": value}]} for name, value in rule.items()]}


def holds_text(value: Any) -> bool:
    """Whether a filter compares with text anywhere, so that a collation would change what it matches."""
    if isinstance(value, dict):
        return any(map(holds_text, value.values()))
    return any(map(holds_text, value)) if isinstance(value, list) else isinstance(value, str)


def _object(value: Any, path: str) -> Document:
    if not isinstance(value, dict):
        raise invalid(path, "must be a JSON object")
    return value


def _array(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid(path, "must be an array")
    return value
