"""The HTTP server: granian or gunicorn as a child process, with the local mongod beside it, from start to stop.

`run()` is what `manage.py runserver` does. What runs is written in `sheaf.json` in the data directory, where `find()`
and `stop()` look from another terminal.
"""

import contextlib
import dataclasses
import errno
import http.client
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import mongod
import process
from process import Identity, ProcessError
from settings import ROOT, Settings

START_SECONDS = 60
# Beyond SHEAF_SHUTDOWN_SECONDS, for the server to notice that its last request has ended.
STOP_MARGIN_SECONDS = 5
# granian counts idle kept-alive connections too, and accepts no more at the limit.
CONNECTIONS_PER_WORKER = 4096
OPEN_FILES = 65_536
MONGOD_RESTARTS_PER_MINUTE = 5


class StopRequested(BaseException):
    """The user or the system asked this process to stop. Not an Exception, so that no handler of failures takes it."""


class StopSignals:
    """Turns the first SIGINT, SIGTERM or SIGHUP into StopRequested; a second one makes `is_urgent` true."""

    def __init__(self) -> None:
        self._count = 0
        self._held = False

    @property
    def is_urgent(self) -> bool:
        """Whether stopping was asked for again while it was under way."""
        return self._count > 1

    def ignore(self) -> None:
        """Count signals from now on, but raise nothing: what is under way is the stop itself."""
        self._held = True

    def install(self) -> None:
        """Listen from now on, until the process ends."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)
        # `nohup` has it ignored, and means it.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._receive)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, a signal waits until the end: for a step that must not be left half done."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._count:
            raise StopRequested

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1 and not self._held:
            raise StopRequested


@dataclasses.dataclass(frozen=True)
class RunningServer:
    """What the state file says of a `runserver` and of the HTTP server it started (None: not yet)."""

    runner: Identity
    child: Identity | None
    url: str
    server: str

    @property
    def is_orphan(self) -> bool:
        """Whether the HTTP server goes on although its `runserver` was killed."""
        return not self.runner.is_alive() and self.child is not None and self.child.is_alive()


def find(directory: Path) -> RunningServer | None:
    """What the last `runserver` on this data directory left to find; None after an orderly stop."""
    state = process.read_state(_state_path(directory))
    if state is None:
        return None
    child = Identity(**state["child"]) if state["child"] else None
    return RunningServer(Identity(**state["runner"]), child, state["url"], state["server"])


def run(chosen: Settings, prepare: Callable[[], None], announce: Callable[[str], None], *, debug: bool = False) -> None:
    """Serve until told to stop; afterwards nothing that was started here runs any more.

    `prepare` is called when `chosen.mongodb_uri` names a running database, `announce` with the URL when the server
    answers. Raises ProcessError when something does not start, or ends by itself.
    """
    # Said outright from here on: it must not change when the local mongod's URI is filled in.
    chosen.environment = "production" if chosen.is_production else "development"
    directory = chosen.data_path
    process.prepare_directory(directory)
    with process.hold_lock(directory / "sheaf.lock") as is_free:
        if not is_free:
            raise ProcessError(_already_running(directory))
        stop_orphans(directory, keep_mongod=not chosen.mongodb_uri)
        _check_port(chosen)
        _raise_open_files()
        signals = StopSignals()
        signals.install()
        with contextlib.ExitStack() as cleanup, contextlib.suppress(StopRequested):
            try:
                _serve(chosen, signals, cleanup, (prepare, announce), debug)
            finally:
                signals.ignore()


def is_running(directory: Path) -> bool:
    """Whether a `runserver` of this data directory is alive."""
    found = find(directory)
    return found is not None and found.runner.is_alive()


def stop(directory: Path, seconds: float) -> bool:
    """Stop the server of this data directory and what it started; whether there was anything to stop."""
    found = find(directory)
    if found is not None and found.runner.is_alive():
        if not process.end(found.runner, seconds):
            raise ProcessError(f"Sheaf (pid {found.runner.pid}) did not stop within {seconds:.0f} seconds.")
        return True
    return stop_orphans(directory)


def stop_orphans(directory: Path, *, keep_mongod: bool = False) -> bool:
    """End what a killed `runserver` left behind; whether there was anything. A kept mongod is there to be used."""
    found = find(directory)
    if found is not None and found.child is not None:
        # At once: whoever killed the runner wanted it gone, and a restart waits for the port.
        process.kill_session(found.child)
    _state_path(directory).unlink(missing_ok=True)
    database = mongod.find_running(directory)
    has_orphan = database is not None and database.is_orphan
    if database is not None and has_orphan and not keep_mongod:
        mongod.stop(database)
    return found is not None or has_orphan


def build_command(chosen: Settings, *, debug: bool = False) -> list[str]:
    """The command line of the HTTP server."""
    if debug:
        command = ["flask", "--app", "application:create_app", "run", "--debug", "--host", chosen.host]
        return [sys.executable, "-m", *command, "--port", str(chosen.port)]
    if chosen.server == "gunicorn":
        return [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "application:create_app()"]
    options = {
        "--interface": "wsgi",
        "--host": chosen.host,
        "--port": chosen.port,
        "--workers": chosen.workers,
        "--blocking-threads": chosen.threads,
        "--backlog": 2048,
        "--backpressure": CONNECTIONS_PER_WORKER,
        "--respawn-interval": 0.1,
        "--workers-kill-timeout": chosen.shutdown_seconds,
        "--log-level": "error",
    }
    flags = ["--factory", "--respawn-failed-workers", "--no-ws", "--no-access-log"]
    pairs = [text for name, value in options.items() for text in (name, str(value))]
    return [sys.executable, "-m", "granian", *flags, *pairs, "application:create_app"]


def build_environment(chosen: Settings) -> dict[str, str]:
    """This process's environment with every setting as it was decided here, so that the server decides nothing anew."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "FLASK_SKIP_DOTENV": "1"}
    for field in dataclasses.fields(chosen):
        value = getattr(chosen, field.name)
        environment[field.metadata["name"]] = str(value).lower() if isinstance(value, bool) else str(value)
    return environment


def _serve(
    chosen: Settings,
    signals: StopSignals,
    cleanup: contextlib.ExitStack,
    steps: tuple[Callable[[], None], Callable[[str], None]],
    debug: bool,
) -> None:
    prepare, announce = steps
    own = process.identify(os.getpid())
    running = RunningServer(own, None, chosen.local_url, "flask" if debug else chosen.server)
    cleanup.callback(_state_path(chosen.data_path).unlink, missing_ok=True)
    _remember(chosen.data_path, running)
    environment = build_environment(chosen)
    if not chosen.mongodb_uri:
        with signals.held():
            cleanup.callback(_stop_own_mongod, chosen.data_path, own)
            chosen.mongodb_uri = _start_mongod(chosen, own).uri
        environment["MONGODB_URI"] = chosen.mongodb_uri
    prepare()
    environment["SECRET_KEY"] = chosen.secret_key
    with signals.held():
        child = _launch(build_command(chosen, debug=debug), environment)
        identity = process.identify(child.pid)
        cleanup.callback(_stop_child, child, identity, chosen, signals)
        _remember(chosen.data_path, dataclasses.replace(running, child=identity))
    _wait_until_answering(child, running.url)
    announce(running.url)
    _watch(child, chosen, signals, own)


def _start_mongod(chosen: Settings, own: Identity) -> mongod.LocalMongod:
    return mongod.start(chosen.data_path, port=chosen.mongod_port, binary=chosen.mongod, owner=own)


def _launch(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    # A session of its own: Ctrl-C reaches only this process, which then orders the stop. It also marks the workers.
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)


def _wait_until_answering(child: "subprocess.Popen[bytes]", url: str) -> None:
    def answers() -> bool:
        return child.poll() is not None or _answers(url)

    if not process.wait_until(answers, START_SECONDS, interval_seconds=0.1):
        raise ProcessError(f"The HTTP server did not answer within {START_SECONDS} seconds.")
    if child.poll() is not None:
        raise ProcessError(f"The HTTP server did not start (exit code {child.returncode}); its messages are above.")


def _answers(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/health")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _watch(child: "subprocess.Popen[bytes]", chosen: Settings, signals: StopSignals, own: Identity) -> None:
    """Wait for the end of the HTTP server, and start our mongod again whenever it dies under it."""
    database = mongod.find_running(chosen.data_path)
    restarts: list[float] = []
    while child.poll() is None:
        if database is not None and database.owner == own and not database.identity.is_alive():
            restarts = [moment for moment in restarts if moment > time.monotonic() - 60] + [time.monotonic()]
            if len(restarts) > MONGOD_RESTARTS_PER_MINUTE:
                raise ProcessError(f"mongod ended {len(restarts)} times in a minute; its log is in {chosen.data_path}.")
            print("mongod ended by itself; starting it again.", file=sys.stderr, flush=True)
            with signals.held():
                database = _start_mongod(chosen, own)
        time.sleep(0.2)
    raise ProcessError(f"The HTTP server ended by itself (exit code {child.returncode}); its messages are above.")


def _stop_child(child: "subprocess.Popen[bytes]", identity: Identity, chosen: Settings, signals: StopSignals) -> None:
    """Let running requests finish, unless a second signal says not to; then nothing of the server runs any more."""
    deadline = time.monotonic() + chosen.shutdown_seconds + STOP_MARGIN_SECONDS
    if child.poll() is None:
        child.terminate()
    while child.poll() is None and not signals.is_urgent and time.monotonic() < deadline:
        if not process.wait_until(lambda: child.poll() is not None or signals.is_urgent, 1):
            # A worker of granian that was still starting has missed the first signal.
            process.remind_session(identity)
    process.kill_session(identity)
    child.wait()


def _stop_own_mongod(directory: Path, own: Identity) -> None:
    database = mongod.find_running(directory)
    if database is not None and database.owner == own:
        mongod.stop(database)


def _already_running(directory: Path) -> str:
    found = find(directory)
    if found is None:
        return f"Another command is starting or stopping Sheaf in {directory}; try again in a moment."
    return f"Sheaf is already running at {found.url} (pid {found.runner.pid}); stop it with `python manage.py stop`."


def _check_port(chosen: Settings) -> None:
    failure = process.wait_for_port(chosen.host, chosen.port)
    if failure is None:
        return
    if failure.errno == errno.EADDRINUSE:
        raise ProcessError(f"Port {chosen.port} is taken by another program; choose another with --port or PORT.")
    raise ProcessError(f"The server cannot listen on {chosen.host}, port {chosen.port}: {failure.strerror}.")


def _raise_open_files() -> None:
    """Allow as many open files as the system lets this user have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _state_path(directory: Path) -> Path:
    return directory / "sheaf.json"


def _remember(directory: Path, running: RunningServer) -> None:
    process.write_state(_state_path(directory), dataclasses.asdict(running))
