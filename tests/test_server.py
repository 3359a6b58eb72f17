"""`runserver` from start to stop, with real processes and signals, on both HTTP servers."""

import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

import process
from settings import ROOT
from tests.command_line import RunServer, build_environment, fails_with, first_admin_password, is_running, run_command
from tests.mongod_fixture import RunningMongod, find_free_port, start_mongod

SECRET = "s" * 40
Start = Callable[..., RunServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a runserver in a folder of its own; all of them are ended after the test."""
    started: list[RunServer] = []

    def start_one(*arguments: str, **overrides: str) -> RunServer:
        started.append(RunServer(tmp_path / f"data{len(started)}", *arguments, **overrides))
        return started[-1]

    yield start_one
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMongod]:
    running = start_mongod(tmp_path_factory.mktemp("mongod"))
    yield running
    running.stop()


@pytest.fixture
def own_database(mongod: RunningMongod, tmp_path: Path) -> dict[str, str]:
    """Settings of a development server on a MongoDB that is not Sheaf's to start or stop."""
    return {"MONGODB_URI": mongod.uri, "SHEAF_ENV": "development", "SHEAF_DATABASE": f"s{abs(hash(tmp_path))}"}


class HalfSentRequest:
    """A request that runs in the server, because the rest of its body has not been sent yet."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        body = b'{"username": "half-sent", "password": "correct horse battery"}'
        head = f"POST /v1/users HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        self._rest = body
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        # The server sends this when it has begun to read the body.
        assert b" 100 " in self._socket.recv(100)

    def finish(self) -> bytes:
        """The status line of the answer, after the rest was sent; empty when the server has hung up."""
        self._socket.sendall(self._rest)
        try:
            return self._socket.recv(100).split(b"\r\n")[0]
        except ConnectionError:
            return b""
        finally:
            self._socket.close()


def serves_nobody_new(url: str) -> bool:
    """Whether a new request is refused (granian) or kept waiting (gunicorn): the stop has begun."""
    try:
        requests.get(f"{url}/health", timeout=0.5)
    except requests.RequestException:
        return True
    return False


def refuses_connections(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return True
    return False


def test_first_start_brings_database_secret_admin_and_welcome(start: Start) -> None:
    sheaf = start().wait_until_ready()
    assert sheaf.is_answering()
    assert stat.S_IMODE((sheaf.data / "secret_key").stat().st_mode) == 0o600
    assert f"{sheaf.url}/docs" in sheaf.output
    assert all(f"curl {sheaf.url}/v1/{part}" in sheaf.output for part in ("users", "sessions", "db/app/items"))
    sign_in = {"login": "admin", "password": first_admin_password(sheaf.output)}
    assert requests.post(f"{sheaf.url}/v1/sessions", json=sign_in, timeout=10).json()["access_token"]


def test_stop_and_status_from_another_terminal(start: Start) -> None:
    sheaf = start().wait_until_ready()
    server, mongod = sheaf.server_pid(), sheaf.mongod_pid()
    status = run_command("status", environment=sheaf.environment)
    assert status.returncode == 0
    assert f"Sheaf runs at {sheaf.url} (pid {sheaf.process.pid}, granian)" in status.stdout
    assert run_command("stop", environment=sheaf.environment).returncode == 0
    assert sheaf.wait_until_stopped() == 0
    assert not is_running(server)
    assert not is_running(mongod)
    assert run_command("status", environment=sheaf.environment).returncode == 1
    assert "Nothing was running" in run_command("stop", environment=sheaf.environment).stdout


def test_second_start_shows_no_password_again(start: Start) -> None:
    sheaf = start().wait_until_ready()
    sheaf.send_signal(signal.SIGINT)
    assert sheaf.wait_until_stopped() == 0
    sheaf.start()
    assert "first admin" not in sheaf.wait_until_ready().output


def test_second_runserver_on_the_same_data_names_the_first(start: Start) -> None:
    sheaf = start().wait_until_ready()
    second = run_command("runserver", "--port", str(find_free_port()), environment=sheaf.environment)
    assert fails_with(second, sheaf.url, f"pid {sheaf.process.pid}", "manage.py stop")
    assert sheaf.is_answering()


def test_port_of_another_program_is_one_sentence(start: Start, own_database: dict[str, str], tmp_path: Path) -> None:
    sheaf = start(**own_database).wait_until_ready()
    other = build_environment(tmp_path / "other", **own_database, PORT=sheaf.environment["PORT"])
    assert fails_with(run_command("runserver", environment=other), sheaf.environment["PORT"], "--port")


def test_mongod_port_of_another_program_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        result = run_command("runserver", environment=build_environment(tmp_path, SHEAF_MONGOD_PORT=port))
    assert fails_with(result, port, "SHEAF_MONGOD_PORT")
    assert not (tmp_path / "sheaf.json").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"SHEAF_MONGOD": "/no/such/mongod"}, ["/no/such/mongod"]),
        ({"SHEAF_HOST": "203.0.113.1"}, ["cannot listen", "203.0.113.1"]),
        ({"SHEAF_THREADS": "many"}, ["SHEAF_THREADS"]),
        ({"SHEAF_COLOUR": "red"}, ["SHEAF_COLOUR"]),
        ({"SHEAF_ENV": "production"}, ["SECRET_KEY"]),
        ({"MONGODB_URI": "mongo://x", "SHEAF_ENV": "development"}, ["MONGODB_URI"]),
        ({"MONGODB_URI": "mongodb://u:pass:w/rd@host", "SHEAF_ENV": "development"}, ["MONGODB_URI", "percent-encode"]),
    ],
)
def test_start_that_cannot_be_is_one_sentence(overrides: dict[str, str], words: list[str], tmp_path: Path) -> None:
    result = run_command("runserver", environment=build_environment(tmp_path, **overrides))
    assert fails_with(result, *words)
    assert "pass:w" not in result.stderr


@pytest.mark.parametrize("data", ["file/data", "file"])
def test_data_directory_that_cannot_be_made_is_one_sentence(data: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run_command("runserver", environment=build_environment(tmp_path / data))
    assert fails_with(result, "SHEAF_DATA")


@pytest.mark.parametrize("arguments", [["--host", "0.0.0.0"], []])
def test_debug_is_refused_where_others_could_reach_it(arguments: list[str], tmp_path: Path) -> None:
    environment = build_environment(tmp_path, SECRET_KEY=SECRET, SHEAF_ENV="" if arguments else "production")
    assert fails_with(run_command("runserver", "--debug", *arguments, environment=environment), "--debug")


def test_debug_serves_with_flask(start: Start, own_database: dict[str, str]) -> None:
    sheaf = start("--debug", **own_database).wait_until_ready()
    assert "Werkzeug" in requests.get(f"{sheaf.url}/health", timeout=10).headers["Server"]
    sheaf.send_signal(signal.SIGTERM)
    assert sheaf.wait_until_stopped() == 0
    assert process.wait_until(lambda: refuses_connections(sheaf.url), 5)


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_request_under_way_is_answered_before_the_stop(
    start: Start, own_database: dict[str, str], server: str, number: signal.Signals
) -> None:
    sheaf = start("--server", server, **own_database).wait_until_ready()
    request = HalfSentRequest(sheaf.url)
    sheaf.send_signal(number)
    assert process.wait_until(lambda: serves_nobody_new(sheaf.url), 10)
    assert request.finish().startswith(b"HTTP/1.1 201")
    assert sheaf.wait_until_stopped() == 0


def test_request_waiting_for_the_local_mongod_is_answered_before_the_stop(start: Start) -> None:
    sheaf = start().wait_until_ready()
    answers: list[int] = []
    request = HalfSentRequest(sheaf.url)
    mongod = sheaf.mongod_pid()
    os.kill(mongod, signal.SIGSTOP)
    thread = threading.Thread(target=lambda: answers.append(int(request.finish().split()[1])))
    thread.start()
    sheaf.send_signal(signal.SIGTERM)
    assert process.wait_until(lambda: serves_nobody_new(sheaf.url), 10)
    os.kill(mongod, signal.SIGCONT)
    thread.join(20)
    assert answers == [201]
    assert sheaf.wait_until_stopped() == 0
    assert not is_running(mongod)


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_signal_to_every_process_at_once_still_answers(start: Start, own_database: dict[str, str], server: str) -> None:
    """As Heroku stops a dyno."""
    sheaf = start("--server", server, **own_database).wait_until_ready()
    request = HalfSentRequest(sheaf.url)
    for pid in [*sheaf.worker_pids(), sheaf.server_pid(), sheaf.process.pid]:
        os.kill(pid, signal.SIGTERM)
    assert process.wait_until(lambda: serves_nobody_new(sheaf.url), 10)
    assert request.finish().startswith(b"HTTP/1.1 201")
    assert sheaf.wait_until_stopped() == 0


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_request_that_never_ends_is_cut_off_at_the_limit(
    start: Start, own_database: dict[str, str], server: str
) -> None:
    sheaf = start("--server", server, **own_database, SHEAF_SHUTDOWN_SECONDS="1").wait_until_ready()
    request = HalfSentRequest(sheaf.url)
    sheaf.send_signal(signal.SIGTERM)
    assert sheaf.process.wait(10) == 0
    assert request.finish() == b""


def test_second_signal_does_not_wait_for_requests(start: Start, own_database: dict[str, str]) -> None:
    sheaf = start(**own_database, SHEAF_SHUTDOWN_SECONDS="600").wait_until_ready()
    request = HalfSentRequest(sheaf.url)
    sheaf.send_signal(signal.SIGINT)
    assert process.wait_until(lambda: serves_nobody_new(sheaf.url), 10)
    sheaf.send_signal(signal.SIGINT)
    assert sheaf.process.wait(10) == 0
    assert request.finish() == b""


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_killed_worker_is_replaced(start: Start, own_database: dict[str, str], server: str) -> None:
    sheaf = start("--server", server, **own_database).wait_until_ready()
    assert process.wait_until(lambda: len(sheaf.worker_pids()) == 2, 10)
    victim = min(sheaf.worker_pids())
    os.kill(victim, signal.SIGKILL)
    assert process.wait_until(lambda: victim not in (now := sheaf.worker_pids()) and len(now) == 2, 5)
    assert process.wait_until(sheaf.is_answering, 10)
    assert sheaf.process.poll() is None


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_killed_server_ends_runserver_with_a_sentence(start: Start, server: str) -> None:
    sheaf = start("--server", server).wait_until_ready()
    mongod, workers = sheaf.mongod_pid(), sheaf.worker_pids()
    os.kill(sheaf.server_pid(), signal.SIGKILL)
    assert sheaf.wait_until_stopped() == 1
    assert "The HTTP server ended by itself" in sheaf.output
    assert "Traceback" not in sheaf.output
    assert not any(is_running(pid) for pid in [mongod, *workers])


@pytest.mark.parametrize("server", ["granian", "gunicorn"])
def test_start_after_killed_runserver_takes_over(start: Start, server: str) -> None:
    sheaf = start("--server", server).wait_until_ready()
    orphans, mongod = {sheaf.server_pid(), *sheaf.worker_pids()}, sheaf.mongod_pid()
    sheaf.process.kill()
    sheaf.process.wait()
    assert "was killed" in run_command("status", environment=sheaf.environment).stdout
    sheaf.start("--server", server)
    sheaf.wait_until_ready()
    assert sheaf.is_answering()
    assert not any(is_running(pid) for pid in orphans)
    assert sheaf.mongod_pid() == mongod
    sheaf.send_signal(signal.SIGTERM)
    assert sheaf.wait_until_stopped() == 0
    assert not is_running(mongod)


def test_stop_ends_what_a_killed_runserver_left(start: Start) -> None:
    sheaf = start().wait_until_ready()
    left = {sheaf.server_pid(), sheaf.mongod_pid(), *sheaf.worker_pids()}
    sheaf.process.kill()
    sheaf.process.wait()
    assert run_command("stop", environment=sheaf.environment).returncode == 0
    assert not any(is_running(pid) for pid in left)


def test_killed_mongod_is_started_again(start: Start) -> None:
    sheaf = start().wait_until_ready()
    first = sheaf.mongod_pid()
    os.kill(first, signal.SIGKILL)
    assert process.wait_until(lambda: sheaf.mongod_pid() != first, 10)
    assert process.wait_until(sheaf.is_answering, 15)


def test_mongod_started_by_hand_is_used_and_left_running(start: Start, tmp_path: Path) -> None:
    data = tmp_path / "data0"
    environment = build_environment(data)
    assert run_command("mongod", "start", environment=environment).returncode == 0
    sheaf = start(SHEAF_MONGOD_PORT=environment["SHEAF_MONGOD_PORT"]).wait_until_ready()
    mongod = sheaf.mongod_pid()
    sheaf.send_signal(signal.SIGTERM)
    assert sheaf.wait_until_stopped() == 0
    assert is_running(mongod)
    assert run_command("mongod", "status", environment=environment).returncode == 0
    assert run_command("mongod", "stop", environment=environment).returncode == 0
    assert not is_running(mongod)


def test_mongod_of_a_running_server_is_not_stopped_alone(start: Start) -> None:
    sheaf = start().wait_until_ready()
    assert fails_with(run_command("mongod", "stop", environment=sheaf.environment), "manage.py stop")
    assert sheaf.is_answering()


def test_production_starts_no_mongod_and_no_admin(start: Start, own_database: dict[str, str]) -> None:
    sheaf = start(**{**own_database, "SHEAF_ENV": ""}, SECRET_KEY=SECRET).wait_until_ready()
    assert process.wait_until(lambda: "user add --admin" in sheaf.output, 5)
    assert "first admin was created" not in sheaf.output
    assert not (sheaf.data / "mongod.json").exists()
    assert not (sheaf.data / "secret_key").exists()


def test_database_that_never_answers_is_one_sentence(tmp_path: Path) -> None:
    uri = f"mongodb://someone:hidden@127.0.0.1:{find_free_port()}"
    environment = build_environment(tmp_path, MONGODB_URI=uri, SHEAF_ENV="development")
    result = run_command("wait", "--seconds", "2", environment=environment)
    assert fails_with(result, "No primary answered at 127.0.0.1:", "within 2 seconds")
    assert "hidden" not in result.stderr


def test_line_of_the_procfile_serves_on_every_address(mongod: RunningMongod, tmp_path: Path) -> None:
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    environment = build_environment(tmp_path, MONGODB_URI=mongod.uri, SECRET_KEY=SECRET, SHEAF_DATABASE="procfile")
    release = [sys.executable, *shlex.split(lines["release"])[1:]]
    assert subprocess.run(release, cwd=ROOT, env=environment, check=True, timeout=30).returncode == 0
    web = [sys.executable, *shlex.split(lines["web"])[1:]]
    running = subprocess.Popen(web, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{environment['PORT']}"
        assert process.wait_until(lambda: not refuses_connections(url), 20)
        assert process.wait_until((tmp_path / "sheaf.json").exists, 5)
    finally:
        running.terminate()
        assert running.wait(30) == 0


@pytest.fixture
def run_gunicorn() -> Iterator[Callable[[dict[str, str]], str]]:
    """Starts gunicorn by itself, and answers its URL once it serves."""
    started: list[subprocess.Popen[bytes]] = []

    def run(environment: dict[str, str]) -> str:
        url = f"http://127.0.0.1:{environment['PORT']}"
        command = [sys.executable, "-m", "gunicorn", "application:create_app()"]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment))
        assert process.wait_until(lambda: is_healthy(url), 20)
        return url

    yield run
    for each in started:
        each.terminate()
        assert each.wait(30) == 0


def is_healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def test_gunicorn_by_itself_migrates_before_it_serves(
    mongod: RunningMongod, tmp_path: Path, run_gunicorn: Callable[[dict[str, str]], str]
) -> None:
    environment = build_environment(
        tmp_path, MONGODB_URI=mongod.uri, SECRET_KEY=SECRET, SHEAF_DATABASE=f"g{find_free_port()}"
    )
    url = run_gunicorn(environment)
    assert requests.get(f"{url}/ready", timeout=10).status_code == 200
    account = {"username": "ada", "password": "nine-green-lanterns"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: requests.post(f"{url}/v1/users", json=account, timeout=20), range(4)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 201
    assert 201 not in statuses[1:]


def test_gunicorn_by_itself_finds_the_local_mongod(
    tmp_path: Path, run_gunicorn: Callable[[dict[str, str]], str]
) -> None:
    environment = build_environment(tmp_path)
    assert run_command("mongod", "start", environment=environment).returncode == 0
    try:
        url = run_gunicorn(environment)
        assert requests.get(f"{url}/ready", timeout=10).status_code == 200
    finally:
        run_command("mongod", "stop", environment=environment)


@pytest.mark.parametrize("names_a_database", [True, False])
def test_gunicorn_by_itself_says_in_a_sentence_why_it_does_not_start(names_a_database: bool, tmp_path: Path) -> None:
    uri = "mongodb://u:pass:w/rd@host" if names_a_database else ""
    environment = build_environment(tmp_path, MONGODB_URI=uri, SHEAF_ENV="development")
    command = [sys.executable, "-m", "gunicorn", "application:create_app()"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=50)
    assert fails_with(result, "MONGODB_URI")
    assert "pass:w" not in result.stderr
