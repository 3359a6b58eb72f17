"""What a caller may do with the documents of a collection.

Today's rule is the server's default: in open databases a document belongs to who created it, elsewhere only admins and
their keys get in. `decide` is the one function that knows; its answer is a filter that the database itself enforces.
"""

import dataclasses
from typing import Any, Literal

from errors import Forbidden, InvalidInput, Unauthorized
from settings import config
from user.principal import Principal

Action = Literal["read", "create", "update", "delete"]

OWNER_FIELD = "_owner"
SYSTEM_DATABASES = frozenset({"admin", "config", "local"})
MAX_DATABASE_BYTES = 63
MAX_NAMESPACE_BYTES = 255


@dataclasses.dataclass(frozen=True, slots=True)
class Permit:
    """What one caller may do with one collection, as the database has to enforce it."""

    database: str
    collection: str
    filter: dict[str, Any]
    """ANDed into every query: documents outside it do not exist for the caller."""
    stamp: dict[str, Any]
    """Values that created documents carry where the caller did not set them."""
    readonly: frozenset[str]
    """Top-level fields the caller may not write."""
    is_limited: bool
    """Whether the limits on starting collections hold for this caller."""


def decide(principal: Principal, action: Action, database: str, collection: str) -> Permit:
    """What `principal` may do, or Unauthorized, Forbidden or InvalidInput (for a name MongoDB cannot have)."""
    # First, so that names tell nothing to those who are not signed in.
    if principal.is_anonymous:
        raise Unauthorized("Sign in first: send an access token or an API key.")
    check_names(database, collection)
    if principal.is_read_only and action != "read":
        raise Forbidden("This API key may only read.")
    is_open = database in config.open_database_names
    stamp = {OWNER_FIELD: principal.user_id} if is_open else {}
    if principal.is_admin:
        return Permit(database, collection, {}, stamp, frozenset(), is_limited=False)
    if not is_open:
        raise Forbidden(f"Only admins and their API keys may use database {database!r}.")
    return Permit(database, collection, stamp, stamp, frozenset({OWNER_FIELD}), is_limited=True)


def check_names(database: str, collection: str) -> None:
    """Refuse names that MongoDB does not allow, and those that are not for documents of users.

    https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions
    """
    if not database or len(database.encode()) > MAX_DATABASE_BYTES or any(c in '/\\. "$*<>:|?\0' for c in database):
        raise InvalidInput(
            'A database name has 1 to 63 bytes and none of / \\ . " $ * < > : | ? or space.',
            [{"path": "database", "message": "is not a database name"}],
        )
    if database.lower() in SYSTEM_DATABASES or database.lower() == config.database.lower():
        raise Forbidden(f"Database {database!r} is kept for the system.")
    is_too_long = len(f"{database}.{collection}".encode()) > MAX_NAMESPACE_BYTES
    if (
        not collection
        or is_too_long
        or "$" in collection
        or "\0" in collection
        or ".." in collection
        or (collection[0] == "." or collection[-1] == ".")
    ):
        raise InvalidInput(
            "A collection name may not be empty, hold $ or NUL, begin or end with a dot, or pass 255 bytes with its "
            "database's.",
            [{"path": "collection", "message": "is not a collection name"}],
        )
    if collection.startswith(("system.", "_")):
        raise Forbidden(f"Collection {collection!r} is kept for the system.")
