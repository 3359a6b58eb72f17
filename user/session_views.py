"""HTTP for sessions: `/v1/sessions`."""

from flask import Blueprint, Response, request

import wire
from access.guard import public, require
from errors import EmailNotVerified, NotFound, RefreshTokenReused, TooManyRequests, Unauthorized
from openapi import describe
from user import caller, schemas, session, tokens

blueprint = Blueprint("session", __name__)


@blueprint.post("")
@public
@describe(
    body=schemas.SIGN_IN,
    answers={201: schemas.TOKENS},
    errors=(Unauthorized, EmailNotVerified, TooManyRequests),
)
def sign_in() -> Response:
    """Sign in with e-mail address or username and password, and get an access token and a refresh token.

    Send the access token as `Authorization: Bearer ...`. A wrong password, an unknown and a disabled account all answer
    the same 401. After too many failures, 429 says when to try again.
    """
    sent = wire.read_object(required=("login", "password"))
    agent = request.headers.get("User-Agent", "")
    found = session.sign_in(sent["login"], sent["password"], address=request.remote_addr or "", user_agent=agent)
    return wire.reply(tokens.issue_pair(found), 201)


@blueprint.post("/refresh")
@public
@describe(body=schemas.REFRESH, answers={200: schemas.TOKENS}, errors=(Unauthorized, RefreshTokenReused))
def refresh_session() -> Response:
    """Trade a refresh token for a new pair of tokens.

    Each refresh token is good once. A second use ends the session, since it may have been stolen: keep the newest one,
    and let only one place in a client refresh.
    """
    sent = wire.read_object(required=("refresh_token",))
    return wire.reply(tokens.issue_pair(tokens.refresh(sent["refresh_token"])))


@blueprint.get("")
@require("session")
@describe(answers={200: schemas.SESSIONS})
def list_sessions() -> Response:
    """List one's own sessions, the newest first; `current` marks the one that asks."""
    wire.parameters()
    found = session.list_sessions(caller.user_id())
    return wire.reply({"sessions": [each.to_answer(caller.session_id()) for each in found]})


@blueprint.delete("/current")
@require("session")
@describe(answers={204: None})
def sign_out() -> Response:
    """End the session that asks. Its access and refresh tokens are worthless from now on."""
    session.end_session(caller.session_id(), caller.user_id())
    return wire.no_content()


@blueprint.delete("/<session_id>")
@require("session")
@describe(answers={204: None}, errors=(NotFound,))
def end_session(session_id: str) -> Response:
    """End one of one's own sessions, for instance on a lost device."""
    session.end_session(session_id, caller.user_id())
    return wire.no_content()
