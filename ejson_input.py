"""Reads JSON text with MongoDB Extended JSON v2 (canonical, relaxed, any mix) into values ready for `bson.encode`, and
refuses whatever is not exactly right. Part of `ejson`; import it from there.

Choices where the specification leaves one:
- `$regex` with `$options` is the query operator and stays as it is; a regular expression is `$regularExpression`.
- `{"$binary": "...", "$type": "00"}` is read as well; no other form of Extended JSON v1 is.
- A `$date` may carry up to nine digits after the second; more than milliseconds are cut off, as every driver does.
- `$symbol` is read as string, `$undefined` as null and `$dbPointer` as `{"$ref", "$id"}`: their successors.
- `$ref`/`$id`, and every `$` key that names no type, are ordinary keys; whether to allow operators is up to the caller.
"""

import json
import math
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from errors import BodyTooLarge, InvalidInput

MAX_DEPTH = 100
MAX_VALUES = 500_000
_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)
_UINT32 = range(2**32)
_CONTAINERS = frozenset({dict, list})
_ALWAYS_FINE = frozenset({str, bool, type(None)})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Maps digits to "0" and what may stand before a number to ":", so that one quick substring search finds long integers:
# digits in a string or behind a decimal point follow something else. 18 digits always fit 64 bits.
_SHAPE = bytes(ord("0") if byte in b"0123456789" else ord(":") if byte in b"-:,[ \t\n\r" else 0 for byte in range(256))
_LONG_INTEGER = b":" + b"0" * 19

# Possessive, so that it is linear on any input.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_OBJECT_ID = re.compile("[0-9a-fA-F]{24}")
_INT = re.compile("0|-?[1-9][0-9]{0,18}")
_DOUBLE = re.compile("-?[0-9]+(?:[.][0-9]+)?(?:[eE][+-]?[0-9]+)?|-?Infinity|NaN")
_DECIMAL = re.compile("[+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:[+-]?(?:inf|infinity|nan))")
_SUBTYPE = re.compile("[0-9a-fA-F]{2}")
_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE = re.compile(
    "[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3])(?::[0-9]{2}){2}(?:[.][0-9]{1,9})?"
    "(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)"
)
_NUMBER_TOO_LARGE = (
    "numbers must be finite, and integers from -9223372036854775808 to 9223372036854775807; "
    '{"$numberDecimal": "..."} takes more'
)


class _RefusedError(Exception):
    """What is wrong with a value; each level it passes on its way up adds its key to the path."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.path: list[str | int] = []


def loads(body: bytes, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES, path: str = "") -> Any:
    """The value of a JSON text, ready for `bson.encode`. Of duplicate keys the last wins.

    Raises InvalidInput naming the path below `path`, such as `items[3].price`, for anything that is not JSON, is
    nested deeper than `max_depth` (at most 200), or could not be stored exactly as it stands; BodyTooLarge for more
    than `max_values` values, which would take far more memory than their text.
    """
    _check_values(body, max_values)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid(path, f"not valid JSON: {error}") from None
    # Counting brackets is a bound that costs nothing; those inside strings only make it careful.
    if body.count(b"[") + body.count(b"{") > max_depth:
        _check_depth(value, max_depth, path)
    if _LONG_INTEGER in b":" + body.translate(_SHAPE):
        # orjson makes floats of integers over 64 bits without a word.
        value = json.loads(body, parse_int=_parse_integer)
    elif b"$" not in body and b"\\u00" not in body:
        # No wrapper ("$" may be spelled \u0024 too) and no NUL in a key (it can only be spelled \u0000).
        return value
    return _read_at(value, path)


def names_operators(body: bytes) -> bool:
    """Whether, once `loads` has taken it, a key of the value may begin with `$`; a False is certain, a True is not."""
    return b"\\u00" in body or _OPERATOR.search(body) is not None


def parse(value: Any, path: str = "") -> Any:
    """As `loads`, for a value already parsed from JSON, changed in place; paths in refusals begin with `path`."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise _invalid(path, f"not a JSON value: {error}") from None
    _check_depth(value, MAX_DEPTH, path)
    return _read_at(value, path)


def _read_at(value: Any, path: str) -> Any:
    try:
        return _read(value)
    except _RefusedError as refused:
        raise _invalid(_join(path, reversed(refused.path)), refused.message) from None


def _join(path: str, keys: Iterable[str | int]) -> str:
    for key in keys:
        path += f"[{key}]" if isinstance(key, int) else f".{key}"
    return path.removeprefix(".")


def _invalid(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path}: {message}" if path else message, [{"path": path, "message": message}])


def _check_values(body: bytes, max_values: int) -> None:
    # A value follows a bracket or a comma; only where there are too many are those inside strings left out.
    if _count_values(body) > max_values and _count_values(_STRING.sub(b"", body)) > max_values:
        raise BodyTooLarge(f"The body holds more than {max_values} values; send it in parts.")


def _count_values(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _check_depth(value: Any, max_depth: int, path: str) -> None:
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(max_depth):
        if not level:
            return
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) in _CONTAINERS
        ]
    if level:
        raise _invalid(path, f"nested deeper than {max_depth} levels")


def _parse_integer(digits: str) -> int | float:
    # Infinity stands for "too large" until the walk, which knows the path, refuses it; int() is slow on long text.
    return int(digits) if len(digits) <= 20 else math.inf


def _read(value: Any) -> Any:
    """The value with its wrappers replaced; containers are changed in place."""
    kind = type(value)
    if kind is dict:
        if not _READERS.keys().isdisjoint(value):
            return _unwrap(value)
        _read_items(value, value.items())
    elif kind is list:
        _read_items(value, enumerate(value))
    elif kind is int:
        if not -(2**63) <= value < 2**63:
            raise _RefusedError(_NUMBER_TOO_LARGE)
    elif kind is float and not math.isfinite(value):
        raise _RefusedError(_NUMBER_TOO_LARGE)
    return value


def _read_items(container: Any, items: Iterable[tuple[Any, Any]]) -> None:
    key: Any = ""
    try:
        for key, item in items:
            if type(key) is str and "\0" in key:
                raise _RefusedError("a key cannot hold the NUL character (\\u0000)")
            if type(item) not in _ALWAYS_FINE:
                container[key] = _read(item)
    except _RefusedError as refused:
        refused.path.append(key)
        raise


def _unwrap(value: dict[str, Any]) -> Any:
    if len(value) > 1:
        return _unwrap_pair(value)
    [(name, inner)] = value.items()
    return _READERS[name](inner)


def _unwrap_pair(value: dict[str, Any]) -> Any:
    name = next(key for key in value if key in _READERS)
    companion = _COMPANIONS.get(name, name)
    stranger = next((key for key in value if key not in (name, companion)), None)
    if stranger is not None:
        raise _RefusedError(f"{name} must stand alone in its object; remove {_shown(stranger)}")
    return _PAIR_READERS[name](value[name], value[companion])


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refusal(name: str, wanted: str, value: Any) -> _RefusedError:
    return _RefusedError(f"{name} takes {wanted}; got {_shown(value)}")


def _match(name: str, wanted: str, value: Any, pattern: re.Pattern[str]) -> re.Match[str]:
    match = pattern.fullmatch(value) if type(value) is str else None
    if match is None:
        raise _refusal(name, wanted, value)
    return match


def _require_text(name: str, wanted: str, value: Any) -> str:
    if type(value) is not str:
        raise _refusal(name, wanted, value)
    return value


def _require_object(name: str, wanted: str, value: Any, keys: set[str]) -> dict[str, Any]:
    if type(value) is not dict or value.keys() != keys:
        raise _refusal(name, wanted, value)
    return value


def _read_object_id(value: Any) -> ObjectId:
    return ObjectId(_match("$oid", "a string of 24 hexadecimal digits", value, _OBJECT_ID)[0])


def _read_integer(name: str, bounds: range, value: Any) -> int:
    wanted = f'a whole number from {bounds[0]} to {bounds[-1]} as a string such as "42"'
    number = int(_match(name, wanted, value, _INT)[0])
    if number not in bounds:
        raise _refusal(name, wanted, value)
    return number


def _read_int(value: Any) -> int:
    return _read_integer("$numberInt", _INT32, value)


def _read_long(value: Any) -> Int64:
    return Int64(_read_integer("$numberLong", _INT64, value))


def _read_double(value: Any) -> float:
    wanted = 'a number within the range of a double as a string such as "1.5", or "NaN", "Infinity", "-Infinity"'
    text = _match("$numberDouble", wanted, value, _DOUBLE)[0]
    number = float(text)
    if math.isinf(number) and not text.endswith("Infinity"):
        raise _refusal("$numberDouble", wanted, value)
    return number


def _read_decimal(value: Any) -> Decimal128:
    wanted = 'a decimal of at most 34 digits and exponent -6176 to 6144 as a string such as "9.99"'
    text = _match("$numberDecimal", wanted, value, _DECIMAL)[0]
    try:
        return Decimal128(text)
    except ArithmeticError:
        raise _refusal("$numberDecimal", wanted, value) from None


def _read_date(value: Any) -> datetime | DatetimeMS:
    if type(value) is dict and value.keys() == {"$numberLong"}:
        return _to_date(_read_integer("$numberLong", _INT64, value["$numberLong"]))
    wanted = 'a string such as "2022-01-12T02:33:23.067Z", or {"$numberLong": "milliseconds since 1970"}'
    _match("$date", wanted, value, _DATE)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _refusal("$date", wanted, value) from None
    return _to_date((moment - _EPOCH) // timedelta(milliseconds=1))


def _to_date(milliseconds: int) -> datetime | DatetimeMS:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return DatetimeMS(milliseconds)


def _read_binary(value: Any) -> bytes:
    wanted = '{"base64": "...", "subType": "00"}'
    parts = _require_object("$binary", wanted, value, {"base64", "subType"})
    subtype = _match("$binary", "as subType two hexadecimal digits", parts["subType"], _SUBTYPE)[0]
    return _to_binary(parts["base64"], subtype)


def _read_old_binary(value: Any, subtype: Any) -> bytes:
    return _to_binary(value, _match("$type", "two hexadecimal digits", subtype, _SUBTYPE)[0])


def _to_binary(text: Any, subtype: str) -> bytes:
    wanted = "standard base64 (A-Z a-z 0-9 + /) padded with ="
    try:
        data = a2b_base64(_require_text("$binary", wanted, text))
    except (Base64Error, ValueError):
        raise _refusal("$binary", wanted, text) from None
    # Python's decoder skips what it does not know; only text that is written back the same was base64.
    if b2a_base64(data, newline=False).decode() != text:
        raise _refusal("$binary", wanted, text)
    return Binary(data, int(subtype, 16)) if subtype != "00" else data


def _read_uuid(value: Any) -> Binary:
    wanted = 'a UUID such as "c8edabc3-f738-4ca3-b68d-ab92a91478a3"'
    return Binary(bytes.fromhex(_match("$uuid", wanted, value, _UUID)[0].replace("-", "")), 4)


def _read_regex(value: Any) -> Regex[str]:
    wanted = '{"pattern": "...", "options": "..."} without NUL; options are letters of "ilmsux", each at most once'
    parts = _require_object("$regularExpression", wanted, value, {"pattern", "options"})
    pattern, options = (_require_text("$regularExpression", wanted, parts[key]) for key in ("pattern", "options"))
    if "\0" in pattern or len(set(options)) != len(options) or not set(options) <= set("ilmsux"):
        raise _refusal("$regularExpression", wanted, value)
    return Regex(pattern, options)


def _read_timestamp(value: Any) -> Timestamp:
    wanted = '{"t": seconds, "i": counter}, both whole numbers from 0 to 4294967295'
    parts = _require_object("$timestamp", wanted, value, {"t", "i"})
    if not all(type(part) is int and part in _UINT32 for part in parts.values()):
        raise _refusal("$timestamp", wanted, value)
    return Timestamp(parts["t"], parts["i"])


def _read_constant(name: str, only: Any, meaning: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not type(only) or value != only:
            raise _refusal(name, _shown(only), value)
        return meaning

    return read


def _read_code(value: Any) -> Code:
    return Code(_require_text("$code", "a string", value))


def _read_scoped_code(value: Any, scope: Any) -> Code:
    code = _read_code(value)
    if type(scope) is not dict or not _READERS.keys().isdisjoint(scope):
        raise _refusal("$scope", "a document", scope)
    _read_items({"$scope": scope}, [("$scope", scope)])
    return Code(code, scope)


def _read_symbol(value: Any) -> str:
    return _require_text("$symbol", "a string", value)


def _read_db_pointer(value: Any) -> dict[str, Any]:
    wanted = '{"$ref": "collection", "$id": {"$oid": "..."}}'
    parts = _require_object("$dbPointer", wanted, value, {"$ref", "$id"})
    name = _require_text("$dbPointer", wanted, parts["$ref"])
    object_id = _require_object("$dbPointer", wanted, parts["$id"], {"$oid"})
    return {"$ref": name, "$id": _read_object_id(object_id["$oid"])}


_READERS: dict[str, Callable[[Any], Any]] = {
    "$oid": _read_object_id,
    "$numberInt": _read_int,
    "$numberLong": _read_long,
    "$numberDouble": _read_double,
    "$numberDecimal": _read_decimal,
    "$date": _read_date,
    "$binary": _read_binary,
    "$uuid": _read_uuid,
    "$regularExpression": _read_regex,
    "$timestamp": _read_timestamp,
    "$minKey": _read_constant("$minKey", 1, MinKey()),
    "$maxKey": _read_constant("$maxKey", 1, MaxKey()),
    "$code": _read_code,
    "$symbol": _read_symbol,
    "$undefined": _read_constant("$undefined", True, None),
    "$dbPointer": _read_db_pointer,
}
# A string that begins with `$` and names no type.
_OPERATOR = re.compile(b'"[$](?!(?:' + "|".join(name[1:] for name in _READERS).encode() + b')")')
_PAIR_READERS: dict[str, Callable[[Any, Any], Any]] = {"$binary": _read_old_binary, "$code": _read_scoped_code}
_COMPANIONS = {"$binary": "$type", "$code": "$scope"}
