"""The opaque tokens by which a list goes on: where the last page ended, signed, and good for one filter and sort only.

Nothing in a token is secret, and none lets anybody see more: the caller's permit goes into every query, as always.
"""

import dataclasses
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import bson

from access.models import Permit
from errors import InvalidInput
from settings import config

PURPOSE = b"page token 1\0"
MAC_BYTES = 16
MAX_CHARACTERS = 3000

# Flags of the first byte.
_HAS_KEYS, _ENDS_TIE, _IN_SORT_ONLY = 1, 2, 4


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins."""

    keys: bytes = b""
    """Values of the sort's fields in the document before, as a raw BSON array with the `_id` last; or none."""
    ends_tie: bool = False
    """No document with the same values is left: `keys` have no `_id`, and what follows differs in them."""
    skip: int = 0
    """How many documents to pass over from there."""
    in_sort_only: bool = False
    """`skip` counts in the sort without the `_id` as tie-breaker."""


BEGINNING = Place()


def fingerprint(
    permit: Permit, query: dict[str, Any], sort: list[tuple[str, Any]] | None, options: dict[str, Any]
) -> bytes:
    """What a token is bound to: the collection, the filter, the sort and what changes their meaning."""
    # Types count: {"n": 1} and {"n": 1.0} are two filters.
    meaning = {name: value for name, value in options.items() if name != "comment"}
    asked = {"filter": query, "sort": [*(sort or [])], "options": meaning}
    return bson.encode({"of": [permit.database, permit.collection], **asked})


def write(place: Place, bound_to: bytes) -> str | None:
    """The token for a place; None when its values are too long to go into a URL."""
    flags = _HAS_KEYS * bool(place.keys) | _ENDS_TIE * place.ends_tie | _IN_SORT_ONLY * place.in_sort_only
    content = bytes([flags]) + place.skip.to_bytes(8, "big") + place.keys
    token = urlsafe_b64encode(_mac(content, bound_to) + content).rstrip(b"=").decode()
    return token if len(token) <= MAX_CHARACTERS else None


def read(token: str, bound_to: bytes) -> Place:
    """The place a token stands for. Raises InvalidInput unless this service made it, for this very list."""
    try:
        decoded = urlsafe_b64decode(token + "=" * (-len(token) % 4)) if len(token) <= MAX_CHARACTERS else b""
    except ValueError:
        decoded = b""
    mac, content = decoded[:MAC_BYTES], decoded[MAC_BYTES:]
    # Encoded anew, since base64 takes more than one spelling.
    is_canonical = urlsafe_b64encode(decoded).rstrip(b"=").decode() == token
    if not is_canonical or not hmac.compare_digest(mac, _mac(content, bound_to)):
        raise InvalidInput(
            "'after' is not a token of this list: take `next` of its last page, and send the filter, sort and options "
            "it was made with.",
            [{"path": "after", "message": "is not a token of this list"}],
        )
    flags = content[0]
    return Place(
        keys=content[9:] if flags & _HAS_KEYS else b"",
        ends_tie=bool(flags & _ENDS_TIE),
        skip=int.from_bytes(content[1:9], "big"),
        in_sort_only=bool(flags & _IN_SORT_ONLY),
    )


def _mac(content: bytes, bound_to: bytes) -> bytes:
    key = PURPOSE + config.secret_key.encode()
    return hmac.digest(key, sha256(bound_to).digest() + content, "sha256")[:MAC_BYTES]
