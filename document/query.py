"""What may stand in a query: the allow list of operators, and filters, sorts, projections and ids read strictly.

Nothing that runs JavaScript is on the list (`$where`, `$function`, `$accumulator`), and no expressions.
"""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bson import Binary, Int64, ObjectId

import ejson
from access.models import Permit
from errors import InvalidInput

# https://www.mongodb.com/docs/manual/reference/operator/query/
FILTER_OPERATORS = frozenset(
    # comparison, logic, elements
    {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$and", "$or", "$nor", "$not", "$exists", "$type"}
    # values, arrays, bits
    | {"$mod", "$regex", "$options", "$all", "$elemMatch", "$size", "$comment"}
    | {"$bitsAllClear", "$bitsAllSet", "$bitsAnyClear", "$bitsAnySet"}
    # text and places, with their parameters
    | {"$text", "$search", "$language", "$caseSensitive", "$diacriticSensitive"}
    | {"$geoWithin", "$geoIntersects", "$near", "$nearSphere", "$geometry", "$maxDistance", "$minDistance"}
    | {"$box", "$center", "$centerSphere", "$polygon", "$uniqueDocs"}
)
# Members of a DBRef are data, not operators: https://www.mongodb.com/docs/manual/reference/database-references/
REFERENCE_FIELDS = frozenset({"$ref", "$id", "$db"})
HEX_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")


def combine(permit: Permit, query: dict[str, Any]) -> dict[str, Any]:
    """`query`, narrowed to the documents that the permit covers."""
    if not query:
        return permit.filter
    if permit.filter.keys().isdisjoint(query):
        return {**permit.filter, **query}
    return {"$and": [permit.filter, query]}


def read_filter(text: str) -> dict[str, Any]:
    """The filter that a query parameter holds as Extended JSON, every operator in it on the allow list."""
    value = _read_object("filter", text)
    check_filter(value, "filter")
    return value


def check_filter(value: Any, path: str) -> None:
    """Refuse every operator that is not on the allow list, wherever it stands."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_filter(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            if name.startswith("$") and name not in FILTER_OPERATORS and name not in REFERENCE_FIELDS:
                raise _invalid(f"{path}.{name}", "is not an operator that filters may hold")
            check_filter(item, f"{path}.{name}")


def read_sort(text: str) -> list[tuple[str, Any]]:
    """The order that a parameter asks for: `{"created": -1, "name": 1}` or `-created,name`."""
    if not text.lstrip().startswith("{"):
        names = [name.strip() for name in text.split(",")]
        order: list[tuple[str, Any]] = [(name.removeprefix("-"), -1 if name.startswith("-") else 1) for name in names]
    else:
        order = list(_read_object("sort", text).items())
    for name, direction in order:
        is_direction = type(direction) in (int, float) and direction in (1, -1)
        if not _is_field(name) or not (is_direction or direction == {"$meta": "textScore"}):
            raise _invalid("sort", f"wants field names with 1 or -1; got {name!r}: {direction!r}"[:200])
    return order


def read_fields(text: str) -> dict[str, Any] | None:
    """The projection that a parameter asks for: `{"name": 1}`, `{"big": 0}`, or `name,price`."""
    if not text.lstrip().startswith("{"):
        names = [name.strip() for name in text.split(",")]
        if not all(_is_field(name) for name in names):
            raise _invalid("fields", "wants field names between the commas")
        return dict.fromkeys(names, 1)
    fields = _read_object("fields", text)
    for name, value in fields.items():
        if not _is_field(name) or not _is_projection(value):
            raise _invalid(f"fields.{name}", "must be 1, 0, true, false, $slice with numbers, $elemMatch or $meta")
    return fields or None


def _read_object(parameter: str, text: str) -> dict[str, Any]:
    value = ejson.loads(text.encode(), path=parameter)
    if not isinstance(value, dict):
        raise _invalid(parameter, "must be a JSON object")
    return value


def _is_field(name: str) -> bool:
    return bool(name) and not name.startswith("$") and "\0" not in name


def _is_projection(value: Any) -> bool:
    if not isinstance(value, dict):
        return type(value) in (bool, int, float) and value in (0, 1)
    if value.keys() == {"$slice"}:
        return _is_slice(value["$slice"])
    if value.keys() == {"$elemMatch"}:
        check_filter(value["$elemMatch"], "fields")
        return isinstance(value["$elemMatch"], dict)
    return value in ({"$meta": "textScore"}, {"$meta": "geoNearDistance"})


def _is_slice(value: Any) -> bool:
    """Whether it is a number or two: MongoDB takes anything else for an aggregation expression, which may run code."""
    numbers = value if isinstance(value, list) and len(value) == 2 else [value]
    return all(type(number) is int for number in numbers)


def read_id(text: str, id_type: str | None) -> Any:
    """The `_id` that a path segment names. Without `id_type`, 24 hex digits are an ObjectId, all else a string."""
    if id_type is None:
        return ObjectId(text) if HEX_OBJECT_ID.fullmatch(text) else text
    if id_type not in ID_READERS:
        raise _invalid("id_type", f"must be one of {', '.join(ID_READERS)}")
    try:
        return ID_READERS[id_type](text)
    except (ValueError, OverflowError):
        raise _invalid("id", f"is not of type {id_type}") from None


def _read_oid(text: str) -> ObjectId:
    if not HEX_OBJECT_ID.fullmatch(text):
        raise ValueError(text)
    return ObjectId(text)


def _read_int(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError(text)
    return int(text)


def _read_double(text: str) -> float:
    if not re.fullmatch(r"[-+0-9.eE]{1,40}", text):
        raise ValueError(text)
    return float(text)


def _read_date(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found.astimezone(UTC)


ID_READERS: dict[str, Callable[[str], Any]] = {
    "oid": _read_oid,
    "string": str,
    "int": _read_int,
    "long": lambda text: Int64(_read_int(text)),
    "double": _read_double,
    "date": _read_date,
    "uuid": lambda text: Binary.from_uuid(uuid.UUID(text)),
}


def _invalid(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path!r} {message}.", [{"path": path, "message": message}])
