"""Raw BSON documents, cut by their length prefixes and never decoded as a whole."""

import secrets
import struct

import bson
from bson.raw_bson import RawBSONDocument

from document.keyset import EXACT

# In answers of the database, the values that the sort saw. Nobody knows the name, so no document has such a field.
KEYS_FIELD = f"_keys_{secrets.token_hex(12)}"
KEYS_ELEMENT = b"\x04" + KEYS_FIELD.encode() + b"\0"

_LENGTH = struct.Struct("<i")


def split(batch: bytes) -> list[bytes]:
    """The documents of a batch."""
    documents, start, end = [], 0, len(batch)
    while start < end:
        length = _LENGTH.unpack_from(batch, start)[0]
        documents.append(batch[start : start + length])
        start += length
    return documents


def take_keys(document: bytes) -> tuple[bytes, bytes]:
    """A raw document without KEYS_FIELD, and the raw array that it holds."""
    start = document.rindex(KEYS_ELEMENT)
    value = start + len(KEYS_ELEMENT)
    end = value + _LENGTH.unpack_from(document, value)[0]
    rest = document[4:start] + document[end:]
    return _LENGTH.pack(len(rest) + 4) + rest, document[value:end]


def id_keys(document: bytes) -> bytes:
    """The `_id` that a raw document begins with, as the raw array of one; nothing when it cannot be told exactly."""
    found = RawBSONDocument(document, EXACT)
    if "_id" not in found:
        return b""
    element = bson.encode({"_id": found["_id"]})[4:-1]
    return bson.encode({"0": found["_id"]}) if document[4:].startswith(element) else b""
