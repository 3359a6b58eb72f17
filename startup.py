"""What must be true before the first request: the database answers, migrations are applied, somebody is admin.

Used by the commands of manage.py and by gunicorn.conf.py; the web application itself assumes all of it.
"""

import secrets
import time

import mongoengine
import pymongo
from flask import Flask
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

import database
import migrations
import mongod
import settings
from errors import ApiError, Conflict
from process import ProcessError
from settings import Settings, SettingsError
from user.models import create_user, has_admin

# Index builds on a large collection take longer than any request may.
COMMAND_SECONDS = 3600

# A far cluster needs seconds for its first TLS connection and authentication.
ATTEMPT_SECONDS = 5
WAIT_SECONDS = 30

FIRST_ADMIN = "admin"

# What a command tells its user in a sentence, see `describe_failure`.
FORESEEN = (ApiError, SettingsError, ProcessError, PyMongoError, OSError)


def find_database(chosen: Settings) -> str:
    """The URI that commands use: MONGODB_URI, else that of the local mongod if it runs."""
    if chosen.mongodb_uri:
        return chosen.mongodb_uri
    running = mongod.find_running(chosen.data_path)
    if running is None:
        raise ProcessError(
            "No database is running: start it with `python manage.py runserver` or `python manage.py mongod start`, "
            "or set MONGODB_URI."
        )
    return running.uri


def open_database(chosen: Settings, seconds: float) -> None:
    """Connect this process to the database; returns when a primary takes writes, within `seconds` or with ProcessError.

    `chosen` becomes the process's settings.
    """
    # Said outright first: it must not change when the local mongod's URI is filled in.
    chosen.environment = "production" if chosen.is_production else "development"
    chosen.mongodb_uri = find_database(chosen)
    settings.use(chosen)
    deadline = time.monotonic() + seconds
    try:
        database.connect(Flask("sheaf"), time_limit_seconds=COMMAND_SECONDS)
        while not _is_ready(min(ATTEMPT_SECONDS, deadline - time.monotonic())):
            if time.monotonic() > deadline:
                raise ProcessError(_no_answer(chosen.mongodb_uri, seconds))
            time.sleep(0.1)
    except (mongoengine.ConnectionFailure, ConfigurationError) as failure:
        # The failure's own words may quote a part of the password.
        raise ProcessError(
            "MONGODB_URI is not a usable connection string: check the host name, and percent-encode special characters "
            "in user name and password."
        ) from failure


def load_and_open() -> Settings:
    """The settings, with this process connected to the database they lead to; what most commands begin with."""
    chosen = settings.load()
    open_database(chosen, WAIT_SECONDS)
    return chosen


def prepare(chosen: Settings, seconds: float) -> str | None:
    """Make the database ready to serve; the new first admin's password when one was made."""
    migrate(chosen, seconds)
    return ensure_admin(chosen)


def migrate(chosen: Settings, seconds: float) -> None:
    """Connect this process to the database, as `open_database` does, and apply the pending migrations."""
    open_database(chosen, seconds)
    migrations.apply()


def close_database() -> None:
    """Close this process's connections: it forks now, or waits for others that have their own."""
    mongoengine.disconnect_all()


def describe_failure(failure: Exception) -> str:
    """What to tell the operator of a failure in FORESEEN, in a sentence."""
    if isinstance(failure, ApiError):
        return failure.detail
    if isinstance(failure, PyMongoError):
        return f"MongoDB did not do it: {failure}"
    if isinstance(failure, OSError):
        return f"{failure.filename or 'The system'}: {failure.strerror or failure}."
    return str(failure)


def ensure_admin(chosen: Settings) -> str | None:
    """In development, create the first admin; its password, or None when nobody was created."""
    if chosen.is_production or has_admin():
        return None
    password = make_password()
    try:
        create_user(email=None, username=FIRST_ADMIN, password=password, roles=["admin"])
    except Conflict:
        return None  # Somebody has that name already; `user promote` makes an admin of whom the owner chooses.
    return password


def make_password() -> str:
    """A random password."""
    return secrets.token_urlsafe(12)


def _is_ready(seconds: float) -> bool:
    """Whether a primary answers within `seconds`; ProcessError for a refusal that waiting does not mend."""
    try:
        # The client's own limit is meant for migrations.
        with pymongo.timeout(max(seconds, 0.1)):
            return bool(database.client().admin.command("hello")["isWritablePrimary"])
    except OperationFailure as failure:
        raise ProcessError(
            f"MongoDB refuses this service (code {failure.code}): check user name, password and authSource in "
            "MONGODB_URI."
        ) from failure
    except PyMongoError:
        return False


def _no_answer(uri: str, seconds: float) -> str:
    nodes = ", ".join(f"{host}:{port}" for host, port in parse_uri(uri)["nodelist"])
    return (
        f"No primary answered at {nodes} within {seconds:.0f} seconds: check that MongoDB runs there, that this "
        "address may connect (Atlas: network access list), and MONGODB_URI."
    )
