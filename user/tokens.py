"""Tokens and keys as credentials: who is behind one, and the signed tokens (JWT, RFC 7519) that the service gives out.

`authenticate_bearer` and `authenticate_key` run on every request: what was proven once is kept until a change to its
session, key or user ends it (`principal_cache`).
"""

import math
import re
import time
from typing import Any, Literal

import jwt
from bson import ObjectId

import watcher
from errors import RefreshTokenReused, Unauthorized
from settings import config
from user import key, session
from user.models import User
from user.principal import Principal
from user.principal_cache import of_keys, of_tokens
from user.session import Session

ALGORITHM = "HS256"
# Three parts in base64url without padding (RFC 7515, section 7.1). PyJWT reads other spellings, too, and each would be
# kept by itself. 43 characters stand for the signature's 32 bytes, two bits of the last one for nothing.
SPELLING = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
Use = Literal["access", "refresh", "verify", "reset"]
NAMES: dict[Use, str] = {
    "access": "access token",
    "refresh": "refresh token",
    "verify": "confirmation link",
    "reset": "password reset link",
}
ADVICE: dict[Use, str] = {
    "access": "refresh it with POST /v1/sessions/refresh",
    "refresh": "sign in again",
    "verify": "ask for a new one",
    "reset": "ask for a new one",
}


def authenticate_bearer(token: str) -> Principal:
    """The user behind an access token, or Unauthorized."""
    watcher.ensure_running()
    return of_tokens.get(token, max_age_seconds=watcher.max_age_seconds()) or _prove_token(token)


def authenticate_key(text: str) -> Principal:
    """The user for whom an API key acts, or Unauthorized."""
    watcher.ensure_running()
    return of_keys.get(text, max_age_seconds=watcher.max_age_seconds()) or _prove_key(text)


def issue_pair(found: Session) -> dict[str, Any]:
    """The answer to a sign-in or refresh (RFC 6749, section 5.1)."""
    now, ends_at = int(time.time()), int(found.expires_at.timestamp())
    access_ends_at = min(now + config.access_token_seconds, ends_at)
    session_id = str(found.id)
    return {
        "access_token": issue("access", found.user, access_ends_at, sid=session_id),
        "refresh_token": issue("refresh", found.user, ends_at, sid=session_id, gen=found.generation),
        "token_type": "Bearer",
        "expires_in": access_ends_at - now,
    }


def refresh(token: object) -> Session:
    """The refresh token's session, moved on by one generation.

    Raises Unauthorized; RefreshTokenReused for a token that was used before, which also ends the session: whoever holds
    the newer one may be the thief (RFC 9700, section 4.14.2).
    """
    claims = read(token, "refresh", required=("sid", "gen"))
    session_id, user_id = ObjectId(claims["sid"]), ObjectId(claims["sub"])
    moved = session.rotate_session(session_id, claims["gen"])
    if moved is None:
        if session.find_session(session_id) is None:
            raise Unauthorized("The session has ended; sign in again.")
        session.drop_session(session_id, user_id)
        raise RefreshTokenReused("This refresh token was used before, so its session was ended; sign in again.")
    _find_active_user(user_id)
    return moved


def issue(use: Use, user_id: ObjectId, ends_at: int, **claims: Any) -> str:
    """A signed token for one use only, good until `ends_at` (Unix time)."""
    return jwt.encode({"use": use, "sub": str(user_id), "exp": ends_at, **claims}, config.secret_key, ALGORITHM)


def read(token: object, use: Use, *, required: tuple[str, ...]) -> dict[str, Any]:
    """The claims of a token that this service signed for `use` and whose time is not over, or Unauthorized."""
    name = NAMES[use]
    if not isinstance(token, str):
        raise Unauthorized(f"The {name} is not valid: it must be a string.")
    if not SPELLING.fullmatch(token):
        raise Unauthorized(f"The {name} is not valid.")
    try:
        options: Any = {"require": ["exp", "sub", "use", *required]}
        claims = jwt.decode(token, config.secret_key, algorithms=[ALGORITHM], options=options)
    except jwt.ExpiredSignatureError:
        raise Unauthorized(f"The {name} has expired; {ADVICE[use]}.") from None
    # RecursionError: PyJWT parses the header, as deep as it may be nested, before it looks at the signature.
    except (jwt.InvalidTokenError, RecursionError):
        raise Unauthorized(f"The {name} is not valid.") from None
    if claims["use"] != use:
        raise Unauthorized(f"This is not a {name}, but another of this service's tokens.")
    return claims


def _prove_token(token: str) -> Principal:
    claims = read(token, "access", required=("sid",))
    session_id, user_id = ObjectId(claims["sid"]), ObjectId(claims["sub"])
    generation = of_tokens.generation
    found = session.find_session(session_id)
    if found is None or found.user != user_id:
        raise Unauthorized("The session has ended; sign in again.")
    user = _find_active_user(user_id)
    proven = Principal("user", user.id, frozenset(user.roles), session_id=found.id)
    tags = (("sessions", found.id), ("users", user.id))
    of_tokens.put(token, proven, ends_at=claims["exp"], tags=tags, generation=generation)
    return proven


def _prove_key(text: str) -> Principal:
    generation = of_keys.generation
    found = key.find_key(text)
    if found is None:
        raise Unauthorized("The API key is not known, or has expired or been revoked.")
    user = _find_active_user(found.user)
    proven = Principal("key", user.id, frozenset(user.roles), key_id=found.id, is_read_only=found.read_only)
    ends_at = found.expires_at.timestamp() if found.expires_at else math.inf
    tags = (("keys", found.id), ("users", user.id))
    of_keys.put(text, proven, ends_at=ends_at, tags=tags, generation=generation)
    return proven


def _find_active_user(user_id: ObjectId) -> User:
    user: User | None = User.objects(id=user_id).first()
    if user is None or user.disabled:
        raise Unauthorized("The account is disabled or was deleted.")
    return user
