"""Indexes of the service's own collections: what is unique, what is looked up, what expires by itself."""

from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

name = "m0001_indexes_of_accounts"
dependencies: list[str] = []

INDEXES = {
    # An account has an e-mail address, a username or both; the keys are their lower-cased copies.
    "users": [
        IndexModel([("email_key", ASCENDING)], unique=True, partialFilterExpression={"email_key": {"$type": "string"}}),
        IndexModel(
            [("username_key", ASCENDING)], unique=True, partialFilterExpression={"username_key": {"$type": "string"}}
        ),
    ],
    "sessions": [IndexModel([("user", ASCENDING)]), IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0)],
    # Who started which collection of an open database.
    "collections": [
        IndexModel([("database", ASCENDING), ("collection", ASCENDING)], unique=True),
        IndexModel([("database", ASCENDING), ("started_by", ASCENDING)]),
    ],
    "keys": [
        IndexModel([("key_hash", ASCENDING)], unique=True),
        IndexModel([("user", ASCENDING)]),
        IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0),
    ],
    # Counts of failed sign-ins; the field's name is that of the library `limits`.
    "attempts": [IndexModel([("expireAt", ASCENDING)], expireAfterSeconds=0)],
}


def upgrade(db: Database[dict[str, Any]]) -> None:
    """Create the indexes; those that exist already stay as they are."""
    for collection, indexes in INDEXES.items():
        db[collection].create_indexes(indexes)


def downgrade(db: Database[dict[str, Any]]) -> None:
    """Drop the indexes again; the documents stay."""
    existing = db.list_collection_names()
    for collection, indexes in INDEXES.items():
        present = db[collection].index_information() if collection in existing else {}
        for index in indexes:
            if index.document["name"] in present:
                db[collection].drop_index(index.document["name"])
