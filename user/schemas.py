"""JSON Schemas of what the routes for users, sessions and keys take and answer."""

from typing import Any

Schema = dict[str, Any]


def _object(title: str, properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    """An object without other members."""
    schema: Schema = {"title": title, "type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def _answer(title: str, properties: Schema) -> Schema:
    """An object with all its members."""
    return _object(title, properties, tuple(properties))


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
EMAIL: Schema = {"type": "string", "format": "email", "maxLength": 254}
USERNAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{2,63}$"}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
PASSWORD: Schema = {"type": "string", "minLength": 10, "maxLength": 128, "format": "password"}
SECRET: Schema = {"type": "string", "minLength": 1, "maxLength": 512, "format": "password"}
LOGIN: Schema = {"type": "string", "minLength": 1, "maxLength": 254, "description": "E-mail address or username."}
TOKEN: Schema = {"type": "string", "minLength": 1}
ROLES: Schema = {
    "type": "array",
    "maxItems": 50,
    "items": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]{0,63}$"},
    "description": "`admin` administers the service; other roles are names for access rules.",
}
NUMBER: Schema = {
    "description": 'A whole number; `{"$numberInt": "1"}` in canonical form.',
    "type": ["integer", "object"],
}
DOCUMENTS: Schema = {
    "type": "string",
    "enum": ["keep", "delete"],
    "default": "keep",
    "description": "Whether the documents it owns in the open databases go with the account.",
}
LIMIT: Schema = {"type": "integer", "minimum": 1, "default": 100, "description": "At most SHEAF_MAX_LIMIT (1000)."}
AFTER: Schema = {**ID, "description": "`next` of the page before."}
LOGIN_PREFIX: Schema = {
    "type": "string",
    "maxLength": 254,
    "description": "Beginning of the e-mail address or username.",
}

USER = _answer(
    "User",
    {
        "id": ID,
        "email": _or_null(EMAIL),
        "email_verified": {"type": "boolean"},
        "username": _or_null(USERNAME),
        "name": _or_null(NAME),
        "roles": ROLES,
        "disabled": {"type": "boolean"},
        "created_at": MOMENT,
    },
)
USERS = _answer("Users", {"users": {"type": "array", "items": USER}, "next": _or_null(ID)})
SIGN_UP: Schema = {
    **_object(
        "SignUp",
        {"email": _or_null(EMAIL), "username": _or_null(USERNAME), "password": PASSWORD, "name": _or_null(NAME)},
        ("password",),
    ),
    "anyOf": [{"required": ["email"]}, {"required": ["username"]}],
}
OWN_CHANGES: Schema = {
    **_object(
        "OwnChanges",
        {
            "email": _or_null(EMAIL),
            "username": _or_null(USERNAME),
            "name": _or_null(NAME),
            "current_password": SECRET,
        },
    ),
    "description": "`null` removes a value. Another `email` needs `current_password`.",
}
USER_CHANGES: Schema = _object(
    "UserChanges",
    {
        "email": _or_null(EMAIL),
        "username": _or_null(USERNAME),
        "name": _or_null(NAME),
        "roles": ROLES,
        "disabled": {"type": "boolean"},
    },
)
NEW_PASSWORD = _answer("NewPassword", {"current_password": SECRET, "new_password": PASSWORD})
PROOF = _answer("Proof", {"password": SECRET})
VERIFY: Schema = {
    **_object("Verify", {"token": TOKEN, "email": EMAIL}),
    "description": "Either the `token` of a link, or the `email` to which a new link shall go.",
    "oneOf": [{"required": ["token"]}, {"required": ["email"]}],
}
RESET: Schema = {
    **_object("Reset", {"token": TOKEN, "password": PASSWORD, "login": LOGIN, "email": EMAIL}),
    "description": "Either the `token` of a link and the new `password`, or the `login` whose owner shall get a link.",
    "oneOf": [{"required": ["token", "password"]}, {"required": ["login"]}, {"required": ["email"]}],
}
ACCEPTED = _answer("Accepted", {"detail": {"type": "string"}})

SIGN_IN = _answer("SignIn", {"login": LOGIN, "password": SECRET})
REFRESH = _answer("Refresh", {"refresh_token": TOKEN})
TOKENS = _answer(
    "Tokens",
    {
        "access_token": TOKEN,
        "refresh_token": TOKEN,
        "token_type": {"const": "Bearer"},
        "expires_in": {**NUMBER, "title": "Seconds"},
    },
)
SESSION = _answer(
    "Session",
    {
        "id": ID,
        "created_at": MOMENT,
        "last_used_at": MOMENT,
        "expires_at": MOMENT,
        "address": _or_null({"type": "string"}),
        "user_agent": _or_null({"type": "string"}),
        "current": {"type": "boolean", "description": "Whether it is the session that asks."},
    },
)
SESSIONS = _answer("Sessions", {"sessions": {"type": "array", "items": SESSION}})

EXPIRY: Schema = {
    "description": "RFC 3339 text or an Extended JSON date, in the future; null: never.",
    "type": ["string", "object", "null"],
}
NEW_KEY = _object(
    "NewKey", {"name": NAME, "read_only": {"type": "boolean", "default": False}, "expires_at": EXPIRY}, ("name",)
)
KEY_CHANGES = _answer("KeyChanges", {"name": NAME})
KEY_MEMBERS: Schema = {
    "id": ID,
    "name": NAME,
    "prefix": {"type": "string", "description": "The first characters of the key, to recognise it by."},
    "read_only": {"type": "boolean"},
    "expires_at": _or_null(MOMENT),
    "created_at": MOMENT,
}
KEY = _answer("Key", KEY_MEMBERS)
CREATED_KEY = _answer("CreatedKey", {**KEY_MEMBERS, "key": {"type": "string", "pattern": "^sheaf_[A-Za-z0-9_-]{43}$"}})
KEYS = _answer("Keys", {"keys": {"type": "array", "items": KEY}})
