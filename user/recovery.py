"""E-mailed links: confirming an address, and choosing a new password. What happens is the same for unknown accounts.

Requests only put the work into the outbox; whether there is such an account is looked up there, so that no answer and
no response time tells.
"""

import hashlib
import hmac
import logging
import time
from typing import Any

from bson import ObjectId

from errors import Unauthorized
from user import identity, mail, models, throttle, tokens
from user.identity import invalid
from user.models import User

logger = logging.getLogger("sheaf.mail")

VERIFY_SECONDS = 24 * 3600
RESET_SECONDS = 3600


def request_verification(sent: dict[str, Any], address: str) -> None:
    """Send a new link to `email` if an account waits for it to be confirmed."""
    if "email" not in sent:
        raise invalid("token", "or 'email' is needed")
    email_key = identity.to_key(identity.clean_email(sent["email"]))
    mail.require_server()
    throttle.admit_mail(f"verify:{email_key}", address)
    mail.put(_deliver_verification, email_key)


def verify_email(sent: dict[str, Any]) -> None:
    """Confirm the address that the link's `token` was sent to; harmless when repeated."""
    _refuse_others(sent, {"token"})
    claims = tokens.read(sent["token"], "verify", required=("email",))
    if not models.confirm_email(ObjectId(claims["sub"]), claims["email"]):
        raise Unauthorized("The confirmation link is no longer valid: the account has another address, or is gone.")


def send_confirmation(user: User, address: str | None) -> None:
    """Send the first link to a new e-mail address, where e-mail is set up; not too often to it, nor from `address`.

    None instead of an address is for admins, whose mails are not counted against any.
    """
    if not user.email or not mail.has_server():
        return
    if throttle.has_room_for_mail(f"verify:{user.email_key}", address):
        mail.put(_deliver_verification, user.email_key)
    else:
        logger.warning("a confirmation was not sent: too many e-mails this hour to one account or from one address")


def request_reset(sent: dict[str, Any], address: str) -> None:
    """Send a link to the e-mail address of the account `login` (or `email`), if there is one."""
    if not ("login" in sent) ^ ("email" in sent):
        raise invalid("login", "or 'email' is needed, or a 'token' with the new 'password'")
    path = "login" if "login" in sent else "email"
    _refuse_others(sent, {path})
    login = identity.require_text(sent[path], path, maximum=identity.MAX_LOGIN_CHARACTERS)
    mail.require_server()
    throttle.admit_mail(_count_as(login), address)
    mail.put(_deliver_reset, login)


def reset_password(sent: dict[str, Any]) -> None:
    """Give the account of the link's `token` the new `password`, end its sessions and keys. A link is good once."""
    _refuse_others(sent, {"token", "password"})
    claims = tokens.read(sent["token"], "reset", required=("fingerprint",))
    user = User.objects(id=ObjectId(claims["sub"]), disabled__ne=True).first()
    if user is None or not hmac.compare_digest(_fingerprint(user), claims["fingerprint"]):
        raise Unauthorized("The password reset link was used, or is out of date; ask for a new one.")
    models.recover(user, sent.get("password"))


def _deliver_verification(email_key: str) -> None:
    user = User.objects(email_key=email_key, disabled__ne=True).first()
    if user is None or user.email_verified:
        return
    token = tokens.issue("verify", user.id, int(time.time()) + VERIFY_SECONDS, email=user.email_key)
    mail.send(
        user.email,
        "Confirm your e-mail address",
        "Please confirm that this e-mail address belongs to your account. The link is good for 24 hours:",
        mail.link("verify", token),
    )


def _deliver_reset(login: str) -> None:
    user = models.find_user(login)
    if user is None or user.disabled or not user.email:
        return
    # The account has up to three logins, each counted by itself until here. What is counted here is seen in no answer.
    if not throttle.has_room_for_mail(f"reset-of:{user.id}"):
        logger.warning("a password reset link was not sent: too many e-mails this hour to one account")
        return
    expires_at = int(time.time()) + RESET_SECONDS
    token = tokens.issue("reset", user.id, expires_at, fingerprint=_fingerprint(user))
    mail.send(
        user.email,
        "Choose a new password",
        "Somebody, we hope you, asked for a new password for your account. The link is good once, for one hour:",
        mail.link("reset", token),
    )


def _count_as(login: str) -> str:
    """What e-mails for `login` are counted under: the same for all its spellings."""
    field, value = identity.find_key(login) or ("unknown", identity.to_key(login))
    return f"reset:{field}:{value}"


def _fingerprint(user: User) -> str:
    """Changes with the password and the e-mail address, so that a link ends with either."""
    return hashlib.sha256(f"{user.password_hash}\n{user.email_key}".encode()).hexdigest()


def _refuse_others(sent: dict[str, Any], known: set[str]) -> None:
    for name in sent.keys() - known:
        raise invalid(name, "does not go with the other members sent")
