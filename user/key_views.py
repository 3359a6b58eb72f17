"""HTTP for API keys: `/v1/keys`. Only a signed-in user manages keys; a key never makes another."""

from flask import Blueprint, Response

import wire
from access.guard import require
from errors import Conflict, NotFound
from openapi import describe
from user import caller, key, schemas

blueprint = Blueprint("key", __name__)


@blueprint.get("")
@require("session")
@describe(answers={200: schemas.KEYS})
def list_keys() -> Response:
    """List one's own API keys, the oldest first. The keys themselves cannot be read again."""
    wire.parameters()
    return wire.reply({"keys": [each.to_answer() for each in key.list_keys(caller.user_id())]})


@blueprint.post("")
@require("session")
@describe(body=schemas.NEW_KEY, answers={201: schemas.CREATED_KEY}, errors=(Conflict,))
def create_key() -> Response:
    """Create an API key that acts for oneself on documents; the only answer that shows `key`.

    Send it as `X-Api-Key`. `read_only` keys may only read; after `expires_at` a key is worthless.
    """
    sent = wire.read_object(required=("name",), optional=("read_only", "expires_at"))
    created, text = key.create_key(caller.user_id(), **sent, session_id=caller.session_id())
    return wire.reply({**created.to_answer(), "key": text}, 201)


@blueprint.patch("/<key_id>")
@require("session")
@describe(body=schemas.KEY_CHANGES, answers={200: schemas.KEY}, errors=(NotFound,))
def rename_key(key_id: str) -> Response:
    """Give one of one's own API keys another name."""
    sent = wire.read_object(required=("name",))
    return wire.reply(key.rename_key(key_id, caller.user_id(), sent["name"]).to_answer())


@blueprint.delete("/<key_id>")
@require("session")
@describe(answers={204: None}, errors=(NotFound,))
def revoke_key(key_id: str) -> Response:
    """Revoke one of one's own API keys. Every process refuses it within a second."""
    key.revoke_key(key_id, caller.user_id())
    return wire.no_content()
