"""What the document routes do for a caller who may."""

import json

import pytest

import database
from tests.conftest import assert_problem

ITEMS = "/v1/db/app/items"


def test_insert_one_answers_its_id(client, ann):
    answer = client.post(ITEMS, {"name": "lamp"}, as_=ann)
    assert answer.status_code == 201
    assert answer.content_type == "application/json"
    assert list(answer.json) == ["inserted_id"]
    assert len(answer.json["inserted_id"]["$oid"]) == 24


def test_insert_many_answers_the_ids_in_order(client, ann):
    answer = client.post(ITEMS, [{"_id": "a"}, {"_id": 2}, {"_id": 3.5}], as_=ann)
    assert (answer.status_code, answer.json) == (201, {"inserted_ids": ["a", 2, 3.5]})


@pytest.mark.parametrize(("ordered", "kept"), [("true", ["a"]), ("false", ["a", "b"])])
def test_insert_many_that_fails_midway_names_the_document(client, ann, ordered, kept):
    answer = client.post(ITEMS, [{"_id": "a"}, {"_id": "a"}, {"_id": "b"}], query={"ordered": ordered}, as_=ann)
    assert_problem(answer, 409, "duplicate_key")
    assert [error["path"] for error in answer.json["errors"]] == ["[1]"]
    assert answer.json["inserted_count"] == len(kept)
    assert [d["_id"] for d in client.get(ITEMS, query={"sort": "_id"}, as_=ann).json["documents"]] == kept


def test_every_type_is_read_back_as_it_was_written(client, ann):
    document = {
        "_id": {"$oid": "65a000000000000000000001"},
        "date": {"$date": "2022-01-12T02:33:23.067Z"},
        "decimal": {"$numberDecimal": "742.05"},
        "binary": {"$binary": {"base64": "AQID", "subType": "05"}},
        "double": 1.0,
        "list": [1, "two", None, True, {"x": []}],
        "zürich": "grüezi \U0001f600",
    }
    client.post(ITEMS, document, as_=ann)
    read = client.get(f"{ITEMS}/65a000000000000000000001", as_=ann)
    expected = json.dumps({**document, "_owner": {"$oid": ann.id}}, ensure_ascii=False, separators=(",", ":"))
    assert read.text == expected


def test_canonical_and_plain_forms(client, ann):
    client.post(ITEMS, {"_id": {"$oid": "65a000000000000000000001"}, "n": 1}, as_=ann)
    path = f"{ITEMS}/65a000000000000000000001"
    canonical = client.get(path, headers={"Accept": "application/ejson"}, as_=ann)
    assert canonical.content_type == "application/ejson"
    assert canonical.json["n"] == {"$numberInt": "1"}
    plain = client.get(path, query={"types": "plain"}, as_=ann)
    assert plain.json["_id"] == "65a000000000000000000001"
    changed = client.patch(path, {"n": 2}, headers={"Accept": "application/ejson"}, as_=ann)
    assert changed.json == {"matched_count": {"$numberInt": "1"}, "modified_count": {"$numberInt": "1"}}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"filter": '{"n": {"$gt": 1}}'}, [2, 3]),
        ({"sort": "-n"}, [3, 2, 1]),
        ({"sort": '{"kind": 1, "n": -1}'}, [3, 1, 2]),
        ({"sort": "n", "limit": "1"}, [1]),
        ({"sort": "n", "limit": "1", "skip": "1"}, [2]),
        ({"skip": "9"}, []),
        ({"filter": '{"kind": {"$in": ["a"]}, "$or": [{"n": 1}, {"n": 2}]}'}, [1]),
        ({"filter": '{"kind": {"$regex": "^B", "$options": "i"}}'}, [2]),
    ],
)
def test_list_filters_sorts_and_pages(client, ann, query, expected):
    client.post(ITEMS, [{"n": 1, "kind": "a"}, {"n": 2, "kind": "b"}, {"n": 3, "kind": "a"}], as_=ann)
    assert [d["n"] for d in client.get(ITEMS, query=query, as_=ann).json["documents"]] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("a,b.c", {"_id": "x", "a": 1, "b": {"c": 2}}),
        ('{"a": 1, "_id": 0}', {"a": 1}),
        ('{"b": false, "_owner": 0}', {"_id": "x", "a": 1, "l": [1, 2, 3]}),
        ('{"l": {"$slice": 2}, "a": 1}', {"_id": "x", "a": 1, "l": [1, 2]}),
    ],
)
def test_fields_choose_what_is_answered(client, ann, fields, expected):
    client.post(ITEMS, {"_id": "x", "a": 1, "b": {"c": 2, "d": 3}, "l": [1, 2, 3]}, as_=ann)
    assert client.get(f"{ITEMS}/x", query={"fields": fields}, as_=ann).json == expected
    assert client.get(ITEMS, query={"fields": fields}, as_=ann).json == {"documents": [expected], "next": None}


def test_list_that_passes_one_database_batch_is_whole(client, ann):
    text = "x" * 7_000_000
    for number in range(5):
        assert client.post(ITEMS, {"_id": number, "text": text}, as_=ann).status_code == 201
    documents = client.get(ITEMS, query={"sort": "_id"}, as_=ann).json["documents"]
    assert [d["_id"] for d in documents] == [0, 1, 2, 3, 4]
    assert all(d["text"] == text for d in documents)


@pytest.mark.parametrize(
    ("id_type", "id", "stored"),
    [
        (None, "65a000000000000000000001", {"$oid": "65a000000000000000000001"}),
        ("string", "65a000000000000000000001", "65a000000000000000000001"),
        (None, "shelf 7", "shelf 7"),
        (None, "zürich", "zürich"),
        ("int", "-7", -7),
        ("long", "5000000000", 5000000000),
        ("double", "1.5", 1.5),
        ("date", "2022-01-12T02:33:23.067Z", {"$date": "2022-01-12T02:33:23.067Z"}),
        (
            "uuid",
            "00112233-4455-6677-8899-aabbccddeeff",
            {"$binary": {"base64": "ABEiM0RVZneImaq7zN3u/w==", "subType": "04"}},
        ),
    ],
)
def test_ids_of_every_type_are_reached(client, ann, id_type, id, stored):
    query = {"id_type": id_type} if id_type else {}
    created = client.put(f"{ITEMS}/{id}", {"n": 1}, query=query, as_=ann)
    assert (created.status_code, created.json["upserted_id"]) == (201, stored)
    assert client.get(f"{ITEMS}/{id}", query=query, as_=ann).json["_id"] == stored
    assert client.patch(f"{ITEMS}/{id}", {"n": 2}, query=query, as_=ann).json["modified_count"] == 1
    assert client.delete(f"{ITEMS}/{id}", query=query, as_=ann).json == {"deleted_count": 1}
    assert_problem(client.get(f"{ITEMS}/{id}", query=query, as_=ann), 404, "not_found")


def test_put_replaces_the_whole_document(client, ann):
    client.post(ITEMS, {"_id": "x", "a": 1, "b": 2}, as_=ann)
    assert client.put(f"{ITEMS}/x", {"b": 3}, as_=ann).json == {"matched_count": 1, "modified_count": 1}
    assert client.get(f"{ITEMS}/x", as_=ann).json == {"_id": "x", "b": 3, "_owner": {"$oid": ann.id}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"$inc": {"n": 2}}, {"n": 3, "o": {"a": 1, "b": 2}, "l": [1]}),
        ({"$set": {"o.a": 5}, "$unset": {"n": ""}}, {"o": {"a": 5, "b": 2}, "l": [1]}),
        ({"$push": {"l": {"$each": [3, 2], "$sort": 1, "$slice": 2}}}, {"n": 1, "o": {"a": 1, "b": 2}, "l": [1, 2]}),
        ({"$addToSet": {"l": 1}}, {"n": 1, "o": {"a": 1, "b": 2}, "l": [1]}),
        ({"$pull": {"l": {"$gte": 1}}}, {"n": 1, "o": {"a": 1, "b": 2}, "l": []}),
        ({"$rename": {"n": "m"}}, {"o": {"a": 1, "b": 2}, "l": [1], "m": 1}),
        ({"n": None}, {"o": {"a": 1, "b": 2}, "l": [1]}),
        ({"o": {"a": None, "c": {"d": None, "e": 1}}}, {"n": 1, "o": {"b": 2, "c": {"e": 1}}, "l": [1]}),
        ({"l": {"x": 1}}, {"n": 1, "o": {"a": 1, "b": 2}, "l": {"x": 1}}),
        ({"a.b": 1}, {"n": 1, "o": {"a": 1, "b": 2}, "l": [1], "a.b": 1}),
        ({}, {"n": 1, "o": {"a": 1, "b": 2}, "l": [1]}),
    ],
    ids=str,
)
def test_patch_by_operators_and_by_merge_patch(client, ann, change, expected):
    client.post(ITEMS, {"_id": "x", "n": 1, "o": {"a": 1, "b": 2}, "l": [1]}, as_=ann)
    answer = client.patch(f"{ITEMS}/x", change, as_=ann)
    assert (answer.status_code, answer.json["matched_count"]) == (200, 1)
    read = client.get(f"{ITEMS}/x", query={"fields": '{"_owner": 0, "_id": 0}'}, as_=ann).json
    assert read == expected


def test_merge_patch_content_type_is_understood(client, ann):
    client.post(ITEMS, {"_id": "x", "n": 1}, as_=ann)
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = client.patch(f"{ITEMS}/x", data=b'{"n": null}', headers=headers, as_=ann)
    assert answer.json == {"matched_count": 1, "modified_count": 1}


@pytest.mark.parametrize(("method", "body"), [("get", None), ("patch", {"n": 1}), ("delete", None)])
def test_document_that_is_not_there_is_404(client, ann, method, body):
    assert_problem(client.open(method, f"{ITEMS}/nothing", body, as_=ann), 404, "not_found")


def test_validator_of_the_collection_is_422(client, admin, mongo):
    mongo["shop"].create_collection("strict", validator={"n": {"$type": "int"}})
    assert_problem(client.post("/v1/db/shop/strict", {"n": "one"}, as_=admin), 422, "validation_failed")
    assert client.post("/v1/db/shop/strict", {"n": 1}, as_=admin).status_code == 201


def test_unique_index_is_409_and_names_the_field(client, admin, mongo):
    mongo["shop"]["items"].create_index("sku", unique=True)
    client.post("/v1/db/shop/items", {"sku": 1}, as_=admin)
    answer = client.post("/v1/db/shop/items", {"sku": 1}, as_=admin)
    assert_problem(answer, 409, "duplicate_key")
    assert answer.json["errors"][0]["path"] == "sku"


def test_text_and_geo_filters(client, admin, mongo):
    mongo["shop"]["items"].create_index([("name", "text")])
    mongo["shop"]["items"].create_index([("at", "2dsphere")])
    client.post(
        "/v1/db/shop/items", {"name": "red lamp", "at": {"type": "Point", "coordinates": [8.5, 47.4]}}, as_=admin
    )
    near = '{"at": {"$near": {"$geometry": {"type": "Point", "coordinates": [8.5, 47.4]}, "$maxDistance": 10}}}'
    for text in ('{"$text": {"$search": "lamp"}}', near):
        documents = client.get("/v1/db/shop/items", query={"filter": text}, as_=admin).json["documents"]
        assert [d["name"] for d in documents] == ["red lamp"]


def test_an_operation_over_the_time_limit_is_stopped(client, admin, mongo, app, config, monkeypatch):
    mongo["shop"]["items"].insert_many([{"text": "a" * 100_000} for _ in range(200)])
    monkeypatch.setattr(config, "time_limit_seconds", 1)
    database.connect(app)
    slow = {"$or": [{"text": {"$regex": f"[b-z]{number}"}} for number in range(300)]}
    answer = client.get("/v1/db/shop/items", query={"filter": json.dumps(slow)}, as_=admin)
    monkeypatch.undo()
    database.connect(app)
    assert_problem(answer, 504, "time_limit_exceeded")
