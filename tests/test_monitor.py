"""Health, readiness, and what the log says and does not say."""

import contextlib
import functools
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

import database
import migrations
import settings
import watcher
from application import create_app
from monitor import log_format, models
from monitor.log_format import JsonFormatter, LineFormatter, StderrHandler, configure_logging
from openapi import VERSION
from settings import Settings
from tests.conftest import PASSWORD, Actor, Client, sign_in, wait_until


def test_health_names_status_and_version(client: Client) -> None:
    assert client.get("/health").json == {"status": "ok", "version": VERSION}


def test_health_asks_no_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("database.client", None)
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json"])
def test_probes_may_use_head(client: Client, path: str) -> None:
    answer = client.open("HEAD", path)
    assert (answer.status_code, answer.data) == (200, b"")


def test_ready_on_a_replica_set(client: Client, ann: Actor) -> None:
    client.get("/v1/users/me", as_=ann)
    wait_until(watcher.is_current)
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "ready",
        "checks": {"database": {"ok": True}, "migrations": {"ok": True}},
        "change_streams": True,
        "watcher": "current",
    }


def test_ready_says_when_the_watcher_has_fallen_back(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "is_current", lambda: False)
    answer = client.get("/ready")
    assert (answer.status_code, answer.json["watcher"]) == (200, "fallback")


def test_pending_migration_is_unready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "pending", lambda: ["m0099_words"])
    answer = client.get("/ready")
    assert (answer.status_code, answer.json["status"]) == (503, "unready")
    assert answer.json["checks"]["migrations"] == {"ok": False, "reason": "1 pending: run `manage.py migrate up`"}


@pytest.mark.parametrize(
    ("hello", "is_ok", "has_change_streams"),
    [
        ({"isWritablePrimary": True}, True, False),
        ({"isWritablePrimary": True, "setName": "rs0"}, True, True),
        ({"isWritablePrimary": True, "msg": "isdbgrid"}, True, True),
        ({"isWritablePrimary": False, "setName": "rs0"}, False, True),
    ],
    ids=["standalone", "primary", "sharded", "secondary"],
)
def test_ready_tells_kinds_of_mongodb_apart(
    app: Flask, monkeypatch: pytest.MonkeyPatch, hello: dict[str, Any], is_ok: bool, has_change_streams: bool
) -> None:
    class Server:
        admin: Any

        def command(self, _: str) -> dict[str, Any]:
            return hello

    server = Server()
    server.admin = server
    monkeypatch.setattr(database, "client", lambda: server)
    monkeypatch.setattr(migrations, "pending", list)
    found = models.check_readiness()
    assert (found.is_ready, found.has_change_streams) == (is_ok, has_change_streams)


@pytest.fixture
def away(app: Flask) -> Iterator[Client]:
    """An application whose database is not there; the suite's own is back afterwards."""
    chosen = Settings(
        environment="development",
        mongodb_uri="mongodb://secret-user:secret-word@127.0.0.1:9",
        secret_key="-" * 32,
        database_wait_seconds=1,
    )
    yield Client(create_app(chosen))
    settings.use(app.config["CHOSEN"])
    database.connect(app)


def test_unreachable_database_is_unready_within_the_limit_and_names_no_host(away: Client) -> None:
    started = time.monotonic()
    answer = away.get("/ready")
    assert time.monotonic() - started < 3
    assert answer.status_code == 503
    assert answer.json["checks"] == {"database": {"ok": False, "reason": "no primary answered in time"}}
    assert not [word for word in ("127.0.0.1", "secret", "Timeout", "topology") if word in answer.text]


@pytest.fixture
def visitor(client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client that closes each answer, as servers do; only then is the request's line written."""
    monkeypatch.setattr(client._client, "open", functools.partial(client._client.open, buffered=True))
    return client


@contextlib.contextmanager
def captured(config: Settings, *, environment: str, level: str = "info") -> Iterator[io.StringIO]:
    """What the process logs, in the form of that environment."""
    config.environment, config.log_level = environment, level
    configure_logging()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StderrHandler):
            handler.is_buffered = False  # so that each line is there when the answer is
    output, before = io.StringIO(), sys.stderr
    sys.stderr = output
    try:
        yield output
    finally:
        sys.stderr = before


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Tests here change levels and formats of the whole process."""
    names = ("", "sheaf", "werkzeug", *log_format.SERVER_LOGGERS)
    before = {name: logging.getLogger(name).level for name in names}
    formatters = [(handler, handler.formatter) for handler in logging.getLogger().handlers]
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    for handler, formatter in formatters:
        handler.setFormatter(formatter)


def test_request_line_in_production_is_json(visitor: Client, ann: Actor, config: Settings) -> None:
    with captured(config, environment="production") as output:
        answer = visitor.get("/v1/db/app/b%C3%BCcher", as_=ann, query={"limit": 1})
    (line,) = output.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["time"].endswith("Z")
    assert len(entry["time"]) == len("2026-11-20T23:04:05.123Z")
    assert entry.pop("milliseconds") > 0
    assert {name: entry[name] for name in entry if name not in ("time", "message")} == {
        "level": "info",
        "logger": "sheaf.request",
        "method": "GET",
        "path": "/v1/db/app/bücher",
        "status": 200,
        "user_id": ann.id,
        "request_id": answer.headers["X-Request-Id"],
    }


def test_request_line_in_development_is_readable(visitor: Client, ann: Actor, config: Settings) -> None:
    with captured(config, environment="development") as output:
        answer = visitor.get("/v1/db/app/books", as_=ann)
    (line,) = output.getvalue().splitlines()
    assert " INFO sheaf.request: GET /v1/db/app/books 200 " in line
    assert line.endswith(f" ms user={ann.id} request={answer.headers['X-Request-Id']}")


@pytest.mark.parametrize("environment", ["development", "production"])
def test_log_never_holds_secrets_bodies_or_queries(visitor: Client, config: Settings, environment: str) -> None:
    """A whole visit, with failures, at the most talkative level."""
    with captured(config, environment=environment, level="debug") as output:
        visitor.post("/v1/users", {"username": "carl", "password": PASSWORD})
        visitor.post("/v1/sessions", {"login": "carl", "password": "a-wrong-password"})
        carl = sign_in(visitor, "carl")
        key = visitor.post("/v1/keys", {"name": "thing"}, as_=carl).json["key"]
        visitor.post("/v1/db/app/notes", {"text": "body-secret"}, as_=carl)
        visitor.get("/v1/db/app/notes", query={"filter": '{"text": "query-secret"}'}, headers={"X-Api-Key": key})
        visitor.get("/v1/db/app/notes?limit=query-secret", headers={"X-Api-Key": key})
        visitor.post("/v1/db/app/notes", data=b'{"text": "body-secret', as_=carl)
        visitor.get("/v1/db/app/notes", headers={"Authorization": "Bearer bad-token-secret"})
        visitor.post("/v1/sessions/refresh", {"refresh_token": carl.refresh_token})
    text = output.getvalue()
    assert len(text.splitlines()) >= 10
    secrets = [PASSWORD, "a-wrong-password", carl.token, carl.refresh_token, key, "-secret", config.secret_key]
    assert not [secret for secret in secrets if secret in text], text


@pytest.mark.parametrize("environment", ["development", "production"])
def test_no_text_can_forge_a_line(visitor: Client, config: Settings, environment: str) -> None:
    with captured(config, environment=environment) as output:
        for character in ("%0A", "%0D", "%E2%80%A8", "%C2%85", "%1B%5B2J", "%E2%80%AE"):
            visitor.get(f"/nowhere{character}23:04:05 INFO forged")
    text = output.getvalue()
    assert len(text.splitlines()) == 6
    assert not set("\r\x1b\u2028\u0085\u202e") & set(text)


def record(message: str, *, exc_info: Any = None, **extra: Any) -> logging.LogRecord:
    """One record as a logger makes it."""
    made = logging.LogRecord("sheaf.test", logging.ERROR, __file__, 1, message, (), exc_info)
    made.__dict__.update(extra)
    return made


def test_traceback_is_one_member_in_json_and_indented_in_development() -> None:
    try:
        raise ValueError("first\n12:00:00 INFO forged")
    except ValueError:
        failed = record("it failed", exc_info=sys.exc_info())
    entry = json.loads(JsonFormatter().format(failed))
    assert entry["exception"].endswith("ValueError: first\n12:00:00 INFO forged")
    first, *rest = LineFormatter().format(failed).split("\n")
    assert first.endswith("ERROR sheaf.test: it failed")
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_message_of_several_lines_stays_one_entry() -> None:
    assert LineFormatter().format(record("one\ntwo")).split("\n")[1] == "    two"
    assert json.loads(JsonFormatter().format(record("one\ntwo")))["message"] == "one\ntwo"


@pytest.mark.parametrize("text", ["lone \ud800 surrogate", "\x00\x1b\u2028", "grüezi \U0001f600"])
def test_json_loses_no_character(text: str) -> None:
    line = JsonFormatter().format(record(text))
    assert json.loads(line)["message"] == text
    assert "\n" not in line
    line.encode()


def test_unknown_extra_members_are_not_printed() -> None:
    assert "hunter2" not in JsonFormatter().format(record("signed in", password="hunter2"))


def test_configuring_again_adds_no_handler(app: Flask, config: Settings) -> None:
    for environment in ("development", "production", "development"):
        config.environment = environment
        configure_logging()
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, StderrHandler)]
    assert len(handlers) == 1
    assert isinstance(handlers[0].formatter, LineFormatter)


def test_debug_level_is_for_our_own_loggers_only(app: Flask, config: Settings) -> None:
    config.log_level = "debug"
    configure_logging()
    assert logging.getLogger("sheaf.request").isEnabledFor(logging.DEBUG)
    for name in ("pymongo.command", "pymongo.connection", "werkzeug", "mongoengine"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def test_level_error_silences_requests(visitor: Client, config: Settings) -> None:
    with captured(config, environment="production", level="error") as output:
        visitor.get("/health")
    assert output.getvalue() == ""


def test_lines_of_the_server_take_our_form(config: Settings) -> None:
    logger = logging.getLogger("_granian")
    logger.handlers, logger.propagate = [logging.StreamHandler(io.StringIO())], False
    with captured(config, environment="production") as output:
        logger.error("worker died")
    assert json.loads(output.getvalue())["message"] == "worker died"


def test_lines_of_requests_wait_and_a_warning_brings_them_out_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log_format, "FLUSH_SECONDS", 3600)
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.is_buffered = True
    for number in range(3):
        handler.handle(logging.makeLogRecord({"msg": f"line {number}", "levelno": logging.INFO}))
    assert capsys.readouterr().err == ""
    handler.handle(logging.makeLogRecord({"msg": "trouble", "levelno": logging.WARNING}))
    assert capsys.readouterr().err == "line 0\nline 1\nline 2\ntrouble\n"


def test_lines_that_wait_are_written_within_a_moment(capsys: pytest.CaptureFixture[str]) -> None:
    handler = StderrHandler()
    handler.is_buffered = True
    threads = [
        threading.Thread(target=handler.handle, args=(logging.makeLogRecord({"msg": f"line {number}", "levelno": 20}),))
        for number in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    written = ""

    def is_written() -> bool:
        nonlocal written
        written += capsys.readouterr().err
        return written.count("\n") == 8

    wait_until(is_written)
    assert sorted(written.splitlines()) == [f"line {number}" for number in range(8)]
