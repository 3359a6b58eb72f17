"""Accounts: the stored user, and everything that may happen to one. Sessions and keys are beside it."""

import re
import time
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

import pymongo
from bson import ObjectId
from mongoengine import BooleanField, DateTimeField, ListField, NotUniqueError, Q, StringField
from mongoengine.errors import SaveConditionError
from pymongo.errors import PyMongoError

import database
from access.models import OWNER_FIELD
from errors import Conflict, NotFound
from settings import config
from user import identity, password, principal_cache
from user.identity import invalid

ADMIN = "admin"
ROLE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
MAX_ROLES = 50
CHANGEABLE = ("email", "email_key", "email_verified", "username", "username_key", "name", "roles", "disabled")
# Other processes have forgotten a disabled user after this time (see watcher.py).
EFFECTIVE_EVERYWHERE_SECONDS = 1.0
DELETE_DOCUMENTS_SECONDS = 600


class User(database.db.Document):  # type: ignore[misc]
    """An account. The keys are the lower-cased copies that the unique indexes of migration m0001 stand on."""

    meta: ClassVar[dict[str, Any]] = {"collection": "users", "auto_create_index": False, "strict": False}

    email = StringField()
    email_key = StringField()
    email_verified = BooleanField(default=False)
    username = StringField()
    username_key = StringField()
    name = StringField()
    password_hash = StringField()
    roles = ListField(StringField())
    disabled = BooleanField(default=False)
    created_at = DateTimeField(default=lambda: datetime.now(UTC))

    @property
    def is_active_admin(self) -> bool:
        """Whether this account may administer the service."""
        return ADMIN in self.roles and not self.disabled

    def to_answer(self) -> dict[str, Any]:
        """What callers may see of the account."""
        return {
            "id": str(self.id),
            "email": self.email,
            "email_verified": self.email_verified,
            "username": self.username,
            "name": self.name,
            "roles": list(self.roles),
            "disabled": self.disabled,
            "created_at": to_text(self.created_at),
        }


def to_text(moment: datetime | None) -> str | None:
    """A moment as RFC 3339 text in UTC with milliseconds, which is what MongoDB keeps."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def create_user(
    *, email: object, username: object, password: object, name: object = None, roles: object = None
) -> User:
    """A new account. Raises InvalidInput for a bad value and Conflict for a taken e-mail address or username."""
    user = User(roles=_clean_roles(roles or []))
    _set_names(user, {"email": email, "username": username, "name": name})
    accepted = _check_password(user, password)
    # Hashing is dear. Of two who take the name at once, both get past this, and the unique index lets in one.
    _refuse_taken_names(user)
    _hash_password(user, accepted)
    try:
        user.save(force_insert=True)
    except NotUniqueError as failure:
        raise _taken(_find_taken(failure)) from failure
    return user


def find_user(login: str) -> User | None:
    """The account with this e-mail address, username or id."""
    found = identity.find_key(login)
    return cast(User | None, User.objects(**dict([found])).first()) if found else None


def get_user(user_id: str | ObjectId) -> User:
    """The account with this id, or NotFound."""
    found = User.objects(id=ObjectId(user_id)).first() if ObjectId.is_valid(user_id) else None
    if found is None:
        raise NotFound("There is no user with this id.")
    return cast(User, found)


def list_users(*, limit: int | None = None, after: ObjectId | None = None, login: str | None = None) -> list[User]:
    """Accounts in the order of their ids: up to `limit`, after `after`, with a login that begins with `login`."""
    found = User.objects(id__gt=after) if after else User.objects
    if login:
        prefix = re.compile("^" + re.escape(identity.to_key(login)))
        found = found.filter(Q(email_key=prefix) | Q(username_key=prefix))
    return list(found.order_by("id").limit(limit))


def has_admin() -> bool:
    """Whether anybody can administer the service."""
    return User.objects(roles=ADMIN, disabled__ne=True).first() is not None


def change_user(user: User, changes: dict[str, Any]) -> None:
    """Change `email`, `username`, `name` (None removes one), `roles`, `disabled`: all of it, or with a failure nothing.

    A new e-mail address is unconfirmed. Disabling ends the sessions; keys rest. Raises InvalidInput, and Conflict for a
    name that is taken or when nobody would be admin any more.
    """
    was_admin, before = user.is_active_admin, {field: getattr(user, field) for field in CHANGEABLE}
    _set_names(user, changes)
    if user.email_key != before["email_key"]:
        user.email_verified = False
    if "roles" in changes:
        user.roles = _clean_roles(changes["roles"])
    if "disabled" in changes:
        user.disabled = _clean_flag(changes["disabled"], "disabled")
    _save_keeping_an_admin(user, was_admin, before)
    if user.disabled:
        _end_sessions(user)


def set_disabled(user: User, disabled: bool) -> None:
    """Lock the account out, or let it in again. Its sessions end; its keys rest. Conflict for the last admin."""
    change_user(user, {"disabled": disabled})


def set_roles(user: User, roles: list[str]) -> None:
    """Give the account exactly these roles. Conflict when nobody would be admin any more."""
    change_user(user, {"roles": roles})


def set_password(user: User, password: object, *, path: str = "password", keep_session: ObjectId | None = None) -> None:
    """Change the password and end all sessions but `keep_session`.

    Raises InvalidInput for a weak one, and Conflict when it was changed by somebody else since `user` was read.
    """
    before = user.password_hash
    _hash_password(user, _check_password(user, password, path))
    _save(user, password_hash=before)
    _end_sessions(user, keep_session)


def recover(user: User, password: object) -> None:
    """Give a new password to who proved to receive the account's e-mail, and end all its sessions and keys.

    Whoever made the account may not be who receives its e-mail, or somebody else came to know the password. Raises as
    `set_password` does.
    """
    before = user.password_hash
    _hash_password(user, _check_password(user, password))
    user.email_verified = True
    # Before, since a failure in between must not leave those of a thief; and after, for what was made meanwhile.
    _end_sessions_and_keys(user)
    _save(user, password_hash=before, email_key=user.email_key)
    _end_sessions_and_keys(user)


def store_hash(user: User, text: str) -> None:
    """Replace the hash by one of the same password with today's parameters, unless it was changed meanwhile."""
    User.objects(id=user.id, password_hash=user.password_hash).update_one(set__password_hash=text)


def confirm_email(user_id: ObjectId, email_key: str) -> bool:
    """Note that the account's e-mail address is the owner's; False if the account has another one by now."""
    found = User.objects(id=user_id, email_key=email_key, disabled__ne=True)
    return bool(found.update_one(set__email_verified=True, full_result=True).matched_count)


def delete_user(user: User, *, with_documents: bool) -> None:
    """Remove the account, its sessions and keys, and with `with_documents` all it owns in the open databases.

    The account is locked first, so nothing new can appear. If removing the documents fails it is unlocked again, so
    that its owner can repeat it.
    """
    was_admin, before = user.is_active_admin, {"disabled": user.disabled}
    user.disabled = True
    _save_keeping_an_admin(user, was_admin, before)
    if with_documents:
        try:
            time.sleep(EFFECTIVE_EVERYWHERE_SECONDS)
            _delete_documents(user)
        except PyMongoError:
            user.disabled = before["disabled"]
            _save(user)
            raise
    service = database.service()
    service["keys"].delete_many({"user": user.id})
    service["sessions"].delete_many({"user": user.id})
    user.delete()
    principal_cache.forget("users", user.id)


def _delete_documents(user: User) -> None:
    """Delete what the user owns. Views hold nothing, and MongoDB 6 cannot delete from time series by this field."""
    with pymongo.timeout(DELETE_DOCUMENTS_SECONDS):
        for name in sorted(config.open_database_names):
            opened = database.client()[name]
            for collection in opened.list_collection_names(filter={"type": "collection"}):
                if not collection.startswith("system."):
                    opened[collection].delete_many({OWNER_FIELD: user.id})


def _set_names(user: User, changes: dict[str, object]) -> None:
    if "email" in changes:
        user.email = identity.clean_email(changes["email"]) if changes["email"] is not None else None
        user.email_key = identity.to_key(user.email) if user.email else None
    if "username" in changes:
        user.username = identity.clean_username(changes["username"]) if changes["username"] is not None else None
        user.username_key = identity.to_key(user.username) if user.username else None
    if "name" in changes:
        user.name = identity.clean_name(changes["name"]) if changes["name"] is not None else None
    if not user.email and not user.username and not changes.keys().isdisjoint(("email", "username")):
        raise invalid("email", "or 'username' is needed: an account has at least one of them")


def _refuse_taken_names(user: User) -> None:
    if user.email_key and User.objects(email_key=user.email_key).first():
        raise _taken("email")
    if user.username_key and User.objects(username_key=user.username_key).first():
        raise _taken("username")


def _check_password(user: User, text: object, path: str = "password") -> str:
    return password.check_policy(text, names=(user.email, user.username, user.name), path=path)


def _hash_password(user: User, accepted: str) -> None:
    with password.place_for_new():
        user.password_hash = password.hash_password(accepted)


def _clean_roles(value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_ROLES:
        raise invalid("roles", f"must be an array of at most {MAX_ROLES} names")
    if not all(isinstance(role, str) and ROLE.fullmatch(role) for role in value):
        raise invalid("roles", "must hold names of lower-case letters, digits, dots, hyphens or underscores")
    return sorted(set(value))


def _clean_flag(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(path, "must be true or false")
    return value


def _save(user: User, **condition: Any) -> None:
    """Store what was changed, if the account is still there and as `condition` says."""
    try:
        # Without a condition MongoEngine would store an account anew that was deleted meanwhile.
        user.save(save_condition={"id": user.id, **condition})
    except NotUniqueError as failure:
        raise _taken(_find_taken(failure)) from failure
    except SaveConditionError:
        raise Conflict("The account was changed or deleted by somebody else just now; try again.") from None
    principal_cache.forget("users", user.id)


def _save_keeping_an_admin(user: User, was_admin: bool, before: dict[str, Any]) -> None:
    """Save, but take it back with Conflict when no admin is left.

    Looking afterwards is safe without a transaction: of two admins who demote each other at once, both stay.
    """
    _save(user)
    if was_admin and not user.is_active_admin and not has_admin():
        for field, value in before.items():
            setattr(user, field, value)
        _save(user)
        raise Conflict("This is the last admin: make somebody else admin first.")


def _end_sessions(user: User, keep_session: ObjectId | None = None) -> None:
    database.service()["sessions"].delete_many({"user": user.id, "_id": {"$ne": keep_session}})
    principal_cache.forget("users", user.id)


def _end_sessions_and_keys(user: User) -> None:
    # The sessions first: `key.create_key` takes a key back whose session has ended.
    _end_sessions(user)
    database.service()["keys"].delete_many({"user": user.id})
    principal_cache.forget("users", user.id)


def _find_taken(failure: NotUniqueError) -> str:
    """The member of the body whose unique index refused the account."""
    details = getattr(failure.__context__, "details", None) or {}
    return "email" if "email_key" in details.get("keyPattern", {}) else "username"


def _taken(path: str) -> Conflict:
    return Conflict(f"This {path} is taken.", [{"path": path, "message": "is taken"}])
