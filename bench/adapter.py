"""Adapters: JSON files that say how a service is started and how each workload is asked of it.

Members: `name`, `base_url`, `db` and `coll` (where its documents are), `headers`, `start` (argv), `cwd` (seen from the
file's folder), `env`, `settle` (seconds after the port opens), and `endpoints` W1 to W5, UPDATE and W7, each with
`method`, `path`, `query`, `headers`, `body`. Our own have `account` (whose token is sent), and may have `extends` (an
adapter file to start from).
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from bench import BenchError

Endpoint = dict[str, Any]

FOLDER = Path(__file__).resolve().parent
HOME = FOLDER / ".home"
MIX = ("W1", "UPDATE", "W4")


@dataclasses.dataclass(frozen=True)
class Adapter:
    """One service that can be measured."""

    name: str
    base_url: str
    database: str
    collection: str
    headers: dict[str, str]
    endpoints: dict[str, Endpoint]
    start: list[str]
    cwd: Path
    env: dict[str, str]
    settle_seconds: float
    account: str | None
    """The account whose token is sent: `owner` or `admin`; None for a service without accounts."""

    def offers(self, workload: str) -> bool:
        """Whether the service has what the workload asks for."""
        return all(name in self.endpoints for name in (MIX if workload == "W6" else (workload,)))


def find_adapters(names: list[str], variables: Mapping[str, str]) -> tuple[list[Adapter], dict[str, str]]:
    """The adapters that can be run here, and for each other name the reason why it cannot."""
    found, skipped = [], {}
    for name in names:
        own, peer = FOLDER / "adapters" / f"{name}.json", peers_folder() / "adapters" / f"{name}.json"
        path = own if own.is_file() else peer
        if not path.is_file():
            skipped[name] = "there is no adapter of this name here or in $BENCH_PEERS"
            continue
        adapter = load_adapter(path)
        if own.is_file() or _is_installed(adapter, variables):
            found.append(adapter)
        else:
            skipped[name] = "not installed; the setup.sh in $BENCH_PEERS prepares the peers"
    return found, skipped


def peers_folder() -> Path:
    """Where comparable services and their adapters are; it need not exist."""
    named = os.environ.get("BENCH_PEERS")
    return Path(named).resolve() if named else FOLDER.parents[1] / "shared" / "bench"


def peers_home() -> Path:
    """Where the peers' setup.sh has installed them: it takes BENCH_HOME, or a folder beside itself."""
    return Path(os.environ.get("BENCH_HOME") or peers_folder() / ".home")


def load_adapter(path: Path) -> Adapter:
    """The adapter in a file."""
    members = _read_members(path)
    try:
        return Adapter(
            name=members["name"],
            base_url=members["base_url"],
            database=members["db"],
            collection=members.get("coll", "items"),
            headers=members.get("headers", {}),
            endpoints=members["endpoints"],
            start=members["start"],
            cwd=(path.parent / members.get("cwd", ".")).resolve(),
            env=members.get("env", {}),
            settle_seconds=members.get("settle", 2.0),
            account=members.get("account"),
        )
    except KeyError as failure:
        raise BenchError(f"The adapter {path.name} lacks the member {failure}.") from failure


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """`text` with each `$NAME` that is known replaced."""
    return Template(text).safe_substitute(variables)


def _read_members(path: Path) -> dict[str, Any]:
    try:
        members: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise BenchError(f"The adapter {path.name} cannot be read: {failure}.") from failure
    if "extends" not in members:
        return members
    base = _read_members(path.parent / members.pop("extends"))
    return {**base, **members, "env": {**base.get("env", {}), **members.get("env", {})}}


def _is_installed(adapter: Adapter, variables: Mapping[str, str]) -> bool:
    needs_modules = (adapter.cwd / "package.json").is_file()
    has_modules = (adapter.cwd / "node_modules").is_dir()
    return shutil.which(substitute(adapter.start[0], variables)) is not None and has_modules >= needs_modules
