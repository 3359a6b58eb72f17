"""Every route of documents as everybody, in one table: what is answered, what is stored afterwards, what is not told.

One document, `lamp`, is Ann's; Bob is another user. A route that is not in the table fails the first test.
"""

from collections.abc import Callable
from typing import Any

import pymongo
import pytest
from bson import ObjectId
from flask import Flask

from tests.conftest import Actor, Client, assert_problem

Mongo = pymongo.MongoClient[dict[str, Any]]
Callers = dict[str, Actor | None]
Read = Callable[[], dict[str, Any]]
Table = dict[tuple[str, str], tuple[int, ...]]

CALLERS = ("anonymous", "other", "owner", "admin", "key", "read-only key", "admin's key")
CODES = {401: "unauthorized", 403: "forbidden", 404: "not_found"}
LIST = "/v1/db/<database>/<collection>"
ONE = "/v1/db/<database>/<collection>/<document_id:id>"
QUERY, AGGREGATE, COUNT, DISTINCT, EXPLAIN = (
    f"{LIST}/{name}" for name in ("_query", "_aggregate", "_count", "_distinct", "_explain")
)
BODIES: dict[tuple[str, str], Any] = {
    ("POST", LIST): {"name": "chair"},
    ("PUT", ONE): {"name": "new"},
    ("PATCH", ONE): {"name": "new"},
    ("POST", QUERY): {},
    ("POST", AGGREGATE): {"pipeline": []},
    ("POST", COUNT): {},
    ("POST", DISTINCT): {"field": "name"},
    ("POST", EXPLAIN): {"query": {}},
}
SHOWING = {("GET", LIST), ("GET", ONE), ("POST", QUERY), ("POST", AGGREGATE), ("POST", DISTINCT)}
READING = SHOWING | {("POST", COUNT), ("POST", EXPLAIN)}
# Statuses for CALLERS, in that order, in a database that is open to every user.
OPEN: Table = {
    ("GET", LIST): (401, 200, 200, 200, 200, 200, 200),
    ("POST", LIST): (401, 201, 201, 201, 201, 403, 201),
    ("GET", ONE): (401, 404, 200, 200, 200, 200, 200),
    ("PUT", ONE): (401, 404, 200, 200, 200, 403, 200),
    ("PATCH", ONE): (401, 404, 200, 200, 200, 403, 200),
    ("DELETE", ONE): (401, 404, 200, 200, 200, 403, 200),
    **dict.fromkeys(sorted(READING - {("GET", LIST), ("GET", ONE)}), (401, 200, 200, 200, 200, 200, 200)),
}
# The same in any other database.
CLOSED: Table = {
    (method, rule): (401, 403, 403, statuses[3], 403, 403, statuses[6]) for (method, rule), statuses in OPEN.items()
}
# The databases of the system and of the service are nobody's; signing in would not help.
KEPT: Table = dict.fromkeys(OPEN, (401, 403, 403, 403, 403, 403, 403))
TABLES: dict[str, Table] = {"app": OPEN, "shop": CLOSED, "admin": KEPT, "sheaf": KEPT}
# Every request that is admitted and changes something.
CHANGES = [
    (database, method, rule, caller, status)
    for database, table in TABLES.items()
    for (method, rule), statuses in table.items()
    for caller, status in zip(CALLERS, statuses, strict=True)
    if status < 400 and (method, rule) not in READING
]


def path_of(database: str, rule: str) -> str:
    """The route's path, for the collection `items` and the document `lamp`."""
    return rule.replace("<database>", database).replace("<collection>", "items").replace("<document_id:id>", "lamp")


@pytest.fixture
def callers(
    ann: Actor, bob: Actor, admin: Actor, admin_key: Actor, make_key: Callable[..., Actor], client: Client
) -> Callers:
    """Who asks, by the names in CALLERS."""
    return {
        "anonymous": None,
        "other": bob,
        "owner": ann,
        "admin": admin,
        "key": make_key(ann),
        "read-only key": make_key(ann, read_only=True),
        "admin's key": admin_key,
    }


@pytest.fixture
def stored(mongo: Mongo, callers: Callers, ann: Actor) -> Read:
    """Puts the document `lamp` into both databases; reads everything stored that this API could have changed."""
    lamp = {"_id": "lamp", "name": "lamp", "_owner": ObjectId(ann.id)}
    for database in ("app", "shop"):
        mongo[database]["items"].insert_one(dict(lamp))

    def read() -> dict[str, Any]:
        return {
            f"{database}.{collection}": list(mongo[database][collection].find().sort("_id"))
            for database in ("app", "shop", "admin", "sheaf")
            for collection in sorted(mongo[database].list_collection_names())
            if not collection.startswith("system.")
        }

    return read


def test_table_has_every_route_of_documents(app: Flask) -> None:
    found = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/v1/db")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert found == OPEN.keys(), "say in OPEN what each caller is answered"


@pytest.mark.parametrize("database", list(TABLES))
@pytest.mark.parametrize(("method", "rule"), list(OPEN))
def test_who_is_refused_or_only_reads_changes_nothing(
    client: Client, callers: Callers, stored: Read, database: str, method: str, rule: str
) -> None:
    before = stored()
    for caller, status in zip(CALLERS, TABLES[database][method, rule], strict=True):
        if status < 400 and (method, rule) not in READING:
            continue  # below
        answer = client.open(method, path_of(database, rule), BODIES.get((method, rule)), as_=callers[caller])
        assert (caller, answer.status_code) == (caller, status), answer.text
        if status >= 400:
            assert_problem(answer, status, CODES[status])
        is_shown = (method, rule) in SHOWING and status == 200 and caller != "other"
        assert ("lamp" in answer.text) == is_shown, answer.text
    assert stored() == before


@pytest.mark.parametrize(("database", "method", "rule", "caller", "status"), CHANGES)
def test_who_is_admitted_changes_that_document_and_no_owner(
    client: Client, callers: Callers, stored: Read, database: str, method: str, rule: str, caller: str, status: int
) -> None:
    before, asking = stored(), callers[caller]
    answer = client.open(method, path_of(database, rule), BODIES.get((method, rule)), as_=asking)
    assert answer.status_code == status, answer.text
    after = stored()
    assert documents_of(after, database) == expected(before, database, method, asking)
    for changed in (f"{database}.items", "sheaf.collections"):  # the latter says who started which collection
        before.pop(changed, None)
    assert {name: after[name] for name in before} == before


def documents_of(state: dict[str, Any], database: str) -> list[dict[str, Any]]:
    """What is stored in the collection, without the ids that were made."""
    found = [dict(one) for one in state[f"{database}.items"]]
    for one in found:
        if isinstance(one["_id"], ObjectId):
            del one["_id"]
    return sorted(found, key=lambda one: str(one["name"]))


def expected(before: dict[str, Any], database: str, method: str, caller: Actor | None) -> list[dict[str, Any]]:
    """What has to be stored after a request that was admitted: owners stay, new documents are the caller's."""
    (lamp,) = before[f"{database}.items"]
    assert caller is not None
    if method == "DELETE":
        return []
    if method == "POST":
        stamp = {"_owner": ObjectId(caller.id)} if database == "app" else {}
        return [{"name": "chair", **stamp}, lamp]
    if method == "PUT" and database == "shop":
        return [{"_id": "lamp", "name": "new"}]
    return [{**lamp, "name": "new"}]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("database", "table"), list(TABLES.items()), ids=list(TABLES))
@pytest.mark.parametrize("rule", [LIST, ONE])
def test_head_and_parameters_meet_the_same_rules(
    client: Client, callers: Callers, database: str, table: Table, rule: str
) -> None:
    """They take another way through the code than a bare GET of one document."""
    path = path_of(database, rule)
    for caller, status in zip(CALLERS, table["GET", rule], strict=True):
        head = client.open("HEAD", path, as_=callers[caller])
        assert (caller, head.status_code, head.data) == (caller, status, b"")
        answer = client.get(path, as_=callers[caller], query={"types": "canonical"})
        assert (caller, answer.status_code) == (caller, status)
        assert ("lamp" in answer.text) == (status == 200 and caller != "other")


@pytest.mark.parametrize("rule", [LIST, ONE])
def test_options_tells_methods_and_nothing_else(client: Client, stored: Read, rule: str) -> None:
    before = stored()
    answer = client.open("OPTIONS", path_of("app", rule))
    assert (answer.status_code, answer.data) == (200, b"")
    methods = {method for method, its_rule in OPEN if its_rule == rule}
    assert set(answer.headers["Allow"].split(", ")) == methods | {"HEAD", "OPTIONS"}
    assert stored() == before


@pytest.mark.parametrize("caller", ["other", "key", "read-only key"])
def test_array_and_put_of_a_new_id_are_for_whom_may_create(
    client: Client, callers: Callers, stored: Read, caller: str
) -> None:
    """PUT also creates, and an array is the other form of an insert."""
    is_refused = caller == "read-only key"
    before = stored()
    put = client.put("/v1/db/app/items/chair", {"name": "chair"}, as_=callers[caller])
    post = client.post("/v1/db/app/items", [{"name": "stool"}], as_=callers[caller])
    if is_refused:
        assert_problem(put, 403, "forbidden")
        assert_problem(post, 403, "forbidden")
        assert stored() == before
        return
    assert (put.status_code, post.status_code) == (201, 201)
    asking = callers[caller]
    assert asking is not None
    made = [one for one in stored()["app.items"] if one["name"] != "lamp"]
    assert {str(one["_owner"]) for one in made} == {asking.id}
    assert len(made) == 2
