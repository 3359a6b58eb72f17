"""The service as its callers meet it, over real sockets, on granian and on gunicorn."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.command_line import RunServer
from tests.conftest import PASSWORD, wait_until
from tests.mongod_fixture import RunningMongod, start_mongod

PROBLEM = "application/problem+json"


class Site:
    """A running server and somebody who is signed in there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.items = f"{url}/v1/db/app/items"
        self.session = requests.Session()
        requests.post(f"{url}/v1/users", json={"username": "ann", "password": PASSWORD}, timeout=20).raise_for_status()
        answer = requests.post(f"{url}/v1/sessions", json={"login": "ann", "password": PASSWORD}, timeout=20)
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def post(self, data: Any, **headers: str) -> requests.Response:
        """Send a body as it is to the collection."""
        return self.session.post(
            self.items, data=data, headers={"Content-Type": "application/json", **headers}, timeout=20
        )

    def get(self, path: str, **options: Any) -> requests.Response:
        """Read a path below the server's URL."""
        return self.session.get(f"{self.url}{path}", timeout=20, **options)


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMongod]:
    running = start_mongod(tmp_path_factory.mktemp("mongod"))
    yield running
    running.stop()


@pytest.fixture(scope="module", params=["granian", "gunicorn"])
def site(
    request: pytest.FixtureRequest, mongod: RunningMongod, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp(request.param)
    own = {"MONGODB_URI": mongod.uri, "SHEAF_ENV": "development", "SHEAF_DATABASE": f"sheaf_{request.param}"}
    running = RunServer(folder / "data", "--server", request.param, SHEAF_OPEN_DATABASES="app", **own)
    yield Site(running.wait_until_ready().url)
    running.close()


@pytest.fixture(autouse=True)
def _no_documents(mongo_of: Callable[[], Any]) -> None:
    mongo_of().drop_collection("items")


@pytest.fixture
def mongo_of(mongod: RunningMongod) -> Iterator[Callable[[], Any]]:
    import pymongo

    with pymongo.MongoClient[dict[str, Any]](mongod.uri) as client:
        yield lambda: client["app"]


def test_a_document_from_birth_to_death(site):
    stored = site.post(b'{"name": "lamp"}')
    assert stored.status_code == 201
    path = f"/v1/db/app/items/{stored.json()['inserted_id']['$oid']}"
    assert site.get(path).json()["name"] == "lamp"
    assert site.session.patch(site.url + path, json={"$set": {"name": "desk lamp"}}).json()["modified_count"] == 1
    assert site.get("/v1/db/app/items?sort=name").json()["documents"][0]["name"] == "desk lamp"
    assert site.session.put(site.url + path, json={"n": 1}).status_code == 200
    assert site.session.delete(site.url + path).json() == {"deleted_count": 1}
    gone = site.get(path)
    assert (gone.status_code, gone.headers["Content-Type"]) == (404, PROBLEM)


def test_answers_carry_a_request_id_and_are_not_kept_by_caches(site):
    answer = site.get("/v1/db/app/items", headers={"X-Request-Id": "proxy-0123456789"})
    assert answer.headers["X-Request-Id"] == "proxy-0123456789"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    made = site.get("/v1/db/app/items", headers={"X-Request-Id": "<script>"}).headers["X-Request-Id"]
    assert made.isalnum()


@pytest.mark.parametrize("path", ["items/%ff", "%ff/x", "items?filter=%ff", "items?%ff=1"])
def test_url_that_is_not_utf8_is_400(site, path):
    answer = site.get(f"/v1/db/app/{path}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


def test_names_in_any_script_are_reached(site):
    path = "/v1/db/app/items/%C3%BCber%20alles%F0%9F%98%80"
    assert site.session.put(site.url + path, json={"n": 1}).json()["upserted_id"] == "über alles😀"
    assert site.get(path).json()["n"] == 1


def test_database_name_with_a_slash_is_no_other_database(site):
    answer = site.session.post(f"{site.url}/v1/db/a%2Fb/items", json={"n": 1})
    assert answer.status_code in (404, 405)
    assert answer.headers["Content-Type"] == PROBLEM


def test_chunked_body_is_understood(site):
    assert site.post(iter([b'{"a"', b":1}"])).status_code == 201


@pytest.mark.parametrize("is_chunked", [False, True])
def test_body_over_the_limit_is_413_and_the_server_goes_on(site, is_chunked):
    pieces = [b'{"a":"', *[b"x" * 1_000_000] * 20, b'"}']
    answer = site.post(iter(pieces) if is_chunked else b"".join(pieces))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert requests.get(f"{site.url}/health", timeout=5).status_code == 200
    assert site.get("/v1/db/app/items").json() == {"documents": []}


def test_long_list_is_streamed_whole(site):
    for number in range(5):
        assert site.post(b'{"_id":%d,"text":"%s"}' % (number, b"x" * 7_000_000)).status_code == 201
    documents = site.get("/v1/db/app/items?sort=_id").json()["documents"]
    assert [len(document["text"]) for document in documents] == [7_000_000] * 5


def test_client_that_leaves_in_the_middle_frees_the_cursor(site, mongo_of):
    for number in range(5):
        site.post(b'{"_id":%d,"text":"%s"}' % (number, b"x" * 7_000_000))
    answer = site.get("/v1/db/app/items", stream=True)
    next(answer.iter_content(1000))
    answer.close()
    database = mongo_of()

    def has_no_cursor() -> bool:
        return not database.command("serverStatus")["metrics"]["cursor"]["open"]["total"] - _watching(database)

    wait_until(has_no_cursor, seconds=10)
    assert site.get("/health").status_code == 200


def _watching(database: Any) -> int:
    """How many of the open cursors are the watchers' change streams."""
    operations = database.client.admin.aggregate([{"$currentOp": {"idleCursors": True, "allUsers": True}}])
    return sum(
        "$changeStream" in json.dumps(operation, default=str) for operation in operations if "cursor" in operation
    )


def test_answer_to_head_has_the_headers_and_no_body(site):
    site.post(b'{"_id": "x"}')
    for path in ("items", "items/x"):
        answer = site.session.head(f"{site.url}/v1/db/app/{path}")
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("PATCH", "", "GET"), ("POST", "/x", "PATCH"), ("FOO", "", "POST")]
)
def test_method_that_a_path_does_not_have_is_405(site, method, path, allowed):
    answer = site.session.request(method, site.items + path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert allowed in answer.headers["Allow"]


def test_connection_is_usable_after_a_failure(site):
    for _ in range(3):
        assert site.post(b"{").status_code == 400
        assert site.post(b'{"n": 1}').status_code == 201


def test_server_is_well_after_hostile_requests(site, tmp_path: Path):
    for body in (b"[" * 100_000, b'{"a":' * 5000, b"\xff" * 1000, b'{"$where": 1}', b""):
        assert 400 <= site.post(body).status_code < 500
    assert requests.get(f"{site.url}/ready", timeout=5).status_code == 200


# gunicorn reads what is left of a body itself, without a time limit; it wants a proxy that buffers.
@pytest.mark.parametrize("site", ["granian"], indirect=True)
def test_bodies_that_never_end_leave_room_for_other_requests(site):
    host, port = site.url.removeprefix("http://").split(":")
    head = (
        f"POST /v1/sessions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    )
    with contextlib.ExitStack() as opened:
        for _ in range(40):
            slow = opened.enter_context(socket.create_connection((host, int(port)), timeout=20))
            slow.sendall(head.encode())
        wait_until(lambda: site.post(b'{"n": 1}').status_code == 503, seconds=10)
        for _ in range(10):
            assert requests.get(f"{site.url}/health", timeout=5).status_code == 200
            assert site.get("/v1/db/app/items").status_code == 200
    wait_until(lambda: site.post(b'{"n": 1}').status_code == 201, seconds=10)


def test_answers_that_nobody_reads_leave_room_for_other_requests(site):
    for number in range(6):
        assert site.post(b'{"_id":%d,"text":"%s"}' % (number, b"x" * 7_000_000)).status_code == 201
    host, port = site.url.removeprefix("http://").split(":")
    credential = site.session.headers["Authorization"]
    head = f"GET /v1/db/app/items HTTP/1.1\r\nHost: {host}\r\nAuthorization: {credential!s}\r\n\r\n"
    with contextlib.ExitStack() as opened:
        for _ in range(24):
            slow = opened.enter_context(socket.create_connection((host, int(port)), timeout=20))
            slow.sendall(head.encode())
        wait_until(lambda: site.get("/v1/db/app/items", stream=True).status_code == 503, seconds=20)
        for _ in range(10):
            assert requests.get(f"{site.url}/health", timeout=5).status_code == 200
            assert site.get("/v1/db/app/items/0?fields=_id&id_type=int").json() == {"_id": 0}
    wait_until(lambda: site.get("/v1/db/app/items").status_code == 200, seconds=20)
