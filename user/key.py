"""API keys: long-lived credentials that act for the user who made them. Stored as SHA-256, shown once."""

import hashlib
import re
import secrets
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from bson import ObjectId
from mongoengine import BooleanField, DateTimeField, ObjectIdField, StringField

import database
from errors import ApiError, Conflict, NotFound, Unauthorized
from user import identity, principal_cache, session
from user.identity import invalid
from user.models import to_text

PATTERN = re.compile(r"sheaf_[A-Za-z0-9_-]{43}")
VISIBLE_CHARACTERS = 12
MAX_KEYS_PER_USER = 100


class Key(database.db.Document):  # type: ignore[misc]
    """An API key without the key itself; `prefix` is what its owner can recognise it by."""

    meta: ClassVar[dict[str, Any]] = {"collection": "keys", "auto_create_index": False, "strict": False}

    user = ObjectIdField(required=True)
    name = StringField(required=True)
    key_hash = StringField(required=True)
    prefix = StringField()
    read_only = BooleanField(default=False)
    expires_at = DateTimeField()
    created_at = DateTimeField()

    def to_answer(self) -> dict[str, Any]:
        """What its owner may see again."""
        return {
            "id": str(self.id),
            "name": self.name,
            "prefix": self.prefix,
            "read_only": self.read_only,
            "expires_at": to_text(self.expires_at),
            "created_at": to_text(self.created_at),
        }


def create_key(
    user_id: ObjectId,
    *,
    name: object,
    read_only: object = False,
    expires_at: object = None,
    session_id: ObjectId | None = None,
) -> tuple[Key, str]:
    """A new key of this user, and its text, which nobody can read again.

    Raises Conflict for one too many, and Unauthorized when the session that asks, if one does, has ended meanwhile.
    """
    text = "sheaf_" + secrets.token_urlsafe(32)
    key = Key(user=user_id, name=identity.clean_name(name), key_hash=hash_key(text), prefix=text[:VISIBLE_CHARACTERS])
    if not isinstance(read_only, bool):
        raise invalid("read_only", "must be true or false")
    key.read_only, key.expires_at, key.created_at = read_only, _clean_expiry(expires_at), datetime.now(UTC)
    _refuse_more_than(MAX_KEYS_PER_USER - 1, user_id)
    key.save(force_insert=True)
    try:
        # Of keys made at once, the last one sees all others.
        _refuse_more_than(MAX_KEYS_PER_USER, user_id)
        _require_session(session_id)
    except ApiError:
        key.delete()
        raise
    return key, text


def find_key(text: str) -> Key | None:
    """The stored key with this text, unless its time is over."""
    if not PATTERN.fullmatch(text):
        return None
    found = cast(Key | None, Key.objects(key_hash=hash_key(text)).first())
    return found if found and (found.expires_at is None or found.expires_at > datetime.now(UTC)) else None


def list_keys(user_id: ObjectId) -> list[Key]:
    """The user's keys, the oldest first."""
    return list(Key.objects(user=user_id).order_by("id"))


def rename_key(key_id: str, user_id: ObjectId, name: object) -> Key:
    """Give one key of this user another name, or NotFound."""
    renamed = Key.objects(id=_read_id(key_id), user=user_id).modify(new=True, set__name=identity.clean_name(name))
    if renamed is None:
        raise NotFound("You have no API key with this id.")
    return cast(Key, renamed)


def revoke_key(key_id: str, user_id: ObjectId) -> None:
    """Delete one key of this user, or NotFound. It is worthless at once."""
    found = _read_id(key_id)
    if not Key.objects(id=found, user=user_id).delete():
        raise NotFound("You have no API key with this id.")
    principal_cache.forget("keys", found)


def hash_key(text: str) -> str:
    """What is stored of a key. It holds 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_more_than(count: int, user_id: ObjectId) -> None:
    if Key.objects(user=user_id).count() > count:
        raise Conflict(f"An account may have {MAX_KEYS_PER_USER} keys; delete one first.")


def _require_session(session_id: ObjectId | None) -> None:
    """Unauthorized when the session has ended: a reset of the password must not miss a key made just then."""
    if session_id is not None and session.find_session(session_id) is None:
        raise Unauthorized("The session has ended; sign in again.")


def _read_id(text: str) -> ObjectId:
    if not ObjectId.is_valid(text):
        raise NotFound("You have no API key with this id.")
    return ObjectId(text)


def _clean_expiry(value: object) -> datetime | None:
    """A moment in the future: an Extended JSON date or RFC 3339 text with an offset."""
    if value is None:
        return None
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise invalid("expires_at", "must be a date such as 2030-01-31T12:00:00Z")
    if moment <= datetime.now(UTC):
        raise invalid("expires_at", "must be in the future")
    return moment
