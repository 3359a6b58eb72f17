"""The only place that opens a connection to MongoDB; MongoEngine and PyMongo share it.

`connect()` is called once in every process. Nothing here knows HTTP or what is stored.
"""

from typing import Any

import mongoengine
import pymongo
from flask import Flask
from flask_mongoengine import MongoEngine
from pymongo.database import Database

from settings import config

Document = dict[str, Any]
db = MongoEngine()


def connect(app: Flask, *, time_limit_seconds: int | None = None) -> None:
    """Open this process's connection pool and bind MongoEngine's documents to the service's database.

    Returns at once: the driver connects in the background, and an unreachable database shows in the first operation.
    `time_limit_seconds` replaces the setting, for commands that may take longer than a request.
    """

    def open_client(**_: Any) -> pymongo.MongoClient[Document]:
        return _open_client(time_limit_seconds or config.time_limit_seconds)

    mongoengine.disconnect_all()
    # The client is opened here and not by MongoEngine, which would take the service's database from the URI's path.
    app.config["MONGODB_SETTINGS"] = {"db": config.database, "mongo_client_class": open_client}
    app.extensions.pop("mongoengine", None)
    db.config = None
    db.init_app(app)


def _open_client(time_limit_seconds: int) -> pymongo.MongoClient[Document]:
    """A client whose acknowledged writes are on the journals of a majority.

    `timeoutMS` bounds each operation as a whole and is handed to the server as maxTimeMS (MongoDB specification
    "Client Side Operations Timeout"), so that no caller can make one run longer.
    """
    opened: pymongo.MongoClient[Document] = pymongo.MongoClient(
        config.mongodb_uri,
        appname="sheaf",
        tz_aware=True,
        uuidRepresentation="standard",
        # Whatever the URI says: a session or a rule read from a member that lags behind may be over already.
        readPreference="primary",
        w="majority",
        journal=True,
        retryWrites=True,
        retryReads=True,
        timeoutMS=time_limit_seconds * 1000,
        serverSelectionTimeoutMS=config.database_wait_seconds * 1000,
        connectTimeoutMS=config.database_wait_seconds * 1000,
        maxPoolSize=config.threads + 4,
    )
    _bound_server_selection(opened)
    return opened


def _bound_server_selection(opened: pymongo.MongoClient[Document]) -> None:
    """Make `opened` wait for a server no longer than SHEAF_DATABASE_WAIT_SECONDS.

    The specification wants the lesser of serverSelectionTimeoutMS and what is left of timeoutMS; PyMongo 4.20 takes
    the latter alone, so that a dead database would hold every thread for the whole time limit.
    https://github.com/mongodb/specifications/blob/master/source/client-side-operations-timeout/client-side-operations-timeout.md#server-selection
    """
    topology: Any = opened._topology
    remaining = topology.get_server_selection_timeout
    topology.get_server_selection_timeout = lambda: min(remaining(), config.database_wait_seconds)


def client() -> pymongo.MongoClient[Document]:
    """The process's client."""
    found: pymongo.MongoClient[Document] = mongoengine.get_connection()
    return found


def service() -> Database[Document]:
    """The service's own database, which no document route may reach."""
    return client()[config.database]
