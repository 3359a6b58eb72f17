"""Lists page by page over HTTP: tokens, links, counts, and what a page costs the database."""

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from document import models, page_token
from document.page import Listing, Page
from document.raw import KEYS_FIELD, split
from document.sort_index import forget_indexes
from tests.conftest import assert_problem
from tests.test_page_properties import PERMIT

ITEMS = "/v1/db/app/items"
SHOP = "/v1/db/shop/items"


@pytest.fixture
def five(client, ann):
    """Five documents of ann, `_id` and `n` from 0 to 4."""
    client.post(ITEMS, [{"_id": n, "n": n} for n in range(5)], as_=ann)


def ids(answer: Any) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [each["_id"] for each in answer.json["documents"]]


def test_next_leads_through_the_list_and_ends_with_null(client, ann, five):
    first = client.get(ITEMS, query={"limit": 2, "sort": "-n"}, as_=ann)
    second = client.get(ITEMS, query={"limit": 2, "sort": "-n", "after": first.json["next"]}, as_=ann)
    third = client.get(ITEMS, query={"limit": 2, "sort": "-n", "after": second.json["next"]}, as_=ann)
    assert [ids(page) for page in (first, second, third)] == [[4, 3], [2, 1], [0]]
    assert third.json["next"] is None
    assert "Link" not in third.headers


def test_a_list_that_fills_its_page_exactly_has_no_next(client, ann, five):
    assert client.get(ITEMS, query={"limit": 5}, as_=ann).json["next"] is None


def test_link_header_leads_to_the_next_page_with_the_same_query(client, ann, five):
    query = {"limit": "2", "filter": '{"n": {"$gte": 1}}', "sort": "n", "skip": "1", "types": "plain"}
    first = client.get(ITEMS, query=query, as_=ann)
    link = first.headers["Link"]
    assert link.startswith("<?")
    assert link.endswith('>; rel="next"')
    asked = {name: values[0] for name, values in parse_qs(link[2:].partition(">")[0]).items()}
    del query["skip"]
    assert asked == {**query, "after": first.json["next"]}
    assert (ids(first), ids(client.get(ITEMS, query=asked, as_=ann))) == ([2, 3], [4])


@pytest.mark.parametrize("token", ["", "x", "AAAA", "A" * 60, "A" * 9000, "é", "a b", "%00", "!!!!"])
def test_what_is_no_token_is_400_and_names_after(client, ann, five, token):
    assert_problem(client.get(ITEMS, query={"after": token}, as_=ann), 400, "invalid_input", path="after")


def test_token_changed_anywhere_is_400(client, ann, five):
    token = client.get(ITEMS, query={"limit": 2, "sort": "n"}, as_=ann).json["next"]
    for position in range(0, len(token), 3):
        changed = token[:position] + ("B" if token[position] == "A" else "A") + token[position + 1 :]
        answer = client.get(ITEMS, query={"limit": 2, "sort": "n", "after": changed}, as_=ann)
        assert_problem(answer, 400, "invalid_input", path="after")


@pytest.mark.parametrize(
    "other",
    [{"sort": "-n"}, {"sort": "n,_id"}, {"filter": '{"n": 1}', "sort": "n"}, {}],
)
def test_token_of_another_filter_or_sort_is_400(client, ann, five, other):
    token = client.get(ITEMS, query={"limit": 2, "sort": "n"}, as_=ann).json["next"]
    assert_problem(client.get(ITEMS, query={**other, "after": token}, as_=ann), 400, "invalid_input", path="after")
    answer = client.get("/v1/db/app/others", query={"sort": "n", "after": token}, as_=ann)
    assert_problem(answer, 400, "invalid_input", path="after")


def test_token_of_another_secret_is_400(client, ann, five, config, monkeypatch):
    token = client.get(ITEMS, query={"limit": 2}, as_=ann).json["next"]
    monkeypatch.setattr(page_token, "PURPOSE", b"another secret")
    assert_problem(client.get(ITEMS, query={"after": token}, as_=ann), 400, "invalid_input", path="after")


def test_token_of_another_user_shows_nothing_of_theirs(client, ann, bob, five):
    token = client.get(ITEMS, query={"limit": 2, "sort": "n"}, as_=ann).json["next"]
    client.post(ITEMS, {"_id": "bobs", "n": 9}, as_=bob)
    assert ids(client.get(ITEMS, query={"sort": "n", "after": token}, as_=bob)) == ["bobs"]


def test_limit_and_fields_may_change_between_pages(client, ann, five):
    token = client.get(ITEMS, query={"limit": 1, "fields": "_id"}, as_=ann).json["next"]
    answer = client.get(ITEMS, query={"limit": 3, "fields": "n", "after": token}, as_=ann)
    assert answer.json["documents"] == [{"_id": 1, "n": 1}, {"_id": 2, "n": 2}, {"_id": 3, "n": 3}]


@pytest.mark.parametrize("fields", ['{"n": 0, "_owner": 0}', '{"_id": 0, "n": 0, "_owner": 0}', '{"x": 1, "_id": 0}'])
def test_fields_that_hide_the_sort_do_not_hide_the_way_on(client, ann, five, fields):
    query = {"limit": 3, "sort": "-n", "fields": fields}
    first = client.get(ITEMS, query=query, as_=ann)
    assert KEYS_FIELD not in first.text
    assert all(not {"n", "_owner"} & each.keys() for each in first.json["documents"])
    second = client.get(ITEMS, query={**query, "after": first.json["next"]}, as_=ann)
    assert (len(first.json["documents"]), len(second.json["documents"])) == (3, 2)


@pytest.mark.parametrize("sort", ["_id", "-n", ""])
def test_the_last_document_of_a_page_may_be_deleted_before_the_next(client, ann, five, sort):
    query = {"limit": 2, **({"sort": sort} if sort else {})}
    first = client.get(ITEMS, query=query, as_=ann)
    client.delete(f"{ITEMS}/{ids(first)[-1]}", query={"id_type": "int"}, as_=ann)
    second = client.get(ITEMS, query={**query, "after": first.json["next"]}, as_=ann)
    assert ids(second) == ([2, 1] if sort == "-n" else [2, 3])


def test_after_and_skip_exclude_each_other(client, ann, five):
    token = client.get(ITEMS, query={"limit": 2}, as_=ann).json["next"]
    answer = client.get(ITEMS, query={"after": token, "skip": 1}, as_=ann)
    assert_problem(answer, 400, "invalid_input", path="skip")


def test_read_only_key_pages_as_its_owner(client, ann, bob, five, make_key):
    client.post(ITEMS, {"_id": "bobs"}, as_=bob)
    key = make_key(ann, read_only=True)
    token = client.get(ITEMS, query={"limit": 3}, as_=key).json["next"]
    assert ids(client.get(ITEMS, query={"after": token}, as_=key)) == [3, 4]


@pytest.mark.parametrize("kind", ["estimated", "exact"])
def test_count_is_of_all_that_match_among_ones_own(client, ann, bob, admin, five, kind):
    client.post(ITEMS, {"_id": "bobs", "n": 1}, as_=bob)
    assert client.get(ITEMS, query={"count": kind, "limit": 2, "skip": 1}, as_=ann).json["count"] == 5
    assert client.get(ITEMS, query={"count": kind, "limit": 2}, as_=admin).json["count"] == 6
    answer = client.get(ITEMS, query={"count": kind, "filter": '{"n": {"$gt": 2}}'}, as_=ann)
    assert answer.json["count"] == 2


def test_no_count_unless_asked(client, ann, five):
    assert list(client.get(ITEMS, as_=ann).json) == ["documents", "next"]
    assert list(client.get(ITEMS, query={"count": "none"}, as_=ann).json) == ["documents", "next"]
    assert_problem(client.get(ITEMS, query={"count": "all"}, as_=ann), 400, "invalid_input", path="count")


def test_an_estimate_counts_no_further_than_its_bound(client, ann, five, monkeypatch):
    monkeypatch.setattr(models, "MAX_ESTIMATE", 3)
    assert client.get(ITEMS, query={"count": "estimated"}, as_=ann).json["count"] == 3
    assert client.get(ITEMS, query={"count": "exact"}, as_=ann).json["count"] == 5


def test_canonical_form_holds_for_next_and_count(client, ann, five):
    answer = client.get(ITEMS, query={"count": "exact", "limit": 1, "types": "canonical"}, as_=ann)
    assert answer.json["count"] == {"$numberInt": "5"}
    assert isinstance(answer.json["next"], str)


def test_a_streamed_list_ends_with_its_next(client, ann, config, monkeypatch):
    text = "x" * 7_000_000
    for number in range(6):
        client.post(ITEMS, {"_id": number, "text": text}, as_=ann)
    first = client.get(ITEMS, query={"limit": 4}, as_=ann)
    assert ids(first) == [0, 1, 2, 3]
    assert ids(client.get(ITEMS, query={"after": first.json["next"]}, as_=ann)) == [4, 5]
    for sort in ("-_owner", "text"):
        first = client.get(ITEMS, query={"limit": 4, "sort": sort, "fields": "_id,text"}, as_=ann)
        assert len(ids(first)) == 4
        assert first.json["next"]


@pytest.mark.parametrize(
    "query",
    [
        {"filter": '{"at": {"$near": {"$geometry": {"type": "Point", "coordinates": [0, 0]}}}}'},
        {"filter": '{"$text": {"$search": "lamp"}}', "sort": '{"score": {"$meta": "textScore"}}'},
        {"sort": "list.0"},
        {"sort": "big"},
        {"sort": "rare"},
    ],
    ids=["near", "score", "position", "long", "regex"],
)
def test_orders_that_no_filter_can_follow_are_paged_by_place(client, admin, mongo, query):
    mongo["shop"]["items"].create_index([("name", "text")])
    mongo["shop"]["items"].create_index([("at", "2dsphere")])
    documents = [
        {
            "_id": n,
            "name": "lamp " * (n + 1),
            "at": {"type": "Point", "coordinates": [n, 0]},
            "list": [n],
            "big": "x" * 5000 + str(n),
            "rare": {"$regularExpression": {"pattern": f"{n}", "options": ""}},
        }
        for n in range(7)
    ]
    client.post(SHOP, documents, as_=admin)
    expected = ids(client.get(SHOP, query=query, as_=admin))
    found, asked = [], {**query, "limit": 3}
    while True:
        answer = client.get(SHOP, query=asked, as_=admin)
        found.append(ids(answer))
        if answer.json["next"] is None:
            break
        asked["after"] = answer.json["next"]
    assert found == [expected[:3], expected[3:6], expected[6:]]


def test_collation_of_the_collection_is_kept_to(client, admin, mongo):
    mongo["shop"].create_collection("items", collation={"locale": "en", "strength": 2})
    mongo["shop"]["items"].insert_many([{"_id": n, "name": name} for n, name in enumerate("bAaBcC")])
    found, asked = [], {"sort": "name", "limit": "1"}
    while True:
        answer = client.get(SHOP, query=asked, as_=admin)
        found += ids(answer)
        if answer.json["next"] is None:
            break
        asked["after"] = answer.json["next"]
    assert found == [1, 2, 0, 3, 4, 5]


def test_several_fields_of_an_array_are_refused_on_the_second_page(client, admin):
    lines = [{"x": 1, "y": 9}, {"x": 2, "y": 0}]
    client.post(SHOP, [{"_id": n, "lines": lines, "to": {"zip": n, "city": 1}} for n in range(4)], as_=admin)
    token = client.get(SHOP, query={"sort": "lines.x,lines.y", "limit": 2}, as_=admin).json["next"]
    answer = client.get(SHOP, query={"sort": "lines.x,lines.y", "after": token}, as_=admin)
    assert_problem(answer, 400, "invalid_input", path="sort")
    token = client.get(SHOP, query={"sort": "to.city,to.zip", "limit": 2}, as_=admin).json["next"]
    assert ids(client.get(SHOP, query={"sort": "to.city,to.zip", "after": token}, as_=admin)) == [2, 3]


COST = 3_000


@pytest.mark.parametrize("keys", [[("n", 1), ("_id", 1)], [("n", 1)], [("few", 1)], None], ids=str)
@pytest.mark.parametrize("turn", ["", "-"], ids=["ascending", "descending"])
def test_a_deep_page_costs_what_the_first_one_costs(app, mongo, keys, turn):
    collection = mongo["shop"]["items"]
    collection.insert_many([{"_id": n, "n": n // 2, "few": n % 2} for n in range(COST)])
    field = keys[0][0] if keys else "_id"
    if keys:
        collection.create_index(keys)
    forget_indexes()
    sort = [(field, -1 if turn else 1)]
    mongo["shop"].command("profile", 2)
    token = None
    for _ in range(COST // 100 - 2):
        page = Page(PERMIT, Listing({}, sort=sort, limit=100, after=token))
        assert len([document for batch in page for document in split(batch)]) == 100
        token = page.next_token
    mongo["shop"].command("profile", 0)
    costs = [each["keysExamined"] for each in mongo["shop"]["system.profile"].find({"command.find": "items"})]
    mongo["shop"]["system.profile"].drop()
    # Within a tie of half the collection, which no index orders by _id, that of _id has every second one.
    # Where the one tie ends and the next begins, it is walked to its end.
    assert sorted(costs)[-3] <= 210, json.dumps(costs)
    assert max(costs) <= (110 if field != "few" else 2 * COST // 2 + 10), json.dumps(costs)
