"""Numbered changes to the service's own database, each applied once, in order, and revertible.

A migration is a file `m0002_words.py` with `name`, `dependencies` (the one before it), `upgrade(db)` and
`downgrade(db)`. It must be harmless when it runs twice, or in two processes at once: hosts that start together do that.
"""

from pathlib import Path
from typing import Any

from pymongo import ASCENDING
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError
from pymongo_migrate.mongo_migrate import MongoMigrate

import database
from errors import NotFound
from settings import config

FOLDER = Path(__file__).resolve().parent
COLLECTION = "migrations"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("m[0-9]*.py")))


def apply() -> list[str]:
    """Apply what is pending; the names of what was."""
    waiting = pending()
    if not waiting:
        return []
    # Without it, two processes that migrate at once would both note the same migration.
    _collection().create_index([("name", ASCENDING)], unique=True)
    try:
        _migrate().upgrade()
    except DuplicateKeyError:
        _migrate().upgrade()
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


def _applied() -> set[str]:
    return {note["name"] for note in _collection().find({"applied": {"$ne": None}})}


def _collection() -> Collection[dict[str, Any]]:
    return database.service()[COLLECTION]


def _migrate() -> MongoMigrate:
    return MongoMigrate(database.client(), config.database, str(FOLDER), COLLECTION)
