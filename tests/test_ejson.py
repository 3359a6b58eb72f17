"""What each BSON type looks like in the three forms, and what input is taken or refused."""

import json
import re
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import bson
import orjson
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from bson.son import SON

import ejson
from ejson import CODEC_OPTIONS, Form
from errors import InvalidInput

OID = ObjectId("57e193d7a9cc81b4027498b5")
UUID_BYTES = bytes.fromhex("c8edabc3f7384ca3b68dab92a91478a3")
NAN, INFINITY = float("nan"), float("inf")

# value, relaxed, canonical (None: as relaxed), plain
TYPES: list[tuple[Any, str, str | None, str]] = [
    (None, "null", None, "null"),
    (True, "true", None, "true"),
    ("nullable \0 \u00fc \u2028", '"nullable \\u0000 \u00fc \u2028"', None, '"nullable \\u0000 \u00fc \u2028"'),
    (1, "1", '{"$numberInt":"1"}', "1"),
    (-(2**31), "-2147483648", '{"$numberInt":"-2147483648"}', "-2147483648"),
    (2**31, "2147483648", '{"$numberLong":"2147483648"}', "2147483648"),
    (Int64(1), "1", '{"$numberLong":"1"}', "1"),
    (Int64(-(2**63)), "-9223372036854775808", '{"$numberLong":"-9223372036854775808"}', "-9223372036854775808"),
    (1.0, "1.0", '{"$numberDouble":"1.0"}', "1.0"),
    (-0.0, "-0.0", '{"$numberDouble":"-0.0"}', "-0.0"),
    (742.05, "742.05", '{"$numberDouble":"742.05"}', "742.05"),
    (5e-324, "5e-324", '{"$numberDouble":"5e-324"}', "5e-324"),
    (NAN, '{"$numberDouble":"NaN"}', None, '"NaN"'),
    (INFINITY, '{"$numberDouble":"Infinity"}', None, '"Infinity"'),
    (-INFINITY, '{"$numberDouble":"-Infinity"}', None, '"-Infinity"'),
    (OID, '{"$oid":"57e193d7a9cc81b4027498b5"}', None, '"57e193d7a9cc81b4027498b5"'),
    (Decimal128("-1.50E+3"), '{"$numberDecimal":"-1.50E+3"}', None, '"-1.50E+3"'),
    (Decimal128("NaN"), '{"$numberDecimal":"NaN"}', None, '"NaN"'),
    (b"\0\xff", '{"$binary":{"base64":"AP8=","subType":"00"}}', None, '{"Subtype":0,"Data":"AP8="}'),
    (Binary(b"a", 2), '{"$binary":{"base64":"YQ==","subType":"02"}}', None, '{"Subtype":2,"Data":"YQ=="}'),
    (
        Binary(UUID_BYTES, 4),
        '{"$binary":{"base64":"yO2rw/c4TKO2jauSqRR4ow==","subType":"04"}}',
        None,
        '{"Subtype":4,"Data":"yO2rw/c4TKO2jauSqRR4ow=="}',
    ),
    (Binary(b"", 255), '{"$binary":{"base64":"","subType":"ff"}}', None, '{"Subtype":255,"Data":""}'),
    (
        Regex("^a/", "xi"),
        '{"$regularExpression":{"pattern":"^a/","options":"ix"}}',
        None,
        '{"Pattern":"^a/","Options":"ix"}',
    ),
    (Timestamp(2**32 - 1, 7), '{"$timestamp":{"t":4294967295,"i":7}}', None, '{"T":4294967295,"I":7}'),
    (MinKey(), '{"$minKey":1}', None, "{}"),
    (MaxKey(), '{"$maxKey":1}', None, "{}"),
    (Code("f()"), '{"$code":"f()"}', None, '"f()"'),
    (
        Code("f()", {"n": 1, "d": {"x": NAN}, "o": OID}),
        '{"$code":"f()","$scope":{"n":1,"d":{"x":{"$numberDouble":"NaN"}},"o":{"$oid":"57e193d7a9cc81b4027498b5"}}}',
        '{"$code":"f()","$scope":{"n":{"$numberInt":"1"},"d":{"x":{"$numberDouble":"NaN"}},'
        '"o":{"$oid":"57e193d7a9cc81b4027498b5"}}}',
        '"f()"',
    ),
    (Code("f()", {}), '{"$code":"f()","$scope":{}}', None, '"f()"'),
    (
        {"z": 1, "$ref": "c", "$id": OID},
        '{"z":1,"$ref":"c","$id":{"$oid":"57e193d7a9cc81b4027498b5"}}',
        '{"z":{"$numberInt":"1"},"$ref":"c","$id":{"$oid":"57e193d7a9cc81b4027498b5"}}',
        '{"z":1,"$ref":"c","$id":"57e193d7a9cc81b4027498b5"}',
    ),
    ({"$ref": 5}, '{"$ref":5}', '{"$ref":{"$numberInt":"5"}}', '{"$ref":5}'),
    ([[], {}, [1.5]], "[[],{},[1.5]]", '[[],{},[{"$numberDouble":"1.5"}]]', "[[],{},[1.5]]"),
]

# moment, relaxed, milliseconds, plain
DATES: list[tuple[Any, str | None, int, str]] = [
    (datetime(1970, 1, 1, tzinfo=UTC), '"1970-01-01T00:00:00Z"', 0, "1970-01-01T00:00:00.000Z"),
    (
        datetime(2022, 1, 12, 2, 33, 23, 67000, UTC),
        '"2022-01-12T02:33:23.067Z"',
        1641954803067,
        "2022-01-12T02:33:23.067Z",
    ),
    (
        datetime(9999, 12, 31, 23, 59, 59, 999000, UTC),
        '"9999-12-31T23:59:59.999Z"',
        253402300799999,
        "9999-12-31T23:59:59.999Z",
    ),
    (datetime(1969, 12, 31, 23, 59, 59, 999000, UTC), None, -1, "1969-12-31T23:59:59.999Z"),
    (datetime(1, 1, 1, tzinfo=UTC), None, -62135596800000, "0001-01-01T00:00:00.000Z"),
    (DatetimeMS(253402300800000), None, 253402300800000, "+010000-01-01T00:00:00.000Z"),
    (DatetimeMS(-62135596800001), None, -62135596800001, "0000-12-31T23:59:59.999Z"),
    (DatetimeMS(-62167219200001), None, -62167219200001, "-000001-12-31T23:59:59.999Z"),
    (DatetimeMS(2**63 - 1), None, 2**63 - 1, "+292278994-08-17T07:12:55.807Z"),
    (DatetimeMS(-(2**63)), None, -(2**63), "-292275055-05-16T16:47:04.192Z"),
]


def _long_date(milliseconds: int) -> str:
    return f'{{"$date":{{"$numberLong":"{milliseconds}"}}}}'


ROWS = [(value, relaxed, canonical or relaxed, plain) for value, relaxed, canonical, plain in TYPES] + [
    (value, f'{{"$date":{relaxed}}}' if relaxed else _long_date(ms), _long_date(ms), f'"{plain}"')
    for value, relaxed, ms, plain in DATES
]
CASES = [(row[0], form, row[column]) for row in ROWS for column, form in enumerate(Form, start=1)]


@pytest.mark.parametrize(("value", "form", "text"), CASES)
def test_encode_writes_each_type(value: Any, form: Form, text: str) -> None:
    document = bson.encode({"a": value, "b": None})
    assert ejson.encode(document, form).decode() == f'{{"a":{text},"b":null}}'


@pytest.mark.parametrize(("value", "form", "text"), CASES)
def test_dumps_writes_each_type(value: Any, form: Form, text: str) -> None:
    assert ejson.dumps(value, form).decode() == text


@pytest.mark.parametrize(("value", "text"), [(row[0], row[column]) for row in ROWS for column in (1, 2)])
def test_loads_reads_each_type_back(value: Any, text: str) -> None:
    read = bson.encode({"a": ejson.loads(text.encode())})
    expected = bson.encode({"a": value})
    # A relaxed number of 32 bits does not say whether it was a long.
    assert read == (bson.encode({"a": 1}) if value == 1 and text == "1" else expected)


@pytest.mark.parametrize("form", Form)
def test_encode_many_joins_documents_with_commas(form: Form) -> None:
    documents = [bson.encode({"n": n, "d": {"$ref": "c", "$id": 1}, "x": x}) for n, x in enumerate([1.5, NAN, None])]
    expected = b",".join(ejson.encode(document, form) for document in documents)
    assert ejson.encode_many(b"".join(documents), form) == expected
    assert ejson.encode_many(b"", form) == b""


@pytest.mark.parametrize("form", [Form.RELAXED, Form.PLAIN])
@pytest.mark.parametrize("name", ["", "x", "\x01", "a\x01b\x01", "\u00fc" * 300])
@pytest.mark.parametrize("value", [NAN, INFINITY, -INFINITY, struct.unpack("<d", b"\1" * 6 + b"\xff\xff")[0]])
def test_encode_never_writes_null_for_a_number(form: Form, name: str, value: float) -> None:
    assert b"null" not in ejson.encode(bson.encode({"n": -1, "l": [{name: value}]}), form)


def _raw(*elements: bytes) -> bytes:
    return struct.pack("<i", sum(map(len, elements)) + 5) + b"".join(elements) + b"\0"


def _raw_string(text: bytes) -> bytes:
    return struct.pack("<i", len(text) + 1) + text + b"\0"


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(
    "element",
    [
        b"\x02a\0" + _raw_string(b"x\xff"),
        b"\x02\xff\0" + _raw_string(b"x"),
        b"\x0da\0" + _raw_string(b"\xed\xa0\x80"),
        b"\x0ba\0\xff\0i\0",
        b"\x0ea\0" + _raw_string(b"\xc0"),
        b"\x0ca\0" + _raw_string(b"\xff") + bytes(12),
        b"\x03a\0" + _raw(b"\x04\xfe\0" + _raw(b"\x020\0" + _raw_string(b"\xff"))),
    ],
)
def test_invalid_utf8_is_shown_as_replacement_characters(form: Form, element: bytes) -> None:
    text = ejson.encode(_raw(element), form)
    assert "\ufffd" in text.decode()
    assert ejson.encode_many(_raw(element) + _raw(), form) == text + b",{}"


@pytest.mark.parametrize(
    ("element", "text"),
    [
        (b"\x0ea\0" + _raw_string(b"s"), b'{"a":"s"}'),
        (b"\x06a\0", b'{"a":null}'),
        (b"\x0ca\0" + _raw_string(b"d.c") + bytes(12), b'{"a":{"$ref":"d.c","$id":{"$oid":"' + b"0" * 24 + b'"}}}'),
    ],
)
def test_deprecated_types_are_written_as_their_successors(element: bytes, text: bytes) -> None:
    assert ejson.encode(_raw(element), Form.RELAXED) == ejson.encode(_raw(element), Form.CANONICAL) == text


@pytest.mark.parametrize("form", Form)
def test_damaged_document_raises_invalid_bson(form: Form) -> None:
    with pytest.raises(InvalidBSON):
        ejson.encode(_raw(b"\x08a\0\x02"), form)


@pytest.mark.parametrize("form", Form)
def test_dumps_takes_what_the_driver_returns(form: Form) -> None:
    stored = bson.encode({"n": 1, "x": NAN})
    value = SON([("raw", RawBSONDocument(stored)), ("text", orjson.Fragment(b"[7]")), ("pair", (None, 2.5))])
    text = ejson.encode(stored, form).decode()
    half = ejson.dumps(2.5, form).decode()
    assert ejson.dumps(value, form).decode() == f'{{"raw":{text},"text":[7],"pair":[null,{half}]}}'


def test_dumps_writes_dbref_as_document() -> None:
    reference = {"r": DBRef("c", Int64(1), "d", x=NAN)}
    text = '{"r":{"$ref":"c","$id":1,"$db":"d","x":{"$numberDouble":"NaN"}}}'
    assert ejson.dumps(reference, Form.RELAXED).decode() == text
    assert ejson.dumps({"r": DBRef("c", 1)}, Form.PLAIN) == b'{"r":{"$ref":"c","$id":1}}'
    assert ejson.dumps({"r": DBRef("c", 1)}, Form.CANONICAL) == b'{"r":{"$ref":"c","$id":{"$numberInt":"1"}}}'


def test_dumps_writes_dates_of_any_zone_in_utc() -> None:
    moment = datetime(2022, 1, 12, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert ejson.dumps(moment, Form.RELAXED) == b'{"$date":"2022-01-11T23:00:00Z"}'
    assert ejson.dumps(moment, Form.PLAIN) == b'"2022-01-11T23:00:00.000Z"'
    assert ejson.dumps(moment, Form.CANONICAL) == b'{"$date":{"$numberLong":"1641942000000"}}'


@pytest.mark.parametrize("form", Form)
def test_dumps_raises_for_what_no_document_can_hold(form: Form) -> None:
    with pytest.raises(TypeError, match="object"):
        ejson.dumps({"a": object()}, form)


def test_codec_options_keep_dates_aware_and_far_years() -> None:
    decoded = bson.decode(bson.encode({"a": datetime(2022, 1, 1, tzinfo=UTC), "b": DatetimeMS(2**60)}), CODEC_OPTIONS)
    assert decoded == {"a": datetime(2022, 1, 1, tzinfo=UTC), "b": DatetimeMS(2**60)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"\\u0024oid":"57E193D7a9cc81b4027498b5"}', OID),
        ('{"$\\u006fid":"57e193d7a9cc81b4027498b5"}', OID),
        ("9223372036854775807", 2**63 - 1),
        ("[-9223372036854775808 ]", [-(2**63)]),
        ("1E2", 100.0),
        ("0.12345678901234567890123", 0.12345678901234568),
        ('["12345678901234567890"]', ["12345678901234567890"]),
        ('[12345678901234567.0, "$", 1234567890123456789]', [12345678901234567.0, "$", 1234567890123456789]),
        ('{"a":1,"b":{"$numberInt":"5"},"a":{"$numberInt":"2"}}', {"a": 2, "b": 5}),
        ('{"":{"":[{"$numberInt":"0"}]}}', {"": {"": [0]}}),
        ('{"$numberInt":"-2147483648"}', -(2**31)),
        ('{"$numberLong":"7"}', Int64(7)),
        ('{"$numberDouble":"1E+30"}', 1e30),
        ('{"$numberDouble":"-7"}', -7.0),
        ('{"$numberDecimal":"+.5e-3"}', Decimal128("0.0005")),
        ('{"$numberDecimal":"-inf"}', Decimal128("-Infinity")),
        ('{"$uuid":"c8edabc3-f738-4ca3-b68d-ab92a91478A3"}', Binary(UUID_BYTES, 4)),
        ('{"$binary":"AP8=","$type":"00"}', b"\0\xff"),
        ('{"$type":"80","$binary":"YQ=="}', Binary(b"a", 128)),
        ('{"$binary":{"subType":"00","base64":""}}', b""),
        ('{"$scope":{"a":{"$numberLong":"1"}},"$code":"f"}', Code("f", {"a": Int64(1)})),
        ('{"$symbol":"s"}', "s"),
        ('{"$undefined":true}', None),
        ('{"$dbPointer":{"$ref":"d.c","$id":{"$oid":"57e193d7a9cc81b4027498b5"}}}', {"$ref": "d.c", "$id": OID}),
        ('{"$regularExpression":{"options":"mi","pattern":"\\n"}}', Regex("\n", "im")),
        # Operators, and keys that only begin with $, are left alone.
        ('{"$regex":"^a","$options":"i"}', {"$regex": "^a", "$options": "i"}),
        (
            '{"$regex":{"$regularExpression":{"pattern":"a","options":""}},"$options":"ix"}',
            {"$regex": Regex("a"), "$options": "ix"},
        ),
        ('{"$type":2}', {"$type": 2}),
        ('{"$set":{"a":{"$oid":"57e193d7a9cc81b4027498b5"}},"$x":1}', {"$set": {"a": OID}, "$x": 1}),
        ('{"$id":1,"x":2,"$ref":5}', {"$id": 1, "x": 2, "$ref": 5}),
    ],
)
def test_loads_takes(text: str, value: Any) -> None:
    read = ejson.loads(text.encode())
    assert bson.encode({"a": read}) == bson.encode({"a": value})
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2022-01-12T02:33:23Z", datetime(2022, 1, 12, 2, 33, 23, tzinfo=UTC)),
        ("2022-01-12T02:33:23.1Z", datetime(2022, 1, 12, 2, 33, 23, 100000, UTC)),
        ("2022-01-12T02:33:23.067999999Z", datetime(2022, 1, 12, 2, 33, 23, 67000, UTC)),
        ("1969-12-31T23:59:59.9999Z", datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)),
        ("2022-01-12T02:33:23+05:30", datetime(2022, 1, 11, 21, 3, 23, tzinfo=UTC)),
        ("2022-01-12T02:33:23.5-0100", datetime(2022, 1, 12, 3, 33, 23, 500000, UTC)),
        ("2022-01-12T02:33:23+01", datetime(2022, 1, 12, 1, 33, 23, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999-01:00", DatetimeMS(253402304399999)),
        ("0001-01-01T00:00:00+00:01", DatetimeMS(-62135596860000)),
        ("2024-02-29T00:00:00-00:00", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_loads_takes_dates(text: str, moment: datetime | DatetimeMS) -> None:
    assert ejson.loads(orjson.dumps({"$date": text})) == moment


WRAPPER_REFUSALS: list[tuple[str, list[str]]] = [
    ("$oid", ["null", "42", '"xyz"', '"57e193d7a9cc81b4027498b"', '"57e193d7a9cc81b4027498b5\\n"', "{}", "[]"]),
    (
        "$numberInt",
        [
            '"2147483648"',
            '"-2147483649"',
            '"1.5"',
            '" 1"',
            '"1_0"',
            '"\u0663"',
            '""',
            '"+1"',
            '"01"',
            '"-0"',
            "1",
            "null",
        ],
    ),
    ("$numberLong", ['"9223372036854775808"', '"-9223372036854775809"', '"1e3"', '"1\\n"', f'"{"9" * 5000}"', "7"]),
    (
        "$numberDouble",
        ['"x"', '"1e400"', '"-1e400"', '"infinity"', '"-NaN"', '"0x1p3"', '"1_0.0"', '" 1"', "1.5", "null"],
    ),
    (
        "$numberDecimal",
        ['"x"', '""', '"1e"', '"."', '"1_0"', '"sNaN"', '"1E+9999"', '"1E-9999"', f'"{"9" * 35}"', "1.5", '"\u0663"'],
    ),
    (
        "$date",
        [
            "42",
            "null",
            "{}",
            '""',
            '"now"',
            '{"$numberLong":42}',
            '{"$numberLong":"9223372036854775808"}',
            '{"$numberInt":"1"}',
            '{"$numberLong":"1","x":1}',
            '"2022-01-12T02:33:23"',
            '"2022-01-12"',
            '"2022-13-01T00:00:00Z"',
            '"2023-02-29T00:00:00Z"',
            '"2022-01-12T24:00:00Z"',
            '"2022-01-12T02:60:00Z"',
            '"2022-01-12T02:33:60Z"',
            '"0000-01-01T00:00:00Z"',
            '"10000-01-01T00:00:00Z"',
            '"2022-01-12T02:33:23PST"',
            '"2022-01-12T02:33:23+25:00"',
            '"2022-01-12T02:33:23+01:60"',
            '"2022-01-12T02:33:23+1"',
            '"2022-01-12T02:33:23.Z"',
            '"2022-01-12 02:33:23Z"',
            '"2022-01-12T02:33:23Z\\n"',
            '"2022-01-12T02:33:23.0000000001Z"',
            '"\u0662022-01-12T02:33:23Z"',
        ],
    ),
    (
        "$binary",
        [
            '"YQ=="',
            "null",
            "{}",
            '{"base64":"YQ==","subType":"0"}',
            '{"base64":"YQ==","subType":"000"}',
            '{"base64":"YQ==","subType":"zz"}',
            '{"base64":"YQ==","subType":0}',
            '{"base64":"YQ==","subType":"00","x":1}',
            '{"base64":"YQ=="}',
            '{"base64":"YQ","subType":"00"}',
            '{"base64":"YQ=","subType":"00"}',
            '{"base64":"YQ==YQ==","subType":"00"}',
            '{"base64":"YR==","subType":"00"}',
            '{"base64":"Y Q==","subType":"00"}',
            '{"base64":"_-==","subType":"00"}',
            '{"base64":"\u00fc","subType":"00"}',
            '{"base64":1,"subType":"00"}',
            '{"base64":"YQ==\\n","subType":"00"}',
        ],
    ),
    ("$uuid", ["1", '"c8edabc3f7384ca3b68dab92a91478a3"', '"{c8edabc3-f738-4ca3-b68d-ab92a91478a3}"', '""']),
    (
        "$regularExpression",
        [
            '"a"',
            "{}",
            '{"pattern":"a"}',
            '{"pattern":"a","options":""  ,"x":1}',
            '{"pattern":1,"options":""}',
            '{"pattern":"a","options":null}',
            '{"pattern":"a\\u0000","options":""}',
            '{"pattern":"a","options":"i\\u0000"}',
            '{"pattern":"a","options":"g"}',
            '{"pattern":"a","options":"ii"}',
        ],
    ),
    (
        "$timestamp",
        [
            "1",
            "{}",
            '{"t":1}',
            '{"t":-1,"i":0}',
            '{"t":0,"i":4294967296}',
            '{"t":1.0,"i":0}',
            '{"t":true,"i":0}',
            '{"t":"1","i":0}',
            '{"t":1,"i":0,"x":0}',
            '{"t":99999999999999999999,"i":0}',
        ],
    ),
    ("$minKey", ["0", "true", "1.0", '"1"', "null"]),
    ("$maxKey", ["0", "true", "2", "{}"]),
    ("$code", ["1", "null", "{}"]),
    ("$symbol", ["1", "null"]),
    ("$undefined", ["1", "false", "null"]),
    ("$dbPointer", ["1", "{}", '{"$ref":1,"$id":{"$oid":"57e193d7a9cc81b4027498b5"}}', '{"$ref":"a","$id":"b"}']),
]


def _refusal(body: bytes) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        ejson.loads(body)
    assert caught.value.errors is not None
    [error] = caught.value.errors
    assert error["message"] in caught.value.detail
    assert error["path"] in caught.value.detail
    return error


@pytest.mark.parametrize(("name", "inner"), [(name, inner) for name, inners in WRAPPER_REFUSALS for inner in inners])
def test_loads_refuses_malformed_wrapper_and_names_its_path(name: str, inner: str) -> None:
    error = _refusal(f'{{"items":[0,{{"price":{{"{name}":{inner}}}}}]}}'.encode())
    assert error["path"] == "items[1].price"
    assert re.match(r"\$[a-zA-Z]+ takes .+; got .+", error["message"])


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ('{"a":{"$oid":"57e193d7a9cc81b4027498b5","b":1}}', "a", '$oid must stand alone in its object; remove "b"'),
        ('{"a":{"b":1,"$numberInt":"1"}}', "a", "$numberInt must stand alone"),
        ('{"a":{"$numberInt":"1","$numberLong":"1"}}', "a", "$numberInt must stand alone"),
        ('{"a":{"$code":"f","$scope":{},"x":1}}', "a", 'remove "x"'),
        ('{"a":{"$date":"2022-01-12T02:33:23Z","$type":"00"}}', "a", 'remove "$type"'),
        ('{"a":{"$code":"f","$scope":1}}', "a", "$scope takes a document"),
        ('{"a":{"$code":"f","$scope":{"$oid":"57e193d7a9cc81b4027498b5"}}}', "a", "$scope takes a document"),
        ('{"a":{"$code":"f","$scope":{"x":{"$oid":1}}}}', "a.$scope.x", "$oid takes"),
        ('{"a":{"$binary":0,"$type":"00"}}', "a", "$binary takes"),
        ('{"a":{"$binary":"YQ==","$type":0}}', "a", "$type takes"),
        ('{"a":[1,18446744073709551615]}', "a[1]", "numbers must be finite"),
        ('{"a":{"b":9223372036854775808}}', "a.b", "numbers must be finite"),
        ("-9223372036854775809", "", "numbers must be finite"),
        ('{"a":\n99999999999999999999}', "a", "numbers must be finite"),
        (f"[{'9' * 300}]", "[0]", "numbers must be finite"),
        ('{"a":[{"b\\u0000c":1}]}', "a[0].b\0c", "NUL"),
        ('{"\\u0000":"x"}', "\0", "NUL"),
        ("[1e400]", "", "not valid JSON"),
        (f"[{'9' * 5000}]", "", "not valid JSON"),
        ("NaN", "", "not valid JSON"),
        ("[-Infinity]", "", "not valid JSON"),
        ('"\\ud800"', "", "not valid JSON"),
        ('{"a":1}{"a":2}', "", "not valid JSON"),
        ("", "", "not valid JSON"),
        ("{'a':1}", "", "not valid JSON"),
        ("[" * 101 + "]" * 101, "", "nested deeper than 100 levels"),
        ('{"a":' * 101 + "99999999999999999999" + "}" * 101, "", "nested deeper than 100 levels"),
        ("[" * 1000 + '{"$oid":99999999999999999999}' + "]" * 1000, "", "nested deeper than 100 levels"),
        ("[" * 100_000, "", "not valid JSON: depth limit"),
        # Brackets in strings neither hide depth nor add to it.
        ('["]",' * 101 + '"["' + ',"["]' * 101, "", "nested deeper than 100 levels"),
    ],
)
def test_loads_refuses(text: str, path: str, words: str) -> None:
    error = _refusal(text.encode())
    assert error["path"] == path
    assert words in error["message"]


@pytest.mark.parametrize("body", [b'"\xff"', b'{"\xed\xa0\x80":1}', b"\xef\xbb\xbf{}", b"\x00", b"[1]\0"])
def test_loads_refuses_what_is_not_utf8_json(body: bytes) -> None:
    assert "not valid JSON" in _refusal(body)["message"]


def test_loads_takes_nesting_up_to_the_limit() -> None:
    assert ejson.loads(b"[" * 100 + b"]" * 100)
    assert ejson.loads(b'{"a":"' + b"[" * 5000 + b'"}') == {"a": "[" * 5000}
    assert ejson.loads(b"[[1]]", max_depth=2) == [[1]]
    with pytest.raises(InvalidInput, match="deeper than 1 levels"):
        ejson.loads(b"[[1]]", max_depth=1)


def test_refusal_shortens_what_it_quotes() -> None:
    assert len(_refusal(b'{"a":{"$oid":"' + b"x" * 10_000 + b'"}}')["message"]) < 200


def test_parse_converts_values_and_prefixes_paths() -> None:
    value = json.loads('{"a":[{"$oid":"57e193d7a9cc81b4027498b5"}],"b":{"$date":{"$numberLong":"1"}}}')
    assert ejson.parse(value) == {"a": [OID], "b": datetime(1970, 1, 1, 0, 0, 0, 1000, UTC)}
    with pytest.raises(InvalidInput) as caught:
        ejson.parse({"a": [{"$oid": 1}]}, "filter")
    assert caught.value.errors == [
        {"path": "filter.a[0]", "message": "$oid takes a string of 24 hexadecimal digits; got 1"}
    ]


@pytest.mark.parametrize(
    "value",
    [2**63, -(2**63) - 1, 10**50, [NAN], {"a": INFINITY}, "\ud800", {"\ud800": 1}, {1: 2}, {"a\0": 1}, object()],
)
def test_parse_refuses_what_bson_cannot_hold(value: Any) -> None:
    with pytest.raises(InvalidInput):
        ejson.parse(value, "limit")


def test_parse_refuses_deep_nesting() -> None:
    value: Any = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(InvalidInput):
        ejson.parse(value)
    with pytest.raises(InvalidInput, match="deeper than 100"):
        ejson.parse(json.loads("[" * 101 + "]" * 101))


@pytest.mark.parametrize(
    ("body", "may"),
    [
        (b'{"a": 1}', False),
        (b'{"a": {"$oid": "65a000000000000000000001"}, "b": {"$date": "2022-01-12T02:33:23Z"}}', False),
        (b'{"$set": {"a": 1}}', True),
        (b'{"a": {"$datex": 1}}', True),
        (b'{"\\u0024set": 1}', True),
        (b'{"a": "costs $5"}', False),
        (b'{"a": "$5"}', True),
    ],
)
def test_names_operators_never_misses_one(body, may):
    assert ejson.names_operators(body) is may
