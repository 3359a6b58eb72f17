"""Numbered changes to the service's own database, each applied once, in order, and revertible.

A migration is a file `m0002_words.py` with `name`, `dependencies` (the one before it), `upgrade(db)` and
`downgrade(db)`. It must be harmless when it runs twice, or in two processes at once: hosts that start together do that.
"""

import re
from pathlib import Path
from typing import Any

from pymongo import ASCENDING
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError
from pymongo_migrate.mongo_migrate import MongoMigrate

import database
from errors import Conflict, NotFound
from settings import config

FOLDER = Path(__file__).resolve().parent
COLLECTION = "migrations"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("m[0-9]*.py")))


def apply() -> list[str]:
    """Apply what is pending; the names of what was. Raises Conflict for documents that a unique index cannot admit."""
    waiting = pending()
    if not waiting:
        return []
    # Without it, two processes that migrate at once would both note the same migration.
    _collection().create_index([("name", ASCENDING)], unique=True)
    try:
        _migrate().upgrade()
    except DuplicateKeyError:
        # Another process was faster; or there are documents that a unique index does not admit, and it fails again.
        _upgrade_again()
    return waiting


def revert(name: str) -> list[str]:
    """Undo the migration `name` and all after it; the names of what was undone, the latest first."""
    if name not in NAMES:
        raise NotFound(f"There is no migration {name!r}; `migrate status` lists them.")
    before = NAMES[: NAMES.index(name)]
    undone = [each for each in reversed(NAMES) if each in _applied() and each not in before]
    _migrate().downgrade(before[-1] if before else None)
    return undone


def pending() -> list[str]:
    """The names of the migrations that are still to be applied, in order."""
    applied = _applied()
    return [name for name in NAMES if name not in applied]


def status() -> list[tuple[str, bool]]:
    """Every migration in order, and whether it is applied."""
    applied = _applied()
    return [(name, name in applied) for name in NAMES]


def _upgrade_again() -> None:
    try:
        _migrate().upgrade()
    except DuplicateKeyError as failure:
        raise Conflict(_describe_duplicates(failure)) from failure


def _describe_duplicates(failure: DuplicateKeyError) -> str:
    """Which documents stand in the way of a unique index, and what to do about them."""
    found = re.search(r"collection: (\S+)", str(failure))
    where, values = found[1] if found else config.database, (failure.details or {}).get("keyValue", {})
    what = ", ".join(f"{name} {value!r}" for name, value in values.items()) or "values that must be unique"
    return (
        f"In {where} several documents have the same {what}, which must be unique: keep one of them, change or delete "
        "the others (with mongosh, for instance), then run `python manage.py migrate up`."
    )


def _applied() -> set[str]:
    return {note["name"] for note in _collection().find({"applied": {"$ne": None}})}


def _collection() -> Collection[dict[str, Any]]:
    return database.service()[COLLECTION]


def _migrate() -> MongoMigrate:
    return MongoMigrate(database.client(), config.database, str(FOLDER), COLLECTION)
