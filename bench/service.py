"""A service under measurement: started as its adapter says, asked over HTTP, stopped with everything it started."""

import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench import BenchError
from bench.adapter import HOME, Adapter, substitute
from bench.workload import Request, Values, build_request

START_SECONDS = 60
STOP_SECONDS = 30
ANSWER_SECONDS = 60


class Service:
    """A running service; `headers` go with every request."""

    def __init__(self, adapter: Adapter, process: psutil.Process) -> None:
        self.adapter = adapter
        self.headers = dict(adapter.headers)
        self._process = process

    def use_token(self, token: str) -> None:
        """Sign every request with this token from now on."""
        self.headers = {name: substitute(value, {"TOKEN": token}) for name, value in self.adapter.headers.items()}

    def processes(self) -> list[psutil.Process]:
        """Everything the service consists of at this moment."""
        return [self._process, *self._process.children(recursive=True)]

    def ask(self, endpoint: str, values: Values, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of one request to an endpoint of the adapter, with other `headers` where they are given."""
        chosen = self.headers if headers is None else headers
        base_url, description = self.adapter.base_url, self.adapter.endpoints[endpoint]
        return send(base_url, build_request(base_url, chosen, description, values))


def send(base_url: str, request: Request) -> tuple[int, bytes]:
    """Status and body of the answer to one request."""
    parts = urlsplit(base_url)
    headers = {name: value for name, value in request.headers.items() if name != "Host"}
    sent = urllib.request.Request(
        f"{parts.scheme}://{parts.netloc}{request.path}",
        data=request.body or None,
        method=request.method,
        headers=headers,
    )
    try:
        with urllib.request.urlopen(sent, timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


@contextlib.contextmanager
def run_service(adapter: Adapter, variables: Mapping[str, str]) -> Iterator[Service]:
    """The service, ready to be asked, until the end of the block; its output goes to a log file."""
    port = urlsplit(adapter.base_url).port or 80
    if _is_open(port):
        raise BenchError(f"Port {port} is taken by another program; {adapter.name} needs it.")
    log = HOME / "log" / f"{adapter.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PORT": str(port), **{name: variables[name] for name in ("MONGO_URI", "BENCH_HOME")}}
    environment.update({name: substitute(value, variables) for name, value in adapter.env.items()})
    with log.open("wb") as output:
        child = subprocess.Popen(
            [substitute(word, variables) for word in adapter.start],
            cwd=adapter.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_open(adapter, child, port)
        yield Service(adapter, psutil.Process(child.pid))
    finally:
        _stop(child)


def _wait_until_open(adapter: Adapter, child: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_open(port):
        if child.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"{adapter.name} did not start; its messages are in bench/.home/log/{adapter.name}.log.")
        time.sleep(0.1)
    time.sleep(adapter.settle_seconds)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """End the service in order; what is left of it after that is killed."""
    members: list[Any] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        members = psutil.Process(child.pid).children(recursive=True)
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(STOP_SECONDS)
    if child.poll() is None:
        child.kill()
        child.wait()
    _, left = psutil.wait_procs(members, timeout=3)
    for member in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
