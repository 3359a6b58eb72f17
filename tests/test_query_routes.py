"""What the query routes answer, and to whom."""

import json
from typing import Any

import pymongo
import pytest
from jsonschema import Draft202012Validator

from document import aggregation, query_schemas
from document.sort_index import forget_indexes
from tests.conftest import assert_problem

ITEMS = "/v1/db/app/items"
BODIES: dict[str, dict[str, Any]] = {
    "_query": {"filter": {"n": {"$gt": 1}}},
    "_aggregate": {"pipeline": [{"$match": {"n": {"$gt": 1}}}]},
    "_count": {"filter": {"n": {"$gt": 1}}},
    "_distinct": {"field": "n"},
    "_explain": {"query": {"filter": {"n": {"$gt": 1}}}},
}
OID = "65a000000000000000000001"


@pytest.fixture
def items(client, ann):
    """The path of a collection with three documents of ann."""
    client.post(ITEMS, [{"_id": n, "n": n, "s": s} for n, s in ((1, "b"), (2, "A"), (3, "c"))], as_=ann)
    return ITEMS


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [each["_id"] for each in answer.json["documents"]]


@pytest.mark.parametrize("action", BODIES)
def test_who_may_ask(client, ann, bob, admin, admin_key, make_key, items, action):
    body = BODIES[action]
    path = f"{items}/{action}"
    assert_problem(client.post(path, body), 401, "unauthorized")
    for actor in (ann, make_key(ann), make_key(ann, read_only=True), admin, admin_key):
        answer = client.post(path, body, as_=actor)
        assert answer.status_code == 200, answer.text
    nothing = client.post(path, body, as_=bob).json
    assert (
        nothing in ({"documents": [], "next": None}, {"documents": []}, {"count": 0}, {"values": []})
        or action == "_explain"
    )
    assert_problem(client.post(f"/v1/db/shop/items/{action}", body, as_=ann), 403, "forbidden")
    assert_problem(client.post(f"/v1/db/admin/users/{action}", body, as_=admin), 403, "forbidden")
    assert_problem(client.post(f"/v1/db/app/system.js/{action}", body, as_=admin), 403, "forbidden")
    assert client.post(f"/v1/db/shop/items/{action}", body, as_=admin).status_code == 200


@pytest.mark.parametrize("action", BODIES)
def test_unknown_members_and_parameters_are_refused(client, ann, items, action):
    answer = client.post(f"{items}/{action}", {**BODIES[action], "max_time_ms": 1, "limt": 2}, as_=ann)
    assert_problem(answer, 400, "invalid_input", path="max_time_ms")
    assert_problem(answer, 400, "invalid_input", path="limt")
    answer = client.post(f"{items}/{action}", BODIES[action], query={"limit": 1}, as_=ann)
    assert_problem(answer, 400, "invalid_input", path="limit")
    assert_problem(client.post(f"{items}/{action}", [], as_=ann), 400, "invalid_input")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"sort": "-n", "limit": 2}, [3, 2]),
        ({"sort": {"n": -1}, "skip": 1}, [2, 1]),
        ({"filter": {"n": {"$in": [1, 3]}}}, [1, 3]),
        ({"sort": "s"}, [2, 1, 3]),
        ({"sort": {"s": -1}, "collation": {"locale": "en", "strength": 1}}, [3, 1, 2]),
        ({"filter": {"s": "a"}, "collation": {"locale": "en", "strength": 2}}, [2]),
        ({"filter": {"$expr": {"$gt": ["$n", "$$least"]}}, "let": {"least": 2}}, [3]),
        ({"filter": {"n": 1}, "hint": {"_id": 1}, "comment": "why"}, [1]),
        ({"filter": {"n": 1}, "hint": "_id_"}, [1]),
    ],
    ids=json.dumps,
)
def test_query_finds(client, ann, items, body, expected):
    answer = client.post(f"{items}/_query", body, as_=ann)
    assert ids(answer) == expected
    assert set(answer.json) == ({"documents"} if "collation" in body else {"documents", "next"})


def test_query_computes_fields(client, ann, items):
    fields = {"_id": 0, "double": {"$multiply": ["$n", 2]}, "text": {"$toLower": "$s"}}
    answer = client.post(f"{items}/_query", {"filter": {"n": 2}, "fields": fields}, as_=ann)
    assert answer.json == {"documents": [{"double": 4, "text": "a"}], "next": None}
    assert client.post(f"{items}/_query", {"fields": "n", "limit": 1}, as_=ann).json["documents"] == [
        {"_id": 1, "n": 1}
    ]
    answer = client.get(items, query={"fields": json.dumps(fields), "limit": "1", "sort": "n"}, as_=ann)
    assert answer.json["documents"] == [{"double": 2, "text": "b"}]


def pages(client, actor, path, body):
    """All pages of a query, each answer within its limit."""
    found = []
    while True:
        answer = client.post(f"{path}/_query", body, as_=actor)
        assert answer.status_code == 200, answer.text
        assert "Link" not in answer.headers
        assert len(answer.json["documents"]) <= body["limit"]
        found.append(answer.json["documents"])
        if answer.json["next"] is None:
            return found
        body = {**body, "after": answer.json["next"]}


@pytest.mark.parametrize("index", [None, "n", [("n", 1), ("_id", 1)]], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hint": {"_id": 1}},
        {"hint": {"$natural": 1}, "comment": "why"},
        {"filter": {"$expr": {"$gte": ["$n", "$$least"]}}, "let": {"least": 0}},
        # can fail, so that the guard is in force
        {"filter": {"$expr": {"$gte": [{"$toInt": "$n"}, "$$least"]}}, "let": {"least": 0}, "sort": {"n": 1}},
        {"fields": {"_id": {"$literal": 7}, "key": "$_id"}},
        {"fields": {"_id": {"$subtract": [9, "$_id"]}, "key": "$_id"}},
        {"fields": {"_id.x": 1, "key": "$_id"}},
        {"fields": {"n": 1, "key": {"$add": ["$_id", 0]}, "_id": True}},
    ],
    ids=str,
)
@pytest.mark.parametrize("sort", [None, {"n": 1}, {"n": -1}], ids=str)
def test_query_goes_on_with_its_options(client, ann, mongo, index, options, sort):
    client.post(ITEMS, [{"_id": number, "n": number // 4} for number in range(10)], as_=ann)
    if index:
        mongo["app"]["items"].create_index(index)
    forget_indexes()
    body = {"limit": 3, **({"sort": sort} if sort else {}), **options}
    found = pages(client, ann, ITEMS, body)
    keys = [each.get("key", each.get("_id")) for page in found for each in page]
    downwards = body.get("sort") == {"n": -1}
    assert keys == sorted(range(10), reverse=downwards)
    assert [len(page) for page in found] == [3, 3, 3, 1]


def test_token_is_bound_to_what_gives_the_filter_its_meaning(client, ann, items):
    body = {"filter": {"$expr": {"$gte": ["$n", "$$least"]}}, "let": {"least": 1}, "limit": 1}
    token = client.post(f"{items}/_query", body, as_=ann).json["next"]
    assert ids(client.post(f"{items}/_query", {**body, "after": token, "comment": "second"}, as_=ann)) == [2]
    for other in ({"let": {"least": 0}}, {"let": {"least": 1.0}}, {"hint": "_id_"}):
        answer = client.post(f"{items}/_query", {**body, "after": token, **other}, as_=ann)
        assert_problem(answer, 400, "invalid_input", path="after")


def test_list_and_query_take_each_others_tokens(client, ann, items):
    token = client.get(items, query={"sort": "-n", "limit": "1"}, as_=ann).json["next"]
    answer = client.post(f"{items}/_query", {"sort": {"n": -1}, "limit": 1, "after": token}, as_=ann)
    assert ids(answer) == [2]
    assert ids(client.get(items, query={"sort": "-n", "after": answer.json["next"]}, as_=ann)) == [1]


def test_query_with_a_collation_is_not_gone_on_with(client, ann, items):
    body = {"sort": "s", "collation": {"locale": "en", "strength": 1}, "limit": 1, "count": "exact"}
    answer = client.post(f"{items}/_query", body, as_=ann)
    assert answer.json.keys() == {"documents", "count"}
    assert (ids(answer), answer.json["count"]) == ([2], 3)
    assert ids(client.post(f"{items}/_query", {**body, "skip": 1}, as_=ann)) == [1]
    Draft202012Validator(query_schemas.FOUND).validate(answer.json)


@pytest.mark.parametrize("kind", ["exact", "estimated"])
def test_query_counts_with_its_options(client, ann, bob, items, kind):
    client.post(items, {"_id": "bobs", "n": 3}, as_=bob)
    body = {"limit": 1, "count": kind}
    assert client.post(f"{items}/_query", body, as_=ann).json["count"] == 3
    wanted = {"filter": {"$expr": {"$gte": [{"$toInt": "$n"}, "$$least"]}}, "let": {"least": 2}}
    assert client.post(f"{items}/_query", {**body, **wanted}, as_=ann).json["count"] == 2
    wanted = {"filter": {"s": "a"}, "collation": {"locale": "en", "strength": 2}}
    assert client.post(f"{items}/_query", {**body, **wanted}, as_=ann).json["count"] == 1


def test_items_at_the_found_position_are_those_of_the_filter_on_every_page(client, ann):
    items = [{"_id": n, "tags": ["x", "y"], "list": [{"x": 1}, {"x": 2, "n": n}]} for n in range(5)]
    client.post(ITEMS, items, as_=ann)
    body = {"filter": {"list.x": 2}, "fields": {"list.$": 1}, "limit": 2}
    for sort in ({"sort": "tags"}, {"sort": "-tags"}, {}):
        found = pages(client, ann, ITEMS, {**body, **sort})
        assert sorted(each["list"][0]["n"] for page in found for each in page) == [0, 1, 2, 3, 4]
    token = client.post(f"{ITEMS}/_query", {**body, "sort": "_id", "fields": "list"}, as_=ann).json["next"]
    answer = client.post(f"{ITEMS}/_query", {**body, "sort": "_id", "after": token}, as_=ann)
    assert_problem(answer, 400, "invalid_input", path="fields")


@pytest.mark.parametrize("wanted", [{"$text": {"$search": "lamp"}}, {"at": {"$near": [0, 0]}}], ids=str)
@pytest.mark.parametrize("sort", ["n", "_id"])
def test_searches_sorted_by_a_field_go_on(client, ann, mongo, wanted, sort):
    client.post(ITEMS, [{"_id": n, "n": n // 3, "s": "lamp", "at": [n, 0]} for n in range(7)], as_=ann)
    mongo["app"]["items"].create_index([("s", "text")])
    mongo["app"]["items"].create_index([("at", "2d")])
    found = pages(client, ann, ITEMS, {"filter": wanted, "sort": sort, "limit": 2})
    assert [each["_id"] for page in found for each in page] == list(range(7))


@pytest.mark.parametrize(
    ("action", "body", "path"),
    [
        ("_query", {"filter": []}, "filter"),
        ("_query", {"filter": None}, "filter"),
        ("_query", {"limit": 0}, "limit"),
        ("_query", {"limit": 1001}, "limit"),
        ("_query", {"limit": "5"}, "limit"),
        ("_query", {"limit": True}, "limit"),
        ("_query", {"limit": 1.5}, "limit"),
        ("_query", {"skip": -1}, "skip"),
        ("_query", {"sort": {"n": 2}}, "sort"),
        ("_query", {"sort": 5}, "sort"),
        ("_query", {"fields": 5}, "fields"),
        ("_query", {"fields": {"$where": 1}}, "fields.$where"),
        ("_query", {"fields": {"a": {"$elemMatch": {"$where": 1}}}}, "fields.a.$elemMatch.$where"),
        ("_query", {"collation": "de"}, "collation"),
        ("_query", {"collation": {"locale": "de", "version": 1}}, "collation.version"),
        ("_query", {"hint": 5}, "hint"),
        ("_query", {"hint": {"n": {"$where": 1}}}, "hint.n"),
        ("_query", {"let": {"a": {"$function": {}}}}, "let.a.$function"),
        ("_query", {"let": {"A": 1}}, "let.A"),
        ("_query", {"comment": 5}, "comment"),
        ("_query", {"count": True}, "count"),
        ("_query", {"after": None}, "after"),
        ("_query", {"after": "x"}, "after"),
        ("_query", {"after": "x", "skip": 1}, "skip"),
        ("_query", {"after": "x", "collation": {"locale": "en"}}, "after"),
        ("_explain", {"query": {"after": "x"}}, "query.after"),
        ("_explain", {"query": {"count": "exact"}}, "query.count"),
        ("_aggregate", {}, "pipeline"),
        ("_aggregate", {"pipeline": [], "allow_disk_use": 1}, "allow_disk_use"),
        ("_count", {"limit": 0}, "limit"),
        ("_distinct", {}, "field"),
        ("_distinct", {"field": "$n"}, "field"),
        ("_distinct", {"field": 5}, "field"),
        ("_explain", {}, "query"),
        ("_explain", {"query": {}, "pipeline": []}, "query"),
        ("_explain", {"query": []}, "query"),
        ("_explain", {"query": {"n": 1}}, "query.n"),
        ("_explain", {"query": {}, "let": {}}, "let"),
        ("_explain", {"query": {}, "verbosity": "allPlansExecution"}, "verbosity"),
    ],
    ids=str,
)
def test_bad_member_is_400_and_named(client, ann, action, body, path):
    assert_problem(client.post(f"{ITEMS}/{action}", body, as_=ann), 400, "invalid_input", path=path)


def test_aggregate_groups_joins_and_takes_variables(client, ann, items):
    pipeline = [
        {"$match": {"$expr": {"$gte": ["$n", "$$least"]}}},
        {"$lookup": {"from": "items", "localField": "n", "foreignField": "_id", "as": "self"}},
        {"$group": {"_id": None, "sum": {"$sum": {"$size": "$self"}}}},
    ]
    answer = client.post(f"{items}/_aggregate", {"pipeline": pipeline, "let": {"least": 2}}, as_=ann)
    assert answer.json == {"documents": [{"_id": None, "sum": 2}]}
    assert client.post(f"{items}/_aggregate", {"pipeline": []}, as_=ann).json["documents"][0]["_id"] == 1


def test_aggregate_streams_many_batches(client, ann, mongo, monkeypatch):
    monkeypatch.setattr(aggregation, "BATCH_DOCUMENTS", 1000)
    client.post(ITEMS, [{"_id": n} for n in range(2500)], as_=ann)
    answer = client.post(f"{ITEMS}/_aggregate", {"pipeline": [{"$sort": {"_id": 1}}]}, as_=ann)
    assert ids(answer) == list(range(2500))
    assert "Content-Length" not in answer.headers


def test_failure_of_an_expression_is_400_with_its_reason(client, ann, items):
    for action, body in (
        ("_aggregate", {"pipeline": [{"$project": {"x": {"$toInt": "$s"}}}]}),
        ("_query", {"filter": {"$expr": {"$toInt": "$s"}}}),
        ("_aggregate", {"pipeline": [{"$project": {"x": {"$range": [0, 100_000_000]}}}]}),
        ("_query", {"hint": "nothing"}),
    ):
        assert_problem(client.post(f"{items}/{action}", body, as_=ann), 400, "refused_by_database")


@pytest.mark.parametrize(
    ("body", "count"),
    [({}, 3), ({"filter": {"n": {"$gt": 1}}}, 2), ({"limit": 2}, 2), ({"filter": {"n": 9}}, 0)],
    ids=str,
)
def test_count_is_exact(client, ann, items, body, count):
    assert client.post(f"{items}/_count", body, as_=ann).json == {"count": count}


def test_count_takes_collation_and_canonical_form(client, ann, items):
    body = {"filter": {"s": "a"}, "collation": {"locale": "en", "strength": 1}}
    answer = client.post(f"{items}/_count", body, headers={"Accept": "application/ejson"}, as_=ann)
    assert answer.json == {"count": {"$numberInt": "1"}}


def test_distinct_values_keep_their_types(client, ann):
    stored = [{"$oid": OID}, {"$date": "2026-01-31T12:00:00Z"}, 1, 2.5, "x", None, {"k": {"$numberDecimal": "1.10"}}]
    client.post(ITEMS, [{"v": value} for value in [*stored, {"$ref": "c", "$id": 1}, ["y", 1]]], as_=ann)
    values = client.post(f"{ITEMS}/_distinct", {"field": "v"}, as_=ann).json["values"]
    for value in [*stored, {"$ref": "c", "$id": 1}, "y"]:
        assert value in values
    plain = client.post(f"{ITEMS}/_distinct", {"field": "v"}, query={"types": "plain"}, as_=ann).json["values"]
    assert {OID, "2026-01-31T12:00:00.000Z"} <= {value for value in plain if isinstance(value, str)}
    body = {"field": "v", "filter": {"v": "x"}}
    assert client.post(f"{ITEMS}/_distinct", body, as_=ann).json == {"values": ["x"]}


def test_distinct_values_over_16_mb_are_400(client, admin, mongo):
    mongo["shop"]["items"].insert_many([{"v": f"{n}" * 1_000_000} for n in range(10, 20)])
    answer = client.post("/v1/db/shop/items/_distinct", {"field": "v"}, as_=admin)
    assert_problem(answer, 400, "refused_by_database")
    assert "16" in answer.json["detail"]


def test_admin_gets_the_whole_explanation_without_the_server(client, admin, mongo, items):
    body = {"query": {"filter": {"n": 1}, "sort": "n", "fields": "n"}, "verbosity": "executionStats"}
    answer = client.post(f"{items}/_explain", body, as_=admin)
    assert answer.json["executionStats"]["totalDocsExamined"] == 3
    answers = [answer, client.post(f"{items}/_explain", {"pipeline": [{"$group": {"_id": "$n"}}]}, as_=admin)]
    for each in answers:
        assert each.status_code == 200
        assert not [word for word in ("serverInfo", "host", "gitVersion", "clusterTime") if word in each.text]
        Draft202012Validator(query_schemas.EXPLAINED).validate(each.json)


def test_owner_gets_outlines_of_plans(client, ann, items, mongo):
    mongo["app"]["items"].create_index("n")
    plans = client.post(f"{items}/_explain", {"query": {"filter": {"n": 1}}}, as_=ann).json["plans"]
    assert [name in json.dumps(plans) for name in ("IXSCAN", '"n_1"', '"_owner_1__id_1"')] == [True, True, True]
    assert ann.id not in json.dumps(plans)


@pytest.mark.parametrize("wanted", [OID, {"$eq": OID}, {"$in": ["x", OID]}], ids=str)
def test_text_that_looks_like_an_object_id_is_hinted_at_when_nothing_is_found(client, ann, items, wanted):
    answers = [
        client.post(f"{items}/_query", {"filter": {"_id": wanted}}, as_=ann),
        client.post(f"{items}/_count", {"filter": {"_id": wanted}}, as_=ann),
        client.post(f"{items}/_distinct", {"field": "n", "filter": {"_id": wanted}}, as_=ann),
        client.get(items, query={"filter": json.dumps({"_id": wanted})}, as_=ann),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert f'{{"$oid": "{OID}"}}' in answer.json["hint"]
    client.put(f"{items}/{OID}", {"n": 7}, query={"id_type": "string"}, as_=ann)
    assert "hint" not in client.post(f"{items}/_query", {"filter": {"_id": wanted}}, as_=ann).json
    assert "hint" not in client.post(f"{items}/_query", {"filter": {"_id": "short"}}, as_=ann).json


def test_disk_and_whole_collection_stages_are_for_admins(client, ann, admin, items):
    assert_problem(
        client.post(f"{items}/_aggregate", {"pipeline": [], "allow_disk_use": True}, as_=ann),
        403,
        "forbidden",
        path="allow_disk_use",
    )
    assert client.post(f"{items}/_aggregate", {"pipeline": [], "allow_disk_use": True}, as_=admin).status_code == 200
    answer = client.post(f"{items}/_aggregate", {"pipeline": [{"$collStats": {"count": {}}}]}, as_=admin)
    assert answer.json["documents"][0]["count"] == 3
    answer = client.post(f"{items}/_aggregate", {"pipeline": [{"$indexStats": {}}]}, as_=admin)
    assert answer.json["documents"][0]["name"]


def test_admin_writes_with_out_and_merge(client, admin, make_key, items, mongo):
    for last in ({"$out": "copy"}, {"$merge": {"into": {"db": "shop", "coll": "copy"}, "on": "_id"}}):
        answer = client.post(f"{items}/_aggregate", {"pipeline": [{"$match": {"n": 1}}, last]}, as_=admin)
        assert (answer.status_code, answer.json) == (200, {"documents": []})
    increase = {"into": "copy", "whenMatched": [{"$set": {"n": {"$add": ["$n", "$$new.n"]}}}]}
    assert client.post(f"{items}/_aggregate", {"pipeline": [{"$merge": increase}]}, as_=admin).status_code == 200
    assert mongo["app"]["copy"].find_one({"_id": 1})["n"] == 2
    assert mongo["shop"]["copy"].count_documents({}) == 1
    reader = make_key(admin, read_only=True)
    assert_problem(client.post(f"{items}/_aggregate", {"pipeline": [{"$out": "x"}]}, as_=reader), 403, "forbidden")
    for target in ("system.users", "_rules", {"db": "admin", "coll": "x"}):
        answer = client.post(f"{items}/_aggregate", {"pipeline": [{"$out": target}]}, as_=admin)
        assert_problem(answer, 403, "forbidden", path="pipeline[0].$out")


def test_explaining_never_writes(client, admin, items, mongo):
    answer = client.post(f"{items}/_explain", {"pipeline": [{"$out": "copy"}]}, as_=admin)
    assert_problem(answer, 400, "invalid_input", path="pipeline[0].$out")
    assert "copy" not in mongo["app"].list_collection_names()


def test_queries_over_the_time_limit_are_504(client, admin, mongo):
    mongo["shop"]["items"].insert_many([{"text": "a" * 100_000} for _ in range(200)])
    slow = {"$or": [{"text": {"$regex": f"[b-z]{number}"}} for number in range(300)]}
    for action, body in (
        ("_query", {"filter": slow}),
        ("_aggregate", {"pipeline": [{"$match": slow}]}),
        ("_count", {"filter": slow}),
        ("_distinct", {"field": "text", "filter": slow}),
        ("_explain", {"query": {"filter": slow}, "verbosity": "executionStats"}),
    ):
        with pymongo.timeout(0.5):  # stands for the client's own limit, SHEAF_TIME_LIMIT_SECONDS
            answer = client.post(f"/v1/db/shop/items/{action}", body, as_=admin)
        assert_problem(answer, 504, "time_limit_exceeded")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "post"])
def test_segment_that_begins_with_an_underscore_is_never_an_id(client, ann, mongo, method):
    client.post(ITEMS, {"_id": "_foo", "n": 1}, as_=ann)
    for path in (f"{ITEMS}/_foo", f"{ITEMS}/%5Ffoo"):
        body = None if method == "get" else {"n": 2}
        for query in ({}, {"id_type": "string"}):
            answer = client.open(method, path, body, query=query, as_=ann)
            assert_problem(answer, 404, "not_found")
            assert "_query" in answer.json["detail"]
    answer = client.open(method, f"{ITEMS}/_query", {}, as_=ann)
    assert answer.status_code == (200 if method == "post" else 405)
    assert ids(client.post(f"{ITEMS}/_query", {"filter": {"_id": "_foo"}}, as_=ann)) == ["_foo"]
    assert mongo["app"]["items"].find_one()["n"] == 1


UPDATE_PIPELINES = [
    ([{"$set": {"n": {"$add": ["$n", 1]}}}], {"n": 2, "l": [1, 5]}),
    ([{"$addFields": {"o.k": "$n"}}, {"$unset": "n"}], {"l": [1, 5], "o": {"k": 1}}),
    ([{"$unset": ["n", "l"]}], {}),
]


@pytest.mark.parametrize(("stages", "expected"), UPDATE_PIPELINES, ids=str)
def test_owner_patches_by_pipeline(client, ann, stages, expected):
    client.post(ITEMS, {"_id": "x", "n": 1, "l": [1, 5]}, as_=ann)
    answer = client.patch(f"{ITEMS}/x", stages, as_=ann)
    assert answer.json == {"matched_count": 1, "modified_count": 1}
    read = client.get(f"{ITEMS}/x", as_=ann).json
    assert read == {"_id": "x", **expected, "_owner": {"$oid": ann.id}}


@pytest.mark.parametrize(
    "stages",
    [
        [{"$replaceWith": {"a": 1}}],
        [{"$replaceRoot": {"newRoot": {"a": 1}}}],
        [{"$project": {"n": 1}}],
        [{"$set": {"n": 1}}, {"$set": {"_owner": "me"}}],
        [{"$addFields": {"_owner.x": "me"}}],
        [{"$unset": "_owner"}],
        [{"$unset": ["n", "_owner"]}],
    ],
    ids=str,
)
def test_pipeline_that_may_change_the_owner_is_for_admins(client, ann, bob, admin, stages):
    client.post(ITEMS, {"_id": "x", "n": 1}, as_=ann)
    assert_problem(client.patch(f"{ITEMS}/x", stages, as_=ann), 403, "forbidden")
    assert_problem(client.patch(f"{ITEMS}/x", [{"$set": {"n": 5}}], as_=bob), 404, "not_found")
    assert client.get(f"{ITEMS}/x", as_=ann).json == {"_id": "x", "n": 1, "_owner": {"$oid": ann.id}}
    assert client.patch(f"{ITEMS}/x", stages, as_=admin).status_code == 200


def test_array_filters_choose_the_items(client, ann):
    client.post(ITEMS, {"_id": "x", "l": [{"n": 1}, {"n": 5}]}, as_=ann)
    query = {"array_filters": json.dumps([{"big.n": {"$gt": 3}}])}
    answer = client.patch(f"{ITEMS}/x", {"$set": {"l.$[big].n": 9}}, query=query, as_=ann)
    assert answer.json["modified_count"] == 1
    assert client.get(f"{ITEMS}/x", as_=ann).json["l"] == [{"n": 1}, {"n": 9}]
    for text, body, path in (
        ('[{"big.n": {"$where": "1"}}]', {"$set": {"l.$[big].n": 9}}, "array_filters[0].big.n.$where"),
        ('{"big": 1}', {"$set": {"l.$[big].n": 9}}, "array_filters"),
        ('[{"big": 1}]', [{"$set": {"n": 1}}], "array_filters"),
    ):
        answer = client.patch(f"{ITEMS}/x", body, query={"array_filters": text}, as_=ann)
        assert_problem(answer, 400, "invalid_input", path=path)
