"""What a find takes: filters, sorts, projections, options and ids read strictly, and a permit's filter joined in."""

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bson import Binary, Int64, ObjectId

import ejson
from access.models import Permit
from document.expression import check_filter, check_projection, check_variables, guard, holds_text, invalid, is_field

HEX_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")


COLLATION_MEMBERS = frozenset(
    {"locale", "caseLevel", "caseFirst", "strength", "numericOrdering", "alternate", "maxVariable", "normalization"}
    | {"backwards"}
)
INDEX_KINDS = (1, -1, "text", "2d", "2dsphere", "hashed")
MAX_COMMENT = 200
MAX_HINT_FIELDS = 32


def combine(permit: Permit, query: dict[str, Any]) -> dict[str, Any]:
    """`query`, narrowed to the documents that the permit covers."""
    if not query or not permit.filter:
        return query or permit.filter
    query = guard(query, permit.filter)
    if permit.filter.keys().isdisjoint(query):
        return {**permit.filter, **query}
    return {"$and": [permit.filter, query]}


def read_filter(text: str) -> dict[str, Any]:
    """The filter that a query parameter holds as Extended JSON, every operator in it on the allow list."""
    value: dict[str, Any] = ejson.loads(text.encode(), path="filter")
    check_filter(value, "filter")
    return value


def read_options(permit: Permit, body: Mapping[str, Any]) -> dict[str, Any]:
    """`collation`, `hint`, `let` and `comment` of a body, checked, as the driver's methods take them."""
    options = {name: body[name] for name in ("collation", "hint", "let", "comment") if name in body}
    if "collation" in options:
        _check_collation_members(options["collation"])
        check_collation(permit)
    if "hint" in options:
        _check_hint(options["hint"])
    if "let" in options:
        check_variables(options["let"], "let")
    comment = options.get("comment", "")
    if not isinstance(comment, str) or len(comment) > MAX_COMMENT:
        raise invalid("comment", f"must be text of at most {MAX_COMMENT} characters")
    return options


def check_collation(permit: Permit) -> None:
    """Refuse a collation where the rule compares text: it might then match more than it says."""
    if holds_text(permit.filter):
        raise invalid("collation", "cannot be chosen where a rule compares text")


def _check_collation_members(value: Any) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("locale"), str):
        raise invalid("collation", 'must be an object such as {"locale": "de", "strength": 1}')
    for name, item in value.items():
        if name not in COLLATION_MEMBERS or not isinstance(item, (str, int, bool)):
            raise invalid(f"collation.{name}", "is not known in a collation")


def _check_hint(value: Any) -> None:
    if isinstance(value, str) and value:
        return
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_HINT_FIELDS:
        raise invalid("hint", 'must be the name of an index, or its fields: {"price": 1}')
    for name, kind in value.items():
        if kind not in INDEX_KINDS or (name.startswith("$") and not name.startswith("$**") and name != "$natural"):
            raise invalid(f"hint.{name}", "is not a field of an index")


def id_hint(query: Mapping[str, Any]) -> dict[str, str]:
    """What to add to an empty answer when the filter looks for an `_id` by text that is probably an ObjectId."""
    wanted = query.get("_id")
    if isinstance(wanted, dict):
        wanted = wanted.get("$eq", wanted.get("$in"))
    for each in wanted if isinstance(wanted, list) else [wanted]:
        if isinstance(each, str) and HEX_OBJECT_ID.fullmatch(each):
            return {"hint": f'"_id" was compared with text; for an ObjectId send {{"$oid": "{each}"}}.'}
    return {}


def read_sort(text: str) -> list[tuple[str, Any]]:
    """The order that a parameter asks for: `{"created": -1, "name": 1}` or `-created,name`."""
    if text.lstrip().startswith("{"):
        return check_sort(ejson.loads(text.encode(), path="sort"))
    names = [name.strip() for name in text.split(",")]
    return check_sort({name.removeprefix("-"): -1 if name.startswith("-") else 1 for name in names})


def check_sort(value: Any) -> list[tuple[str, Any]]:
    """The order that an object asks for, as the driver takes it."""
    if not isinstance(value, dict):
        raise invalid("sort", 'must be an object such as {"created": -1, "name": 1}, or text such as "-created,name"')
    for name, direction in value.items():
        is_direction = type(direction) in (int, float) and direction in (1, -1)
        if not is_field(name) or not (is_direction or direction == {"$meta": "textScore"}):
            raise invalid("sort", f"wants field names with 1 or -1; got {name!r}: {direction!r}"[:200])
    return list(value.items())


def read_fields(text: str) -> dict[str, Any] | None:
    """The projection that a parameter asks for: `{"name": 1}`, `{"big": 0}`, or `name,price`."""
    if text.lstrip().startswith("{"):
        return check_fields_wanted(ejson.loads(text.encode(), path="fields"))
    names = [name.strip() for name in text.split(",")]
    if not all(is_field(name) for name in names):
        raise invalid("fields", "wants field names between the commas")
    return dict.fromkeys(names, 1)


def check_fields_wanted(value: Any) -> dict[str, Any] | None:
    """The projection that an object asks for, as the driver takes it."""
    check_projection(value, "fields")
    return value or None


def read_id(text: str, id_type: str | None) -> Any:
    """The `_id` that a path segment names. Without `id_type`, 24 hex digits are an ObjectId, all else a string."""
    if id_type is None:
        return ObjectId(text) if HEX_OBJECT_ID.fullmatch(text) else text
    if id_type not in ID_READERS:
        raise invalid("id_type", f"must be one of {', '.join(ID_READERS)}")
    try:
        return ID_READERS[id_type](text)
    except (ValueError, OverflowError):
        raise invalid("id", f"is not of type {id_type}") from None


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
