"""What the service needs to do its work, checked now: database, migrations, change stream. Knows no HTTP."""

import dataclasses

import pymongo
from pymongo.errors import PyMongoError

import database
import migrations
import watcher
from settings import config


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that must hold before requests are worth sending here."""

    name: str
    is_ok: bool
    reason: str = ""
    """Why not, for the operator; names no host and quotes no driver."""


@dataclasses.dataclass(frozen=True)
class Readiness:
    """Whether this process can serve, and what it runs with."""

    checks: tuple[Check, ...]
    has_change_streams: bool
    """False on a standalone mongod: caches are then bounded by age, and changes cannot be followed."""
    is_watcher_current: bool

    @property
    def is_ready(self) -> bool:
        """Whether every check holds."""
        return all(check.is_ok for check in self.checks)


def check_readiness() -> Readiness:
    """The state of now, found within SHEAF_DATABASE_WAIT_SECONDS."""
    checks, hello = [], {}
    # One bound for all round trips, also against a database that takes connections and answers nothing.
    with pymongo.timeout(config.database_wait_seconds):
        try:
            hello = database.client().admin.command("hello")
            checks = [_check_primary(hello), _check_migrations()]
        except PyMongoError:
            checks = [Check("database", False, "no primary answered in time")]
    # Replica sets and sharded clusters have change streams.
    # https://www.mongodb.com/docs/manual/changeStreams/#availability
    has_change_streams = "setName" in hello or hello.get("msg") == "isdbgrid"
    return Readiness(tuple(checks), has_change_streams, watcher.is_current())


def _check_primary(hello: database.Document) -> Check:
    is_writable = bool(hello.get("isWritablePrimary"))
    return Check("database", is_writable, "" if is_writable else "the server reached takes no writes")


def _check_migrations() -> Check:
    pending = migrations.pending()
    if not pending:
        return Check("migrations", True)
    return Check("migrations", False, f"{len(pending)} pending: run `manage.py migrate up`")
