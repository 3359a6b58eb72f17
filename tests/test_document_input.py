"""Hostile and mistaken input on the document routes: each a clear 4xx that names the part, and nothing stored."""

import gzip

import pytest

from tests.conftest import assert_problem

ITEMS = "/v1/db/app/items"
JSON = {"Content-Type": "application/json"}

BAD_BODIES = {
    "no body": (b"", 400, ""),
    "not JSON": (b"{", 400, ""),
    "a word": (b"NaN", 400, ""),
    "two values": (b'{"a":1} {"b":2}', 400, ""),
    "a scalar": (b"42", 400, ""),
    "an empty array": (b"[]", 400, ""),
    "an array of scalars": (b"[1]", 400, "[0]"),
    "an operator field": (b'{"$where": "1"}', 400, "$where"),
    "a nested operator field": (b'{"a": [{"$gt": 1}]}', 400, "a[0].$gt"),
    "an escaped operator field": (b'{"\\u0024set": {"a": 1}}', 400, "$set"),
    "an operator in the second document": (b'[{"n": 1}, {"$set": 1}]', 400, "[1].$set"),
    "a bad ObjectId": (b'{"_id": {"$oid": "xyz"}}', 400, "_id"),
    "a null ObjectId": (b'{"a": {"$oid": null}}', 400, "a"),
    "a number as date": (b'{"a": {"$date": 42}}', 400, "a"),
    "a wide int32": (b'{"a": {"$numberInt": "2147483648"}}', 400, "a"),
    "a wide integer": (b'{"a": 18446744073709551616}', 400, "a"),
    "an infinite number": (b'{"a": 1e999}', 400, ""),
    "NUL in a name": (b'{"a\\u0000b": 1}', 400, "a\0b"),
    "invalid UTF-8": (b'{"a": "\xff"}', 400, ""),
    "a lone surrogate": (b'{"a": "\\ud800"}', 400, ""),
    "deep nesting": (b'{"a":' * 101 + b"1" + b"}" * 101, 400, ""),
    "very deep nesting": (b"[" * 100_000, 400, ""),
}


@pytest.mark.parametrize(("body", "status", "path"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_body_is_400_and_stores_nothing(client, ann, mongo, body, status, path):
    answer = client.post(ITEMS, data=body, headers=JSON, as_=ann)
    assert_problem(answer, status, "invalid_input")
    assert [error["path"] for error in answer.json["errors"]] == [path]
    assert mongo["app"]["items"].count_documents({}) == 0
    assert client.get("/health").status_code == 200


def test_nesting_of_100_levels_is_stored(client, ann):
    body = b'{"a":' * 99 + b"{}" + b"}" * 99
    assert client.post(ITEMS, data=body, headers=JSON, as_=ann).status_code == 201


def test_body_over_the_limit_is_413(client, ann, mongo):
    body = b'{"a":"' + b"x" * 20_000_000 + b'"}'
    assert_problem(client.post(ITEMS, data=body, headers=JSON, as_=ann), 413, "body_too_large")
    assert mongo["app"]["items"].count_documents({}) == 0


def test_document_over_mongodbs_limit_is_413(client, ann, config, monkeypatch, app):
    monkeypatch.setitem(app.config, "MAX_CONTENT_LENGTH", 2**26)
    monkeypatch.setattr(config, "max_body_bytes", 2**26)
    body = b'{"a":"' + b"x" * 17_000_000 + b'"}'
    assert_problem(client.post(ITEMS, data=body, headers=JSON, as_=ann), 413, "body_too_large")


def test_gzip_body_is_understood(client, ann):
    headers = {**JSON, "Content-Encoding": "gzip"}
    assert client.post(ITEMS, data=gzip.compress(b'{"n": 1}'), headers=headers, as_=ann).status_code == 201
    assert client.get(ITEMS, as_=ann).json["documents"][0]["n"] == 1


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (gzip.compress(b'{"a":"' + b"x" * 50_000_000 + b'"}'), 413, "body_too_large"),
        (b"not gzip at all", 400, "invalid_input"),
        (gzip.compress(b'{"n": 1}')[:-6], 400, "invalid_input"),
        (gzip.compress(b'{"n": 1}') + b"tail", 400, "invalid_input"),
    ],
    ids=["bomb", "other bytes", "cut short", "with a tail"],
)
def test_bad_gzip_body_is_refused(client, ann, data, status, code):
    answer = client.post(ITEMS, data=data, headers={**JSON, "Content-Encoding": "gzip"}, as_=ann)
    assert_problem(answer, status, code)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {**JSON, "Content-Encoding": "br"},
    ],
)
def test_body_of_another_type_is_415(client, ann, headers):
    answer = client.post(ITEMS, data=b'{"n": 1}', headers=headers, as_=ann)
    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "application/ejson", "Application/JSON"])
def test_json_types_are_understood(client, ann, content_type):
    answer = client.post(ITEMS, data=b'{"n": 1}', headers={"Content-Type": content_type}, as_=ann)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"limit": "-1"}, "limit"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "1" * 5000}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"skip": "-1"}, "skip"),
        ({"limt": "5"}, "limt"),
        ({"filter": "{"}, "filter"),
        ({"filter": "[]"}, "filter"),
        ({"filter": "5"}, "filter"),
        ({"filter": '{"$where": "sleep(1000)"}'}, "filter.$where"),
        ({"filter": '{"$expr": {"$function": {}}}'}, "filter.$expr.$function"),
        ({"filter": '{"a": {"$elemMatch": {"$where": "1"}}}'}, "filter.a.$elemMatch.$where"),
        ({"filter": '{"_id": {"$oid": "xyz"}}'}, "filter._id"),
        ({"sort": '{"a": 2}'}, "sort"),
        ({"sort": "a,,b"}, "sort"),
        ({"sort": '{"$where": 1}'}, "sort"),
        ({"sort": "{"}, "sort"),
        ({"fields": '{"a": "$$USER_ROLES"}'}, "fields.a"),
        ({"fields": '{"a": {"$function": {}}}'}, "fields.a.$function"),
        ({"fields": "a,,b"}, "fields"),
        (
            {"fields": '{"a": {"$slice": [{"$function": {"body": "f", "args": [], "lang": "js"}}, 6]}}'},
            "fields.a.$slice[0].$function",
        ),
        ({"fields": '{"a": {"$meta": "recordId"}}'}, "fields.a.$meta"),
        ({"fields": '{"$numberInt": "1"}'}, "fields"),
        ({"fields": '{"$code": "x"}'}, "fields"),
        ({"fields": "a\0b"}, "fields"),
        ({"sort": '{"$oid": "655f00aa1b2c3d4e5f607182"}'}, "sort"),
        ({"sort": "a\0b"}, "sort"),
        ({"types": "xml"}, "types"),
        ([("limit", "1"), ("limit", "2")], "limit"),
    ],
    ids=str,
)
def test_bad_query_parameter_is_400_and_named(client, ann, query, path):
    answer = client.get(ITEMS, query=query, as_=ann)
    assert_problem(answer, 400, "invalid_input")
    assert answer.json["errors"][0]["path"] == path


@pytest.mark.parametrize(
    ("filter_text", "code"),
    [('{"a": {"$regex": "("}}', "refused_by_database"), ('{"a": {"$in": 1}}', "refused_by_database")],
)
def test_filter_that_mongodb_refuses_is_400_with_its_reason(client, ann, filter_text, code):
    client.post(ITEMS, {"a": "x"}, as_=ann)
    answer = client.get(ITEMS, query={"filter": filter_text}, as_=ann)
    assert_problem(answer, 400, code)
    assert "MongoDB refused" in answer.json["detail"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("sh%20op", "database"),
        ("sh$op", "database"),
        ("sh.op", "database"),
        ("x" * 64, "database"),
        ("a%00b", "database"),
    ],
)
def test_bad_database_name_is_400(client, admin, name, part):
    answer = client.get(f"/v1/db/{name}/items", as_=admin)
    assert_problem(answer, 400, "invalid_input")
    assert answer.json["errors"][0]["path"] == part


@pytest.mark.parametrize("name", [".items", "items.", "a..b", "a$b", "x" * 300, "a%00b"])
def test_bad_collection_name_is_400(client, ann, name):
    answer = client.post(f"/v1/db/app/{name}", {"n": 1}, as_=ann)
    assert_problem(answer, 400, "invalid_input")
    assert answer.json["errors"][0]["path"] == "collection"


@pytest.mark.parametrize(
    "path", ["/v1/db/sh/op/items/1", "/v1/db//items/1", "/v1/db/app//1", "/v1/nothing", "/v2", "/%2e%2e/x"]
)
def test_path_that_is_no_route_is_404(client, admin, path):
    assert_problem(client.get(path, as_=admin), 404, "not_found")


def test_trailing_slash_is_another_path(client, ann):
    assert_problem(client.get(f"{ITEMS}/", as_=ann), 404, "not_found")


def test_database_name_with_a_slash_is_4xx(client, admin, mongo):
    assert client.post("/v1/db/sh%2Fop/items", {"n": 1}, as_=admin).status_code in (404, 405)
    assert "sh" not in mongo.list_database_names()


@pytest.mark.parametrize(
    ("id_type", "id"),
    [
        ("oid", "xyz"),
        ("int", "1.5"),
        ("long", "9223372036854775808"),
        ("double", "one"),
        ("date", "yesterday"),
        ("date", "2022-01-01T00:00:00"),
        ("uuid", "1"),
        ("number", "1"),
    ],
)
def test_id_that_is_not_of_its_type_is_400(client, ann, id_type, id):
    assert_problem(client.get(f"{ITEMS}/{id}", query={"id_type": id_type}, as_=ann), 400, "invalid_input")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "invalid_input"),
        ([{"$match": {"a": 1}}], "invalid_input"),
        ([{"$set": {"a": {"$function": {}}}}], "invalid_input"),
        ({"$set": 1}, "invalid_input"),
        ({"$set": {"a": 1}, "b": 2}, "invalid_input"),
        ({"$where": {"a": 1}}, "invalid_input"),
        ({"$set": {"a": {"$b": 1}}}, "invalid_input"),
        ({"$push": {"a": {"$each": [1], "$where": 1}}}, "invalid_input"),
        ({"$pull": {"a": {"$where": "1"}}}, "invalid_input"),
        ({"$rename": {"a": 5}}, "invalid_input"),
        ({"a": {"$b": 1}}, "invalid_input"),
        ({"$inc": {"name": 1}}, "refused_by_database"),
        ({"$set": {"_id": 7}}, "refused_by_database"),
        ({"$set": {"a.": 7}}, "refused_by_database"),
        ({"$set": {"": 7}}, "refused_by_database"),
        ({"_id": 7}, "refused_by_database"),
    ],
    ids=str,
)
def test_bad_update_is_400_and_changes_nothing(client, ann, body, code):
    client.post(ITEMS, {"_id": "x", "name": "lamp"}, as_=ann)
    assert_problem(client.patch(f"{ITEMS}/x", body, as_=ann), 400, code)
    assert client.get(f"{ITEMS}/x", query={"fields": '{"_owner": 0}'}, as_=ann).json == {"_id": "x", "name": "lamp"}


def test_put_with_another_id_in_the_body_is_400(client, ann):
    answer = client.put(f"{ITEMS}/x", {"_id": "y"}, as_=ann)
    assert_problem(answer, 400, "invalid_input")
    assert answer.json["errors"][0]["path"] == "_id"


@pytest.mark.parametrize("body", [{"_id": [1]}, {"_id": {"$regularExpression": {"pattern": "a", "options": ""}}}])
def test_id_that_mongodb_cannot_have_is_400(client, ann, body):
    assert_problem(client.post(ITEMS, body, as_=ann), 400, "refused_by_database")


def test_body_of_too_many_values_is_413(client, ann, mongo):
    body = b"[" + b"{}," * 600_000 + b"{}]"
    assert_problem(client.post(ITEMS, data=body, headers=JSON, as_=ann), 413, "body_too_large")
    packed = {**JSON, "Content-Encoding": "gzip"}
    assert_problem(client.post(ITEMS, data=gzip.compress(body), headers=packed, as_=ann), 413, "body_too_large")
    assert mongo["app"]["items"].count_documents({}) == 0


def test_commas_in_text_are_no_values(client, ann):
    body = b'{"text": "' + b"a,[{" * 1_000_000 + b'\\" ,"}'
    assert client.post(ITEMS, data=body, headers=JSON, as_=ann).status_code == 201


def test_more_documents_than_one_request_may_hold_is_400(client, ann, mongo):
    assert_problem(client.post(ITEMS, [{}] * 10_001, as_=ann), 400, "invalid_input")
    assert mongo["app"]["items"].count_documents({}) == 0
    assert client.post(ITEMS, [{}] * 10_000, as_=ann).status_code == 201


@pytest.mark.parametrize("path", ["/v1/users", "/v1/sessions"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_large_body_for_an_account_is_413(client, path, is_packed):
    body = b'{"password": "' + b"x" * 70_000 + b'"}'
    headers = {**JSON, "Content-Encoding": "gzip"} if is_packed else JSON
    answer = client.post(path, data=gzip.compress(body) if is_packed else body, headers=headers)
    assert_problem(answer, 413, "body_too_large")
