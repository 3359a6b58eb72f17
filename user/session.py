"""Sessions: what a sign-in leaves behind. Access tokens are good while their session exists; a refresh moves it on."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

from bson import ObjectId
from mongoengine import DateTimeField, IntField, ObjectIdField, StringField

import database
from errors import EmailNotVerified, NotFound, TooManyRequests, Unauthorized
from settings import config
from user import identity, models, password, principal_cache, throttle
from user.models import User, to_text

MAX_USER_AGENT_CHARACTERS = 300
MAX_SESSIONS_PER_USER = 100


class Session(database.db.Document):  # type: ignore[misc]
    """One sign-in of one user. `generation` counts refreshes: only the newest refresh token is good."""

    meta: ClassVar[dict[str, Any]] = {"collection": "sessions", "auto_create_index": False, "strict": False}

    user = ObjectIdField(required=True)
    created_at = DateTimeField()
    last_used_at = DateTimeField()
    expires_at = DateTimeField()
    generation = IntField(default=0)
    address = StringField()
    user_agent = StringField()

    def to_answer(self, current: ObjectId) -> dict[str, Any]:
        """What its owner may see; `current` is the session that asks."""
        return {
            "id": str(self.id),
            "created_at": to_text(self.created_at),
            "last_used_at": to_text(self.last_used_at),
            "expires_at": to_text(self.expires_at),
            "address": self.address,
            "user_agent": self.user_agent,
            "current": self.id == current,
        }


def sign_in(login: object, text: object, *, address: str, user_agent: str) -> Session:
    """A new session for who knows the password; the oldest one makes room for it.

    Raises Unauthorized, the same for an unknown, a disabled and a wrong-password account and after the same work;
    TooManyRequests before any work; EmailNotVerified only after the right password.
    """
    user = models.find_user(identity.require_text(login, "login", maximum=identity.MAX_LOGIN_CHARACTERS))
    account = str(user.id) if user else f"unknown:{identity.to_key(cast(str, login))}"
    is_right = check_password(account, user, text, path="password", address=address)
    if user is None or user.disabled or not is_right:
        raise Unauthorized("Login or password is wrong.")
    if config.require_verified_email and user.email and not user.email_verified:
        raise EmailNotVerified("Confirm your e-mail address first; POST /v1/users/verify sends the link again.")
    return _start_session(user, cast(str, text), address, user_agent)


def check_password(account: str, user: User | None, text: object, *, path: str, address: str) -> bool:
    """Whether `text` is the password of `user`; wrong answers count against the account and the address."""
    given = identity.require_text(text, path, maximum=password.MAX_CHARACTERS * 4)
    with password.place():
        throttle.admit(account, address, lambda: _knows_address(user, address))
        is_right = password.matches(given, user.password_hash if user else None)
    if is_right and user is not None and not user.disabled:
        throttle.forgive(account, address)
    return is_right


def rotate_session(session_id: ObjectId, generation: int) -> Session | None:
    """The session with its next generation; None when it has ended or `generation` is not its newest."""
    now = datetime.now(UTC)
    expires_at = now + timedelta(seconds=config.refresh_token_seconds)
    found = Session.objects(id=session_id, generation=generation, expires_at__gt=now)
    moved = found.modify(new=True, inc__generation=1, set__last_used_at=now, set__expires_at=expires_at)
    return cast(Session | None, moved)


def find_session(session_id: ObjectId) -> Session | None:
    """The session with this id, unless its time is over."""
    return cast(Session | None, Session.objects(id=session_id, expires_at__gt=datetime.now(UTC)).first())


def list_sessions(user_id: ObjectId) -> list[Session]:
    """The user's sessions, the newest first."""
    found = Session.objects(user=user_id, expires_at__gt=datetime.now(UTC)).order_by("-created_at")
    return list(found.limit(MAX_SESSIONS_PER_USER))


def end_session(session_id: str | ObjectId, user_id: ObjectId) -> None:
    """End one session of this user, or NotFound. Its tokens are worthless at once."""
    if not ObjectId.is_valid(session_id) or not drop_session(ObjectId(session_id), user_id):
        raise NotFound("You have no session with this id.")


def drop_session(session_id: ObjectId, user_id: ObjectId) -> bool:
    """End one session of this user, if it is still there; whether it was."""
    was_there = bool(Session.objects(id=session_id, user=user_id).delete())
    principal_cache.forget("sessions", session_id)
    return was_there


def _start_session(user: User, text: str, address: str, user_agent: str) -> Session:
    now = datetime.now(UTC)
    expires_at = now + timedelta(seconds=config.refresh_token_seconds)
    session = Session(user=user.id, created_at=now, last_used_at=now, expires_at=expires_at, generation=0)
    session.address, session.user_agent = address, user_agent[:MAX_USER_AGENT_CHARACTERS]
    session.save(force_insert=True)
    # The password may have been changed, or the account disabled, while this sign-in was checking the old one.
    if User.objects(id=user.id, password_hash=user.password_hash, disabled__ne=True).first() is None:
        drop_session(session.id, user.id)
        raise Unauthorized("Login or password is wrong.")
    _renew_hash(user, text)
    _end_oldest_sessions(session)
    return session


def _renew_hash(user: User, text: str) -> None:
    if password.is_outdated(user.password_hash):
        # It can as well be done at the next sign-in.
        with contextlib.suppress(TooManyRequests), password.place_for_new():
            models.store_hash(user, password.hash_password(text))


def _end_oldest_sessions(session: Session) -> None:
    """Leave the user this new session, and of the others only the newest that are allowed beside it."""
    kept = 0 if config.single_session else MAX_SESSIONS_PER_USER - 1
    others = Session.objects(user=session.user, id__ne=session.id).order_by("-created_at")
    if ids := [each.id for each in others.skip(kept).only("id")]:
        Session.objects(id__in=ids).delete()
        principal_cache.forget("sessions", *ids)


def _knows_address(user: User | None, address: str) -> bool:
    """Whether the user is signed in from this address already."""
    return user is not None and Session.objects(user=user.id, address=address).first() is not None
