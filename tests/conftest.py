"""What every test may ask for: a real mongod, the application on it, a clean state, and people who call it.

One mongod and one application per pytest-xdist worker; before each test the service's collections are emptied (their
indexes stay) and all other databases are dropped.
"""

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymongo
import pytest
from argon2 import PasswordHasher
from bson import ObjectId
from flask import Flask
from pymongo.database import Database

import database
import migrations
import settings
import watcher
from application import create_app
from document.collection import forget_collections
from document.sort_index import forget_indexes
from settings import Settings
from tests.mongod_fixture import RunningMongod, start_mongod
from user import key, mail, models, password, session, tokens

SECRET_KEY = "only-for-tests-0123456789-abcdefghijklmnop"
PASSWORD = "blue otter 42 lamp"
SYSTEM_DATABASES = {"admin", "config", "local"}
UNSET: Any = object()


@dataclasses.dataclass(frozen=True)
class Actor:
    """Somebody who calls the API with a credential."""

    id: str
    headers: dict[str, str]
    login: str = ""
    token: str = ""
    refresh_token: str = ""
    session_id: str = ""
    key: str = ""
    key_id: str = ""


class Answer:
    """What came back: like a response of `requests`, and `json` for every kind of JSON."""

    def __init__(self, response: Any) -> None:
        self.status_code: int = response.status_code
        self.headers = response.headers
        self.content_type: str = response.content_type
        self.data: bytes = response.data
        # As a server does when the answer is out: what it held is free again.
        response.close()

    @property
    def text(self) -> str:
        """The body as text."""
        return self.data.decode()

    @property
    def json(self) -> Any:
        """The body as plain JSON, Extended JSON unread."""
        return json.loads(self.data)


class Client:
    """Sends requests to the application; `as_` says who asks."""

    def __init__(self, app: Flask) -> None:
        self._client = app.test_client(use_cookies=False)

    def open(
        self,
        method: str,
        path: str,
        body: Any = UNSET,
        *,
        as_: Actor | None = None,
        query: dict[str, Any] | None = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> Answer:
        """The answer to one request whose body is `body` as JSON, or the bytes `data`."""
        sent = {**(as_.headers if as_ else {}), **(headers or {})}
        if body is not UNSET and body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        response = self._client.open(
            path,
            method=method.upper(),
            data=data,
            headers=sent,
            query_string=query,
            environ_base={"REMOTE_ADDR": address},
        )
        return Answer(response)

    def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return self.open("GET", path, **options)

    def post(self, path: str, body: Any = UNSET, **options: Any) -> Answer:
        """POST."""
        return self.open("POST", path, body, **options)

    def put(self, path: str, body: Any = UNSET, **options: Any) -> Answer:
        """PUT."""
        return self.open("PUT", path, body, **options)

    def patch(self, path: str, body: Any = UNSET, **options: Any) -> Answer:
        """PATCH."""
        return self.open("PATCH", path, body, **options)

    def delete(self, path: str, body: Any = UNSET, **options: Any) -> Answer:
        """DELETE."""
        return self.open("DELETE", path, body, **options)


def settings_for(uri: str, **chosen: Any) -> Settings:
    """Settings of a development server on this database."""
    return Settings(environment="development", mongodb_uri=uri, secret_key=SECRET_KEY, **chosen)


def sign_in_client(app: Flask) -> tuple[Client, Actor]:
    """A client of another application than the suite's, and somebody new who is signed in there."""
    migrations.apply()
    client = Client(app)
    created = client.post("/v1/users", {"username": "ann", "password": PASSWORD})
    assert created.status_code == 201, created.text
    return client, sign_in(client, "ann")


def sign_in(client: Client, login: str, password: str = PASSWORD, **options: Any) -> Actor:
    """Who signed in with e-mail address or username."""
    answer = client.post("/v1/sessions", {"login": login, "password": password}, **options)
    assert answer.status_code == 201, answer.text
    return _signed_in(login, answer.json)


def assert_problem(answer: Answer, status: int, code: str, *, path: str | None = None) -> None:
    """Check one failure: RFC 9457, the stable code, the part of the input at fault, and that nothing leaks."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    problem = answer.json
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert problem["type"] == f"/docs#error-{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    if path is not None:
        assert path in [each["path"] for each in problem.get("errors", [])], problem
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert not [word for word in ("Traceback", 'File "', "pymongo", "mongoengine", "E11000") if word in answer.text]


def wait_until(is_true: Callable[[], Any], seconds: float = 5) -> None:
    """Return as soon as `is_true()`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def running_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMongod]:
    """The worker's mongod."""
    running = start_mongod(tmp_path_factory.mktemp("mongod"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def mongo_session(running_mongod: RunningMongod) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    """A plain client beside the application's; quick, since nothing here must survive."""
    with pymongo.MongoClient[dict[str, Any]](running_mongod.uri, tz_aware=True, w=1, journal=False) as client:
        yield client


@pytest.fixture(scope="session")
def app(running_mongod: RunningMongod) -> Iterator[Flask]:
    """The application of this worker, migrations applied. Hashing is cheap here, and nowhere else."""
    password.hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    chosen = settings_for(running_mongod.uri)
    made = create_app(chosen)
    made.config["CHOSEN"] = chosen
    migrations.apply()
    yield made
    watcher.stop()
    database.client().close()


@pytest.fixture(autouse=True)
def _clean_state(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing of an earlier test is there, in the database, the caches or the settings."""
    if "app" not in request.fixturenames:
        yield
        return
    app: Flask = request.getfixturevalue("app")
    settings.use(app.config["CHOSEN"])
    _empty(request.getfixturevalue("mongo_session"))
    watcher.clear_caches()
    forget_collections()
    forget_indexes()
    yield
    # E-mails are sent in the background; none may reach into the next test.
    wait_until(lambda: mail._room._value == mail.MAX_WAITING, seconds=15)
    settings.use(app.config["CHOSEN"])


def _empty(client: pymongo.MongoClient[dict[str, Any]]) -> None:
    for name in set(client.list_database_names()) - SYSTEM_DATABASES - {settings.config.database}:
        _drop(client[name])
    service = client[settings.config.database]
    for name in service.list_collection_names():
        if name != migrations.COLLECTION:
            service[name].delete_many({})


def _drop(database: Database[dict[str, Any]]) -> None:
    """Drop a database, collection by collection: `dropDatabase` waits for the journal, a hundred times as long."""
    kinds = {each["name"]: each["type"] for each in database.list_collections()}
    if set(kinds.values()) != {"collection"}:
        database.client.drop_database(database.name)
        return
    for name in kinds:
        database.drop_collection(name)


@pytest.fixture
def mongo(app: Flask, mongo_session: pymongo.MongoClient[dict[str, Any]]) -> pymongo.MongoClient[dict[str, Any]]:
    """What is really stored, past the application."""
    return mongo_session


@pytest.fixture
def config(app: Flask) -> Settings:
    """The settings in force; what a test changes is undone after it."""
    return settings.config


@pytest.fixture
def client(app: Flask) -> Client:
    """Sends requests to the application."""
    return Client(app)


@pytest.fixture
def make_user(app: Flask) -> Callable[..., Actor]:
    """Makes a signed-in user: `make_user("ann")` has that username, an e-mail address and PASSWORD."""

    def make(name: str = "ann", *, admin: bool = False, **options: Any) -> Actor:
        options = {"email": f"{name}@sheaf.test", "username": name, "password": PASSWORD, **options}
        models.create_user(**options, roles=["admin"] if admin else [])
        found = session.sign_in(name, options["password"], address="127.0.0.1", user_agent="tests")
        return _signed_in(name, tokens.issue_pair(found))

    return make


def _signed_in(login: str, pair: dict[str, Any]) -> Actor:
    claims = tokens.read(pair["access_token"], "access", required=("sid",))
    return Actor(
        id=claims["sub"],
        headers={"Authorization": f"Bearer {pair['access_token']}"},
        login=login,
        token=pair["access_token"],
        refresh_token=pair["refresh_token"],
        session_id=claims["sid"],
    )


@pytest.fixture
def make_key(app: Flask) -> Callable[..., Actor]:
    """Makes an API key of a user: `make_key(ann, read_only=True)`."""
    numbers = itertools.count(1)

    def make(owner: Actor, **options: Any) -> Actor:
        options = {"name": f"key {next(numbers)}", **options}
        made, text = key.create_key(ObjectId(owner.id), **options)
        return Actor(id=owner.id, headers={"X-Api-Key": text}, key=text, key_id=str(made.id))

    return make


@pytest.fixture
def ann(make_user: Callable[..., Actor]) -> Actor:
    """A user."""
    return make_user("ann")


@pytest.fixture
def bob(make_user: Callable[..., Actor]) -> Actor:
    """Another user."""
    return make_user("bob")


@pytest.fixture
def admin(make_user: Callable[..., Actor]) -> Actor:
    """An admin."""
    return make_user("root", admin=True)


@pytest.fixture
def admin_key(admin: Actor, make_key: Callable[..., Actor]) -> Actor:
    """An API key of the admin."""
    return make_key(admin)
