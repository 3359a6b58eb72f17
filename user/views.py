"""HTTP for accounts: `/v1/users`."""

from bson import ObjectId
from flask import Blueprint, Response, request

import wire
from access.guard import authenticate, public, require
from errors import Conflict, Forbidden, NotFound, NotImplementedHere, TooManyRequests, Unauthorized
from openapi import describe
from settings import config
from user import account, caller, models, pages, recovery, schemas

blueprint = Blueprint("user", __name__)

OWN_MEMBERS = ("email", "username", "name", "current_password")
ADMIN_MEMBERS = ("email", "username", "name", "roles", "disabled")


@blueprint.post("")
@public
@describe(body=schemas.SIGN_UP, answers={201: schemas.USER}, errors=(Forbidden, Conflict, TooManyRequests))
def sign_up() -> Response:
    """Create an account with an e-mail address, a username or both, and a password of 10 to 128 characters.

    Where sign-up is closed (`SHEAF_SIGN_UP`), only admins may do this. With an e-mail address, a link to confirm it is
    sent. Sign-ups from one address are limited (`SHEAF_SIGN_UPS_PER_ADDRESS`), those that admins ask for are not.
    """
    asking = authenticate(request.environ)
    sent = wire.read_object(required=("password",), optional=("email", "username", "name"))
    user = account.sign_up(sent, asking, request.remote_addr or "")
    return wire.reply(user.to_answer(), 201, {"Location": f"/v1/users/{user.id}"})


@blueprint.get("/me")
@require("session")
@describe(answers={200: schemas.USER})
def show_me() -> Response:
    """Show one's own account."""
    wire.parameters()
    return wire.reply(caller.user().to_answer())


@blueprint.patch("/me")
@require("session")
@describe(body=schemas.OWN_CHANGES, answers={200: schemas.USER}, errors=(Forbidden, Conflict, TooManyRequests))
def change_me() -> Response:
    """Change one's own name, username or e-mail address.

    Another e-mail address needs `current_password`; it counts as unconfirmed until the link sent to it was followed.
    """
    sent = wire.read_object(optional=OWN_MEMBERS)
    return wire.reply(account.change_own(caller.user(), sent, request.remote_addr or "").to_answer())


@blueprint.put("/me/password")
@require("session")
@describe(body=schemas.NEW_PASSWORD, answers={204: None}, errors=(Forbidden, TooManyRequests))
def change_password() -> Response:
    """Change one's own password. All other sessions end; the one that asks goes on."""
    sent = wire.read_object(required=("current_password", "new_password"))
    account.change_password(caller.user(), sent, request.remote_addr or "", keep_session=caller.session_id())
    return wire.no_content()


@blueprint.delete("/me")
@require("session")
@describe(
    query={"documents": schemas.DOCUMENTS},
    body=schemas.PROOF,
    answers={204: None},
    errors=(Forbidden, Conflict, TooManyRequests),
)
def delete_me() -> Response:
    """Delete one's own account with its sessions and keys; with `documents=delete` also every document it owns."""
    with_documents = _with_documents()
    sent = wire.read_object(required=("password",))
    account.delete_own(caller.user(), sent["password"], request.remote_addr or "", with_documents=with_documents)
    return wire.no_content()


@blueprint.get("/verify")
@public
@describe(answers={200: None}, content_types=("text/html",))
def open_confirmation_page() -> Response:
    """The page behind a confirmation link: it sends the link's token on when its button is pressed."""
    return pages.show("verify")


@blueprint.post("/verify")
@public
@describe(
    body=schemas.VERIFY,
    answers={202: schemas.ACCEPTED, 204: None},
    errors=(Unauthorized, TooManyRequests, NotImplementedHere),
)
def verify_email() -> Response:
    """Confirm an e-mail address with the `token` of a link, or ask with `email` for a new link.

    Asking always gets the same answer, whether or not there is such an account.
    """
    sent = wire.read_object(optional=("token", "email"))
    if "token" in sent:
        recovery.verify_email(sent)
        return wire.no_content()
    recovery.request_verification(sent, request.remote_addr or "")
    return wire.reply({"detail": "If an account waits for this address to be confirmed, a link is on its way."}, 202)


@blueprint.get("/reset")
@public
@describe(answers={200: None}, content_types=("text/html",))
def open_reset_page() -> Response:
    """The page behind a password reset link: it asks for the new password and sends it with the link's token."""
    return pages.show("reset")


@blueprint.post("/reset")
@public
@describe(
    body=schemas.RESET,
    answers={202: schemas.ACCEPTED, 204: None},
    errors=(Unauthorized, TooManyRequests, NotImplementedHere),
)
def reset_password() -> Response:
    """Ask with `login` (or `email`) for a link to choose a new password, or choose it with the link's `token`.

    Asking always gets the same answer, whether or not there is such an account. Choosing ends all sessions and deletes
    all API keys.
    """
    sent = wire.read_object(optional=("token", "password", "login", "email"))
    if "token" in sent:
        recovery.reset_password(sent)
        return wire.no_content()
    recovery.request_reset(sent, request.remote_addr or "")
    return wire.reply({"detail": "If there is such an account with an e-mail address, a link is on its way."}, 202)


@blueprint.get("")
@require("admin")
@describe(
    query={"limit": schemas.LIMIT, "after": schemas.AFTER, "login": schemas.LOGIN_PREFIX},
    answers={200: schemas.USERS},
)
def list_users() -> Response:
    """List accounts, the oldest first (admins only). `login` finds those whose e-mail address or username begins so."""
    found = wire.parameters()
    limit = wire.integer(found, "limit", 100, minimum=1, maximum=config.max_limit)
    # limit + 1 tells whether there is a next page without counting.
    users = models.list_users(limit=limit + 1, after=_after(found), login=found.get("login"))
    following = str(users[limit - 1].id) if len(users) > limit else None
    return wire.reply({"users": [user.to_answer() for user in users[:limit]], "next": following})


@blueprint.get("/<user_id>")
@require("admin")
@describe(answers={200: schemas.USER}, errors=(NotFound,))
def show_user(user_id: str) -> Response:
    """Show one account (admins only)."""
    wire.parameters()
    return wire.reply(models.get_user(user_id).to_answer())


@blueprint.patch("/<user_id>")
@require("admin")
@describe(body=schemas.USER_CHANGES, answers={200: schemas.USER}, errors=(NotFound, Conflict))
def change_user(user_id: str) -> Response:
    """Change an account (admins only): name, username, e-mail address, roles, or lock it with `disabled`.

    A disabled account is locked out everywhere within a second, and its sessions end. The last admin cannot be disabled
    or demoted.
    """
    sent = wire.read_object(optional=ADMIN_MEMBERS)
    return wire.reply(account.change(models.get_user(user_id), sent).to_answer())


@blueprint.delete("/<user_id>")
@require("admin")
@describe(query={"documents": schemas.DOCUMENTS}, answers={204: None}, errors=(NotFound, Conflict))
def delete_user(user_id: str) -> Response:
    """Delete an account, its sessions and keys (admins only); with `documents=delete` also every document it owns."""
    with_documents = _with_documents()
    models.delete_user(models.get_user(user_id), with_documents=with_documents)
    return wire.no_content()


def _with_documents() -> bool:
    choice = wire.parameters().get("documents", "keep")
    if choice not in ("keep", "delete"):
        raise wire.parameter_error("documents", "must be keep or delete")
    return choice == "delete"


def _after(found: dict[str, str]) -> ObjectId | None:
    text = found.get("after")
    if text is not None and not ObjectId.is_valid(text):
        raise wire.parameter_error("after", "must be the `next` of the page before")
    return ObjectId(text) if text else None
