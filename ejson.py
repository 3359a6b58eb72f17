"""The one codec between BSON and JSON text: MongoDB Extended JSON v2, relaxed and canonical, and plain JSON.

Knows no HTTP. Writing is here; reading (`loads`, `parse`) is in `ejson_input.py` and offered from here.
https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md

What cannot survive the trip, because Extended JSON or PyMongo has no way to say it:
- a stored document that looks like a wrapper (`{"$oid": 1}`): Extended JSON has no escape, `loads` takes it for one;
- deprecated types are written and read as their successors: symbol as string, undefined as null, DBPointer as
  `{"$ref", "$id"}`;
- the payload bits of a NaN, decimals in a non-canonical encoding, options of a regular expression beyond `ilmsux` or
  out of order, all but the last of keys stored twice, and bytes that are not UTF-8 (U+FFFD stands for them);
- a document of nearly 100 levels may come out deeper than `loads` takes: a wrapper counts as one or two levels.
"""

import enum
import math
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import orjson
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from ejson_input import loads, names_operators, parse

__all__ = ["CODEC_OPTIONS", "Form", "dumps", "encode", "encode_many", "loads", "names_operators", "parse"]


class Form(enum.Enum):
    """How values without a JSON type are written."""

    RELAXED = "relaxed"
    """Relaxed Extended JSON v2: numbers as numbers, everything else lossless."""
    CANONICAL = "canonical"
    """Canonical Extended JSON v2: numbers keep their BSON type too."""
    PLAIN = "plain"
    """Plain JSON for programs that know no Extended JSON; types are lost."""


CODEC_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""Documents as dictionaries: dates aware (years outside 1-9999 as DatetimeMS), UUIDs left as Binary."""

# Attaching a time zone to each date would cost more than all the rest of writing it.
_STORED = CODEC_OPTIONS.with_options(tz_aware=False, tzinfo=None)
# Inner documents stay raw: only so does PyMongo not make a DBRef of {"$ref", "$id"}, which forgets the order of keys.
_EXACT = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)

_ORJSON_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - compared with stored dates, which are decoded without zone, as UTC
_MILLISECOND = timedelta(milliseconds=1)

# A double that is NaN or infinite: type byte, name, eight bytes whose last two (little-endian) hold an exponent of all
# ones. May hit elsewhere, never misses. Linear on any input: no byte of a name is scanned from two places.
_NOT_FINITE = re.compile(rb"\x01[^\x00\x01]*+\x00.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)


class _Table(dict[type, Callable[[Any], Any]]):
    """Converters by exact type; a subclass is found through its nearest base."""

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        for base in kind.__mro__:
            if base in self:
                return self[base]
        raise TypeError(f"{kind.__name__} has no place in a BSON document")

    def convert(self, value: Any) -> Any:
        return self[type(value)](value)


def _unchanged(value: Any) -> Any:
    return value


def _wrap_double(value: float) -> dict[str, str]:
    if math.isfinite(value):
        return {"$numberDouble": repr(value)}
    return {"$numberDouble": _name_double(value)}


def _name_double(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _wrap_binary(value: bytes) -> dict[str, dict[str, str]]:
    return {"$binary": {"base64": _to_base64(value), "subType": f"{_subtype(value):02x}"}}


def _to_base64(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode()


def _subtype(value: bytes) -> int:
    return value.subtype if isinstance(value, Binary) else 0


def _wrap_regex(value: Regex[Any]) -> dict[str, dict[str, str]]:
    return {"$regularExpression": {"pattern": _pattern(value), "options": _regex_options(value)}}


def _pattern(value: Regex[Any]) -> str:
    return value.pattern if isinstance(value.pattern, str) else value.pattern.decode()


def _regex_options(value: Regex[Any]) -> str:
    flags = (("i", re.I), ("l", re.L), ("m", re.M), ("s", re.S), ("u", re.U), ("x", re.X))
    return "".join(letter for letter, flag in flags if value.flags & flag)


def _wrap_code(value: Code) -> dict[str, Any]:
    return {"$code": str(value)} if value.scope is None else {"$code": str(value), "$scope": value.scope}


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _wrap_date(value: datetime) -> dict[str, Any]:
    value = _utc(value)
    if value.year < 1970:
        return _wrap_milliseconds(value)
    # orjson writes "2022-01-12T02:33:23.067000", or no fraction when it is zero, in a third of isoformat()'s time.
    return {"$date": orjson.dumps(value)[1:24].rstrip(b'"').decode() + "Z"}


def _wrap_milliseconds(value: datetime | DatetimeMS) -> dict[str, Any]:
    return {"$date": {"$numberLong": str(_milliseconds(value))}}


def _milliseconds(value: datetime | DatetimeMS) -> int:
    return int(value) if isinstance(value, DatetimeMS) else (_utc(value) - _EPOCH) // _MILLISECOND


def _format_far_date(value: DatetimeMS) -> str:
    """ISO 8601 as JavaScript prints it: years outside 0000-9999 take a sign and at least six digits."""
    # The calendar repeats every 400 years (146,097 days), so any year has a twin that datetime can hold.
    cycles, rest = divmod(int(value), 146_097 * 86_400_000)
    twin = _EPOCH + timedelta(milliseconds=rest)
    year = twin.year + 400 * cycles
    return (f"{year:04d}" if 0 <= year <= 9999 else f"{year:+07d}") + f"{twin.isoformat('T', 'milliseconds')[4:]}Z"


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


_RELAXED = _Table(
    {
        ObjectId: lambda value: {"$oid": str(value)},
        datetime: _wrap_date,
        DatetimeMS: _wrap_milliseconds,
        Decimal128: lambda value: {"$numberDecimal": str(value)},
        bytes: _wrap_binary,
        Binary: _wrap_binary,
        Regex: _wrap_regex,
        Timestamp: lambda value: {"$timestamp": {"t": value.time, "i": value.inc}},
        Code: _wrap_code,
        MinKey: _constant({"$minKey": 1}),
        MaxKey: _constant({"$maxKey": 1}),
        float: lambda value: value if math.isfinite(value) else _wrap_double(value),
        Int64: int,
        int: int,
        str: str,
        bool: _unchanged,
        type(None): _unchanged,
        dict: dict,
        list: list,
        tuple: list,
        orjson.Fragment: _unchanged,
    }
)
_CANONICAL = _Table(
    _RELAXED
    | {
        datetime: _wrap_milliseconds,
        float: _wrap_double,
        Int64: lambda value: {"$numberLong": str(int(value))},
        int: lambda value: {"$numberInt" if -(2**31) <= value < 2**31 else "$numberLong": str(int(value))},
    }
)
_PLAIN = _Table(
    _RELAXED
    | {
        ObjectId: str,
        datetime: lambda value: _utc(value).isoformat("T", "milliseconds") + "Z",
        DatetimeMS: _format_far_date,
        Decimal128: str,
        bytes: lambda value: {"Subtype": _subtype(value), "Data": _to_base64(value)},
        Binary: lambda value: {"Subtype": _subtype(value), "Data": _to_base64(value)},
        Regex: lambda value: {"Pattern": _pattern(value), "Options": _regex_options(value)},
        Timestamp: lambda value: {"T": value.time, "I": value.inc},
        Code: str,
        MinKey: _constant({}),
        MaxKey: _constant({}),
        float: lambda value: value if math.isfinite(value) else _name_double(value),
    }
)


def _complete(form: Form, table: _Table) -> _Table:
    return _Table(
        table
        | {
            DBRef: lambda value: dict(value.as_doc()),
            RawBSONDocument: lambda value: orjson.Fragment(encode(value.raw, form)),
        }
    )


# Without DBRef: meeting one in a stored document means that it must be decoded again, with _EXACT.
_STORED_TABLES = {Form.RELAXED: _RELAXED, Form.CANONICAL: _CANONICAL, Form.PLAIN: _PLAIN}
_TABLES = {form: _complete(form, table) for form, table in _STORED_TABLES.items()}


def encode(document: bytes, form: Form) -> bytes:
    """The JSON text of one raw BSON document, its keys in the order stored; InvalidBSON if it is damaged."""
    if form is Form.CANONICAL or _NOT_FINITE.search(document):
        return _encode_exactly(document, form)
    try:
        return orjson.dumps(bson.decode(document, _STORED), _STORED_TABLES[form].convert, _ORJSON_OPTIONS)
    except (InvalidBSON, orjson.JSONEncodeError):
        return _encode_exactly(document, form)


def encode_many(batch: bytes, form: Form) -> bytes:
    """The JSON texts of concatenated raw BSON documents (a batch of `find_raw_batches`), joined by commas."""
    if form is not Form.CANONICAL and not _NOT_FINITE.search(batch):
        try:
            return orjson.dumps(bson.decode_all(batch, _STORED), _STORED_TABLES[form].convert, _ORJSON_OPTIONS)[1:-1]
        except (InvalidBSON, orjson.JSONEncodeError):
            pass
    return b",".join([encode(document, form) for document in _split(batch)])


def dumps(value: Any, form: Form) -> bytes:
    """The JSON text of a decoded value; a RawBSONDocument or an `orjson.Fragment` inside it keeps its own text."""
    if form is not Form.CANONICAL:
        text = orjson.dumps(value, _TABLES[form].convert, _ORJSON_OPTIONS)
        # orjson writes NaN and infinities as null, so only where there is a null may there have been one of these.
        if b"null" not in text:
            return text
    return orjson.dumps(_convert(value, _TABLES[form]), option=_ORJSON_OPTIONS)


def _encode_exactly(document: bytes, form: Form) -> bytes:
    """As `encode`, value by value: for what orjson or PyMongo's decoder would change on the way."""
    return orjson.dumps(_convert(RawBSONDocument(document, _EXACT), _TABLES[form]), option=_ORJSON_OPTIONS)


def _split(batch: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(batch):
        end = start + int.from_bytes(batch[start : start + 4], "little")
        yield batch[start:end]
        start = end


def _convert(value: Any, table: _Table) -> Any:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, (dict, RawBSONDocument)):
        return {key: _convert(item, table) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_convert(item, table) for item in value]
    if kind is Code and value.scope is not None:
        value = Code(str(value), _convert(value.scope, table))
    if kind is DBRef:
        return _convert(value.as_doc(), table)
    return table.convert(value)
