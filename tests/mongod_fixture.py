"""Throw-away mongods for tests: real ones, started by mongod.py in a temporary folder on a free port."""

import os
import signal
import socket
from pathlib import Path

import psutil

import mongod
import process
from process import ProcessError

# Small and quick to make; the tests keep little.
OPTIONS = ("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64")


def find_free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningMongod:
    """One mongod under test, which may be killed, paused and started again on the same data and port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running = self._start_on_free_port()

    @property
    def uri(self) -> str:
        """Its connection string."""
        return self._running.uri

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.identity.pid

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)

    def restart(self) -> None:
        """Run it again after `kill()` or `stop()`, on the same data and port."""
        self._running = mongod.start(self._directory, port=self._running.port, options=OPTIONS)

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        found = psutil.Process(self.pid)
        assert process.wait_until(lambda: found.status() == psutil.STATUS_STOPPED, 5)

    def resume(self) -> None:
        """End the pause."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Shut it down in order; nothing happens when it is not running."""
        if self._running.identity.is_alive():
            self.resume()
        mongod.stop(self._running)

    def _start_on_free_port(self) -> mongod.LocalMongod:
        for _ in range(5):
            try:
                return mongod.start(self._directory, port=find_free_port(), options=OPTIONS)
            except ProcessError as failure:
                # Between finding the port and using it, another test may have taken it.
                if "is taken" not in str(failure):
                    raise
        raise ProcessError("No free port was found in five attempts.")


def start_mongod(directory: Path) -> RunningMongod:
    """A new mongod that keeps its data in `directory`, running as primary."""
    return RunningMongod(directory)
