"""The local mongod: found, started, reused, refused, stopped."""

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pymongo
import pytest

import mongod
import process
from mongod import LocalMongod
from process import Identity, ProcessError
from tests.mongod_fixture import OPTIONS, RunningMongod, find_free_port, start_mongod


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    running = mongod.find_running(tmp_path)
    if running is not None:
        mongod.stop(running)


def start(directory: Path, port: int | None = None) -> LocalMongod:
    return mongod.start(directory, port=port or find_free_port(), options=OPTIONS)


def connect(running: LocalMongod | RunningMongod) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(running.uri, serverSelectionTimeoutMS=5000)


def test_started_mongod_has_transactions_change_streams_and_retryable_writes(directory: Path) -> None:
    with connect(start(directory)) as client, client.app.items.watch(max_await_time_ms=5000) as stream:
        with client.start_session() as session, session.start_transaction():
            client.app.items.insert_one({"n": 1}, session=session)
        assert next(stream)["fullDocument"]["n"] == 1
        assert client.admin.command("hello")["setName"] == "rs0"


def test_started_mongod_listens_on_loopback_only(directory: Path) -> None:
    running = start(directory)
    listening = [each for each in psutil.Process(running.identity.pid).net_connections() if each.status == "LISTEN"]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


def test_starting_again_uses_the_running_one(directory: Path) -> None:
    first = start(directory)
    assert start(directory, port=first.port) == first


def test_documents_survive_stop_and_start_under_another_port(directory: Path) -> None:
    first = start(directory)
    with connect(first) as client:
        client.app.items.insert_one({"_id": 1}, session=None)
    mongod.stop(first)
    second = start(directory)
    assert second.port != first.port
    with connect(second) as client:
        assert client.app.items.find_one() == {"_id": 1}


def test_stop_ends_the_process_and_forgets_it(directory: Path) -> None:
    running = start(directory)
    mongod.stop(running)
    assert not psutil.pid_exists(running.identity.pid)
    assert mongod.find_running(directory) is None


def test_start_after_kill_recovers(directory: Path) -> None:
    first = start(directory)
    os.kill(first.identity.pid, signal.SIGKILL)
    assert start(directory, port=first.port).identity != first.identity


def test_orphan_gets_the_new_owner(directory: Path) -> None:
    gone = Identity(pid=os.getpid(), began=0.0)
    mongod.start(directory, port=find_free_port(), owner=gone, options=OPTIONS)
    me = process.identify(os.getpid())
    adopted = mongod.start(directory, port=find_free_port(), owner=me, options=OPTIONS)
    assert adopted.owner == me
    assert not adopted.is_orphan


def test_port_of_another_program_is_named_with_the_setting(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ProcessError, match=rf"^Port {port} is taken.*SHEAF_MONGOD_PORT"):
            start(directory, port=port)


def test_refusal_of_mongod_is_quoted_and_nothing_is_left(directory: Path) -> None:
    with pytest.raises(ProcessError, match="unrecognised option '--nonsense'"):
        mongod.start(directory, port=find_free_port(), options=["--nonsense"])
    assert mongod.find_running(directory) is None


def test_damaged_files_are_named_from_the_log(directory: Path) -> None:
    mongod.stop(start(directory))
    (directory / "db" / "WiredTiger.turtle").write_text("damaged")
    with pytest.raises(ProcessError, match=r"mongod did not start: .*turtle"):
        start(directory)


def test_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProcessError, match=r"cannot be written .*SHEAF_DATA"):
        start(tmp_path / "file" / "data")


def test_unusable_setting_is_named() -> None:
    with pytest.raises(ProcessError, match=r"SHEAF_MONGOD names /no/such/mongod"):
        mongod.find_binary("/no/such/mongod")


def test_mongod_on_path_comes_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mongod"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mongod.find_binary() == program


def test_without_any_mongod_the_ways_to_get_one_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ProcessError, match=r"requirements-local\.txt.*SHEAF_MONGOD.*MONGODB_URI"):
        mongod.find_binary()


def test_wheel_without_execute_permission_is_made_executable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "db" / "bin" / "mongod"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o644)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    )
    assert mongod.find_binary() == program
    assert program.stat().st_mode & stat.S_IXUSR


def test_state_of_a_process_that_is_gone_is_not_believed(tmp_path: Path) -> None:
    state = {"identity": {"pid": os.getpid(), "began": 1.0}, "port": 1, "owner": None}
    (tmp_path / "mongod.json").write_text(json.dumps(state))
    assert mongod.find_running(tmp_path) is None


def test_unreadable_state_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "mongod.json").write_text("{ half")
    assert mongod.find_running(tmp_path) is None


def test_large_log_is_set_aside(directory: Path) -> None:
    log = directory / "log" / "mongod.log"
    log.parent.mkdir()
    log.write_bytes(b"old\n" * (mongod.LARGEST_LOG_BYTES // 4))
    start(directory)
    assert log.with_suffix(".log.1").stat().st_size == mongod.LARGEST_LOG_BYTES
    assert log.stat().st_size < mongod.LARGEST_LOG_BYTES


def test_fixture_kills_restarts_and_pauses(tmp_path: Path) -> None:
    running = start_mongod(tmp_path)
    try:
        with connect(running) as client:
            client.app.items.insert_one({"_id": 1})
        running.kill()
        running.restart()
        running.pause()
        assert process.wait_until(lambda: psutil.Process(running.pid).status() == psutil.STATUS_STOPPED, 5)
        running.resume()
        with connect(running) as client:
            assert client.app.items.count_documents({}) == 1
    finally:
        running.stop()
    assert not psutil.pid_exists(running.pid)
