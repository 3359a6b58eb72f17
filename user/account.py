"""What people do with accounts: sign up, change and delete their own, and as admins those of others."""

from typing import Any

from bson import ObjectId

from errors import Forbidden
from settings import config
from user import models, recovery, throttle
from user.identity import invalid
from user.models import User
from user.principal import Principal
from user.session import check_password


def sign_up(sent: dict[str, Any], asking: Principal, address: str) -> User:
    """A new account, its confirmation e-mail under way.

    Raises Forbidden where sign-up is closed and no admin asks, TooManyRequests before any work.
    """
    is_admin = asking.kind == "user" and asking.is_admin
    if config.sign_up == "closed" and not is_admin:
        raise Forbidden("Sign-up is closed here: ask an admin for an account.")
    if not is_admin:
        throttle.admit_sign_up(address)
        _require_email(sent.get("email"))
    names = {name: sent.get(name) for name in ("email", "username", "name")}
    user = models.create_user(**names, password=sent["password"])
    recovery.send_confirmation(user, None if is_admin else address)
    return user


def change_own(user: User, changes: dict[str, Any], address: str) -> User:
    """One's own account, changed. Another e-mail address wants `current_password`, since links to sign in go there."""
    if "email" in changes:
        _require_email(changes["email"])
        _prove(user, changes.get("current_password"), "current_password", address)
    return change(user, {name: value for name, value in changes.items() if name != "current_password"}, address)


def change(user: User, changes: dict[str, Any], address: str | None = None) -> User:
    """The account, changed; with a new e-mail address, its confirmation is under way.

    `address` is from where it was asked, None for an admin, who may have any number of e-mails sent.
    """
    email_before = user.email
    models.change_user(user, changes)
    if user.email != email_before:
        recovery.send_confirmation(user, address)
    return user


def change_password(user: User, sent: dict[str, Any], address: str, *, keep_session: ObjectId) -> None:
    """Replace `current_password` by `new_password` and end all sessions but `keep_session`."""
    _prove(user, sent["current_password"], "current_password", address)
    models.set_password(user, sent["new_password"], path="new_password", keep_session=keep_session)


def delete_own(user: User, password: object, address: str, *, with_documents: bool) -> None:
    """Delete one's own account, see `models.delete_user`."""
    _prove(user, password, "password", address)
    models.delete_user(user, with_documents=with_documents)


def _prove(user: User, password: object, path: str, address: str) -> None:
    """Forbidden unless `password` is the user's; wrong ones count as failed sign-ins."""
    if not check_password(str(user.id), user, password, path=path, address=address):
        raise Forbidden("The password is wrong.", [{"path": path, "message": "is wrong"}])


def _require_email(email: object) -> None:
    if config.require_verified_email and email is None:
        raise invalid("email", "is needed here, since it has to be confirmed before sign-in")
