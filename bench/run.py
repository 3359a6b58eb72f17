"""Command line of the measurement: seeds, checks and measures services in turn, and prints the tables.

Services are measured one at a time on the same mongod, in turns (rounds), the order reversed in every second one, so
that a machine that gets slower or faster meanwhile does it to all of them.
"""

import argparse
import contextlib
import json
import math
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pymongo
from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

import mongod
import process
from bench import BenchError, dataset, measure, table
from bench.account import Accounts
from bench.adapter import FOLDER, HOME, Adapter, find_adapters, peers_home
from bench.check import check_service
from bench.dataset import Document
from bench.description import describe
from bench.options import parse_arguments
from bench.service import Service, run_service
from bench.workload import NEW_DOCUMENTS, build_requests, draw_values, write_requests

SERVICE_DATABASE = "bench_service"
DOCUMENT = FOLDER.parent / "docs" / "performance.md"
WARM_CONNECTIONS = 8
WRITING = ("W4", "W5", "W6")
# A load goes on until it can be expected to have had this many answers, within limits.
WANTED_ANSWERS = 30
LONGEST_SECONDS = 20


class Run:
    """One run: the mongod, the chosen services, and where results go."""

    def __init__(self, options: argparse.Namespace, client: pymongo.MongoClient[Document], uri: str) -> None:
        self.options = options
        self.client = client
        self.variables = {
            **os.environ,
            "PYTHON": sys.executable,
            "MONGO_URI": uri,
            "BENCH_HOME": str(peers_home()),
            "SECRET_KEY": secrets.token_urlsafe(48),
        }
        self.adapters, missing = find_adapters(options.services, self.variables)
        self.skipped: dict[str, str] = {}
        for name, reason in missing.items():
            self.skip(name, reason)
        self.accounts = Accounts()
        self.load_average = os.getloadavg()[0]
        self.mongod: list[psutil.Process] = []

    def collection(self, adapter: Adapter) -> Collection[Document]:
        """Where the service keeps the documents."""
        return self.client[adapter.database][adapter.collection]

    @contextlib.contextmanager
    def open_service(self, adapter: Adapter) -> Iterator[Service]:
        """The running service, signed in where it has accounts."""
        with run_service(adapter, self.variables) as service:
            if adapter.account:
                service.use_token(self.accounts.sign_in(adapter, adapter.account))
            yield service

    def prepare(self) -> None:
        """Every database holds the data set."""
        ours = [adapter for adapter in self.adapters if adapter.account]
        if ours:
            say(f"seeding {ours[0].database}")
            self._prepare_own(ours[0])
        for adapter in self.adapters:
            collection = self.collection(adapter)
            dataset.delete_new(collection)
            if not adapter.account and not dataset.is_seeded(collection):
                say(f"seeding {adapter.database}")
                dataset.seed(collection)

    def _prepare_own(self, adapter: Adapter) -> None:
        """Fresh accounts, and a collection with the indexes the service makes, filled with documents of the owner."""
        for name in (SERVICE_DATABASE, adapter.database):
            self.client.drop_database(name)
        with run_service(adapter, self.variables) as service:
            self.accounts.sign_up(adapter, self.variables)
            service.use_token(self.accounts.sign_in(adapter, "owner"))
            status, body = service.ask("W4", draw_values(secrets.SystemRandom(), "W4", 0))
        if status >= 400:
            raise BenchError(f"{adapter.name} answered {status} to a first document: {body[:300].decode()}")
        dataset.seed(self.collection(adapter), {"_owner": ObjectId(self.accounts.id_of("owner"))})

    def check(self) -> None:
        """Every service was seen to do its work: a peer that does not is left out; ours raises BenchError."""
        for adapter in tuple(self.adapters):
            try:
                self._check_one(adapter)
            except BenchError as failure:
                if adapter.account:
                    raise
                self.adapters.remove(adapter)
                self.skip(adapter.name, str(failure))

    def skip(self, name: str, reason: str) -> None:
        """Say now, and beside the results, that a service is left out."""
        self.skipped[name] = reason.partition("\n")[0]
        say(f"skipped: {name} ({self.skipped[name]})")

    def _check_one(self, adapter: Adapter) -> None:
        with self.open_service(adapter) as service:
            stranger = self.accounts.sign_in(adapter, "other") if adapter.account else None
            for line in check_service(service, self.collection(adapter), stranger):
                say(f"{adapter.name} {line}")

    def measure(self) -> Iterator[dict[str, Any]]:
        """The records of all loads, as they come."""
        for number in range(self.options.rounds):
            for adapter in self.adapters if number % 2 == 0 else self.adapters[::-1]:
                with self.open_service(adapter) as service:
                    for workload in self.options.workloads:
                        common = {"service": adapter.name, "workload": workload, "round": number}
                        if not adapter.offers(workload):
                            yield {**common, "offered": False}
                            continue
                        for record in self._measure_workload(service, workload, number):
                            yield {**common, "offered": True, **record}

    def describe(self) -> dict[str, Any]:
        """The record that goes before all others."""
        version = self.client.server_info()["version"]
        return describe(self.options, self.skipped, mongod_version=version, load_average=self.load_average)

    def _measure_workload(self, service: Service, workload: str, number: int) -> Iterator[dict[str, Any]]:
        adapter = service.adapter
        path = HOME / "requests" / f"{adapter.name}.{workload}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_requests(path, build_requests(adapter, service.headers, workload, number, self.options.hot))
        # Inserting 1000 at a time fills the disk quickly, and is warm after fewer requests.
        warm_seconds = math.ceil(self.options.warm / 2) if workload == "W5" else self.options.warm
        warm = measure.run_wrk(adapter.base_url, path, WARM_CONNECTIONS, warm_seconds)
        measure.wait_until_quiet(service.processes())
        for connections in self.options.connections:
            seconds = choose_seconds(self.options.seconds, warm)
            yield self._measure_load(service, workload, path, connections, seconds)
            measure.wait_until_quiet(service.processes())
        path.unlink()
        if workload in WRITING:
            dataset.delete_new(self.collection(adapter))

    def _measure_load(
        self, service: Service, workload: str, requests: Path, connections: int, seconds: int
    ) -> dict[str, Any]:
        collection, processes = self.collection(service.adapter), service.processes()
        carried = NEW_DOCUMENTS.get(workload, 0)
        stored = dataset.count_new(collection) if carried else 0
        server_cpu, mongod_cpu = measure.cpu_seconds(processes), measure.cpu_seconds(self.mongod)
        load = measure.run_wrk(service.adapter.base_url, requests, connections, seconds)
        server_cpu = measure.cpu_seconds(processes) - server_cpu
        mongod_cpu = measure.cpu_seconds(self.mongod) - mongod_cpu
        memory = measure.memory_mb(processes)
        stored = dataset.count_new(collection) - stored if carried else 0
        answered = max(1, load.requests)
        # An insert that was answered as done and is not there is an error like any other.
        missing = max(0, (load.requests - load.errors) * carried - stored)
        return {
            "connections": connections,
            "requests": load.requests,
            "requests_per_second": round(load.requests / load.seconds, 2),
            "p50_ms": load.p50_ms,
            "p99_ms": load.p99_ms,
            "server_cpu_us": round(server_cpu / answered * 1e6),
            "mongod_cpu_us": round(mongod_cpu / answered * 1e6) if self.mongod else None,
            "memory_mb": round(memory),
            "errors": load.errors + missing,
        }


def choose_seconds(seconds: int, warm: measure.Load) -> int:
    """How long to measure: as asked, and longer where a service is so slow that hardly an answer would be counted."""
    if not warm.requests:
        return max(seconds, LONGEST_SECONDS)
    needed = math.ceil(WANTED_ANSWERS * warm.seconds / warm.requests)
    return max(seconds, min(needed, LONGEST_SECONDS))


@contextlib.contextmanager
def open_mongod() -> Iterator[tuple[str, list[psutil.Process]]]:
    """URI and process of the mongod that all services use: the one in BENCH_MONGO, else one of our own."""
    named = os.environ.get("BENCH_MONGO")
    if named:
        path = os.environ.get("BENCH_MONGOD_PIDFILE")
        yield named, [psutil.Process(int(Path(path).read_text(encoding="ascii")))] if path else []
        return
    with socket.socket() as probe:
        probe.bind((mongod.HOST, 0))
        port = probe.getsockname()[1]
    own = process.identify(os.getpid())
    say("starting mongod")
    running = mongod.start(HOME / "mongod", port=port, owner=own, options=("--wiredTigerCacheSizeGB", "1"))
    try:
        yield running.uri, [psutil.Process(running.identity.pid)]
    finally:
        mongod.stop(running)


def say(line: str) -> None:
    """Tell how far the run is; results alone go to standard output."""
    print(line, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> None:
    """Prepare, check, and measure unless only the check was asked for."""
    measure.require_wrk()
    HOME.mkdir(parents=True, exist_ok=True)
    with open_mongod() as (uri, processes), pymongo.MongoClient[Document](uri, tz_aware=True) as client:
        current = Run(options, client, uri)
        current.mongod = processes
        current.prepare()
        current.check()
        if not current.adapters:
            raise BenchError("None of the chosen services can be run here.")
        if not options.check:
            report(current, options)


def report(current: Run, options: argparse.Namespace) -> None:
    """Measure; keep every result in a file as it comes, and print the tables."""
    options.out.parent.mkdir(parents=True, exist_ok=True)
    records = [current.describe()]
    with options.out.open("w", encoding="utf-8") as file:
        file.write(json.dumps(records[0]) + "\n")
        for record in current.measure():
            records.append(record)
            file.write(json.dumps(record) + "\n")
            file.flush()
            say(json.dumps(record))
    text = table.render(records)
    print(text)
    if options.write:
        table.write_document(DOCUMENT, text)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Run; a failure is one sentence on stderr and exit code 1."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        run(parse_arguments())
    except (BenchError, process.ProcessError, PyMongoError) as failure:
        sys.exit(f"Error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
