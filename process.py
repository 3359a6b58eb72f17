"""Processes that outlive the command that started them: who they are, whether they live, how they are ended.

A pid alone is used again by the system, so a process is known by its pid and the time it began. What was started is
written into a state file in the data directory; other commands find it there.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

# psutil reckons start times from the wall clock, which may be set between two readings.
CLOCK_TOLERANCE_SECONDS = 5.0


class ProcessError(Exception):
    """A process could not be started, found or ended; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """One process, never mistaken for a later one with the same pid."""

    pid: int
    began: float

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return self.find() is not None

    def find(self) -> psutil.Process | None:
        """The running process, or None when it has ended."""
        try:
            found = psutil.Process(self.pid)
            if found.status() == psutil.STATUS_ZOMBIE:
                return None
            same = abs(found.create_time() - self.began) < CLOCK_TOLERANCE_SECONDS
        except psutil.NoSuchProcess:
            return None
        return found if same else None


def identify(pid: int) -> Identity:
    """The identity of the running process `pid`."""
    return Identity(pid, psutil.Process(pid).create_time())


def end(identity: Identity, seconds: float) -> bool:
    """Ask the process to end (SIGTERM) and wait for it; whether it ended within `seconds`."""
    found = identity.find()
    if found is None:
        return True
    try:
        found.terminate()
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        raise ProcessError(f"Process {identity.pid} belongs to another user; stop it as that user.") from None
    return wait_until(lambda: not identity.is_alive(), seconds)


def remind_session(leader: Identity) -> None:
    """Ask every process of the session but its leader to end (SIGTERM)."""
    for member in _session_members(leader):
        if member.pid != leader.pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.terminate()


def kill_session(leader: Identity) -> None:
    """Kill everything that belongs to the session `leader` began, also what a killed leader left behind."""
    for member in _session_members(leader):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    wait_until(lambda: not _session_members(leader), 5)


def _session_members(leader: Identity) -> list[psutil.Process]:
    """The living processes of the session that `leader` began."""
    current = psutil.Process(leader.pid) if psutil.pid_exists(leader.pid) else None
    if current is not None and current.status() != psutil.STATUS_ZOMBIE and not leader.is_alive():
        return []  # The pid was given to a stranger, so no session of that number can be ours.
    members = []
    for found in psutil.process_iter(["status", "create_time"]):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            belongs = os.getsid(found.pid) == leader.pid
            is_running = found.info["status"] != psutil.STATUS_ZOMBIE
            if belongs and is_running and found.info["create_time"] > leader.began - CLOCK_TOLERANCE_SECONDS:
                members.append(found)
    return members


def wait_until(condition: Callable[[], bool], seconds: float, *, interval_seconds: float = 0.05) -> bool:
    """Whether `condition` became true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_seconds)
    return True


def find_bind_error(host: str, port: int) -> OSError | None:
    """Why a server could not listen there now, or None; tells even of servers that would share the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as failure:
            return failure
    return None


def wait_for_port(host: str, port: int, seconds: float = 3) -> OSError | None:
    """Like find_bind_error, but patient: the sockets of a killed process stay a moment longer than it does."""
    wait_until(lambda: find_bind_error(host, port) is None, seconds)
    return find_bind_error(host, port)


def prepare_directory(path: Path) -> None:
    """Make a folder for this user only; raises ProcessError when it can't be written."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(path, os.W_OK | os.X_OK)
    except OSError as failure:
        raise ProcessError(_unwritable(path, failure.strerror or str(failure))) from failure
    if not writable:
        raise ProcessError(_unwritable(path, "permission denied"))


def _unwritable(path: Path, reason: str) -> str:
    return f"The folder {path} cannot be written ({reason}); set SHEAF_DATA to one that can."


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[bool]:
    """Hold the lock file `path`; yields whether it was free. The system frees it when this process ends, however."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Replace a state file in one step, so that no reader sees half of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def read_state(path: Path) -> dict[str, Any] | None:
    """What a state file says; None when there is none or it is unreadable."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return state if isinstance(state, dict) else None
