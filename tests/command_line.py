"""Runs the real `manage.py` in processes of their own, each with a data directory, ports and settings of its own."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import requests

import process
from settings import ROOT, Settings
from tests.mongod_fixture import find_free_port

START_SECONDS = 30
STOP_SECONDS = 30


def build_environment(data: Path, **overrides: str) -> dict[str, str]:
    """The environment with every setting said outright, so that a developer's own .env changes no test."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SHEAF_", "GRANIAN_"))}
    for field in dataclasses.fields(Settings):
        environment[field.metadata["name"]] = str(field.default)
    own = {"SHEAF_DATA": str(data), "PORT": str(find_free_port()), "SHEAF_MONGOD_PORT": str(find_free_port())}
    return {**environment, **own, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **overrides}


def run_command(*arguments: str, environment: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The finished `manage.py` with these arguments."""
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, input=stdin, capture_output=True, text=True, timeout=50, check=False
    )


def fails_with(result: subprocess.CompletedProcess[str], *words: str) -> bool:
    """Whether the command failed as it should: non-zero, one sentence on stderr that has the words, no traceback."""
    lines = result.stderr.strip().splitlines()
    has_words = all(word in result.stderr for word in words)
    return result.returncode != 0 and len(lines) == 1 and lines[0].startswith("Error: ") and has_words


class RunServer:
    """A `manage.py runserver` under test, its HTTP server and its mongod."""

    def __init__(self, data: Path, *arguments: str, **overrides: str) -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True)
        self.environment = build_environment(data, **overrides)
        self.url = f"http://127.0.0.1:{self.environment['PORT']}"
        self.start(*arguments)

    def start(self, *arguments: str) -> None:
        """Start it (again), without waiting for anything."""
        self._arguments = arguments
        self._log = self.data / f"runserver-{len(list(self.data.glob('runserver-*')))}.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "runserver", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """Everything it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_until_ready(self) -> "RunServer":
        """Return when it has announced its URL."""
        process.wait_until(lambda: "answers at" in self.output or self.process.poll() is not None, START_SECONDS)
        assert "answers at" in self.output, self.output
        return self

    def state(self, name: str) -> dict[str, Any]:
        """What the state file `sheaf` or `mongod` says."""
        found = process.read_state(self.data / f"{name}.json")
        assert found is not None, f"{name}.json is missing"
        return found

    def mongod_pid(self) -> int:
        """The process id of its mongod."""
        return int(self.state("mongod")["identity"]["pid"])

    def server_pid(self) -> int:
        """The process id of the HTTP server's main process."""
        return int(self.state("sheaf")["child"]["pid"])

    def worker_pids(self) -> set[int]:
        """The process ids of the HTTP server's workers."""
        children = psutil.Process(self.server_pid()).children()
        return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE and is_worker(child)}

    def is_answering(self) -> bool:
        """Whether the database answers through it."""
        try:
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the `runserver` process alone."""
        self.process.send_signal(number)

    def wait_until_stopped(self) -> int:
        """The exit code of `runserver`, once it has ended."""
        return self.process.wait(STOP_SECONDS)

    def kill_everything(self) -> None:
        """SIGKILL to `runserver`, the HTTP server and all its workers; mongod goes on."""
        victims = [self.process.pid, self.server_pid(), *self.worker_pids()]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """End it and all it started, however the test went."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for name, command in (("sheaf", ["stop"]), ("mongod", ["mongod", "stop"])):
            if (self.data / f"{name}.json").exists():
                run_command(*command, environment=self.environment)


def is_running(pid: int) -> bool:
    """Whether the process has not ended; one that only waits to be reaped by its parent has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_worker(child: psutil.Process) -> bool:
    """Whether a child of the HTTP server serves requests (multiprocessing adds a tracker process of its own)."""
    try:
        return "resource_tracker" not in " ".join(child.cmdline())
    except psutil.Error:
        return False


def first_admin_password(output: str) -> str:
    """The password that `runserver` printed for the first admin."""
    found = re.search(r"username admin, password (\S+)", output)
    assert found, output
    return found[1]
