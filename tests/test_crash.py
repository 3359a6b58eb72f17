"""A write that was answered with 2xx is there afterwards, whatever is killed while writes run."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

import process
from tests.command_line import RunServer

WRITERS = 4
WRITES_BEFORE_THE_KILL = 100
WRITES_AFTER_IT = 100
USER = {"username": "writer", "password": "correct horse battery staple"}


@pytest.fixture(params=["granian", "gunicorn"])
def sheaf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunServer]:
    running = RunServer(tmp_path / "data", SHEAF_SERVER=request.param, SHEAF_DATABASE_WAIT_SECONDS="2")
    try:
        yield running.wait_until_ready()
    finally:
        running.close()


class Writers:
    """Threads that insert documents over HTTP without pause, and remember what was promised to them."""

    def __init__(self, url: str) -> None:
        requests.post(f"{url}/v1/users", json=USER, timeout=10).raise_for_status()
        sign_in = {"login": USER["username"], "password": USER["password"]}
        token = requests.post(f"{url}/v1/sessions", json=sign_in, timeout=10).json()["access_token"]
        self._items = f"{url}/v1/db/app/items"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stop = threading.Event()
        self.promised: dict[int, str] = {}
        self.refused = 0
        self._threads = [threading.Thread(target=self._write, args=(first,)) for first in range(WRITERS)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def wait_for_promises(self, count: int) -> None:
        """Return when `count` more writes were answered."""
        goal = len(self.promised) + count
        assert process.wait_until(lambda: len(self.promised) >= goal, 20), f"{len(self.promised)} of {goal} writes"

    def missing(self) -> list[int]:
        """The promised writes that cannot be read back, each by its own URL."""
        with requests.Session() as session:
            session.headers.update(self._headers)
            return [n for n, key in self.promised.items() if not self._is_stored(session, n, key)]

    def _is_stored(self, session: requests.Session, n: int, key: str) -> bool:
        answer = session.get(f"{self._items}/{key}", timeout=10)
        return answer.status_code == 200 and answer.json()["n"] == n

    def _write(self, first: int) -> None:
        n = first
        session = requests.Session()
        while not self._stop.is_set():
            n += WRITERS
            try:
                answer = session.post(self._items, json={"n": n}, headers=self._headers, timeout=10)
            except requests.RequestException:
                self.refused += 1
                self._stop.wait(0.05)
                continue
            if answer.ok:
                self.promised[n] = read_id(answer)
            else:
                assert answer.status_code == 503, answer.text
                self.refused += 1
                self._stop.wait(0.05)
        session.close()


def read_id(answer: requests.Response) -> str:
    """The id of the stored document, from relaxed Extended JSON."""
    inserted = answer.json()["inserted_id"]
    return str(inserted["$oid"] if isinstance(inserted, dict) else inserted)


def kill_worker(sheaf: RunServer) -> None:
    os.kill(min(sheaf.worker_pids()), signal.SIGKILL)


def kill_everything(sheaf: RunServer) -> None:
    sheaf.kill_everything()
    sheaf.start("--server", sheaf.environment["SHEAF_SERVER"])


def kill_everything_and_mongod(sheaf: RunServer) -> None:
    mongod = sheaf.mongod_pid()
    sheaf.kill_everything()
    os.kill(mongod, signal.SIGKILL)
    sheaf.start("--server", sheaf.environment["SHEAF_SERVER"])


def kill_mongod(sheaf: RunServer) -> None:
    os.kill(sheaf.mongod_pid(), signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_worker, kill_everything, kill_everything_and_mongod, kill_mongod])
def test_no_answered_write_is_lost(sheaf: RunServer, kill: Callable[[RunServer], None]) -> None:
    with Writers(sheaf.url) as writers:
        writers.wait_for_promises(WRITES_BEFORE_THE_KILL)
        kill(sheaf)
        writers.wait_for_promises(WRITES_AFTER_IT)
    assert process.wait_until(sheaf.is_answering, 10)
    assert writers.missing() == []
    assert len(writers.promised) >= WRITES_BEFORE_THE_KILL + WRITES_AFTER_IT
