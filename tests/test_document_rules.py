"""The server's default rule: in open databases a document is its owner's, elsewhere only admins and keys get in."""

import pytest
from bson import ObjectId

from tests.conftest import assert_problem

ITEMS = "/v1/db/app/items"
CLOSED = "/v1/db/shop/items"
UNUSED_ID = "0123456789abcdef01234567"


@pytest.fixture
def ann_item(client, ann):
    """The id of a document that belongs to ann."""
    return client.post(ITEMS, {"name": "lamp", "n": 1}, as_=ann).json["inserted_id"]["$oid"]


def test_insert_stamps_the_owner(client, ann, ann_item):
    answer = client.get(f"{ITEMS}/{ann_item}", as_=ann)
    assert answer.status_code == 200
    assert answer.json == {"_id": {"$oid": ann_item}, "name": "lamp", "n": 1, "_owner": {"$oid": ann.id}}


@pytest.mark.parametrize(
    ("method", "body"),
    [("get", None), ("put", {"name": "mine now"}), ("patch", {"name": "mine now"}), ("delete", None)],
)
def test_document_of_another_user_is_404_and_untouched(client, ann, bob, ann_item, method, body):
    answer = client.open(method, f"{ITEMS}/{ann_item}", body, as_=bob)
    assert_problem(answer, 404, "not_found")
    assert b"lamp" not in answer.data
    assert client.get(f"{ITEMS}/{ann_item}", as_=ann).json["name"] == "lamp"


@pytest.mark.parametrize("collection", [ITEMS, CLOSED])
@pytest.mark.parametrize(
    ("method", "path"),
    [("get", ""), ("post", ""), ("get", "/x"), ("put", "/x"), ("patch", "/x"), ("delete", "/x")],
)
def test_anonymous_is_turned_away_everywhere(client, method, path, collection):
    answer = client.open(method, collection + path, None if method == "get" else {})
    assert_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_list_holds_only_own_documents(client, ann, bob, ann_item):
    client.post(ITEMS, {"name": "chair"}, as_=bob)
    assert [d["name"] for d in client.get(ITEMS, as_=ann).json["documents"]] == ["lamp"]
    assert [d["name"] for d in client.get(ITEMS, as_=bob).json["documents"]] == ["chair"]
    everything = '{"$or": [{"_owner": {"$exists": true}}, {"name": "lamp"}]}'
    answer = client.get(ITEMS, query={"filter": everything}, as_=bob)
    assert [d["name"] for d in answer.json["documents"]] == ["chair"]


def test_filter_on_the_owner_field_does_not_replace_the_rule(client, ann, bob, ann_item):
    for text in (f'{{"_owner": {{"$oid": "{ann.id}"}}}}', f'{{"_owner": {{"$ne": {{"$oid": "{bob.id}"}}}}}}'):
        assert client.get(ITEMS, query={"filter": text}, as_=bob).json == {"documents": [], "next": None}


def test_admin_sees_and_changes_all(client, ann, admin, ann_item):
    assert client.get(f"{ITEMS}/{ann_item}", as_=admin).json["name"] == "lamp"
    assert client.patch(f"{ITEMS}/{ann_item}", {"name": "desk lamp"}, as_=admin).json["modified_count"] == 1
    assert client.get(f"{ITEMS}/{ann_item}", as_=ann).json["name"] == "desk lamp"


def test_admin_replacing_a_document_leaves_it_with_its_owner(client, ann, admin, ann_item):
    assert client.put(f"{ITEMS}/{ann_item}", {"name": "new"}, as_=admin).status_code == 200
    answer = client.get(f"{ITEMS}/{ann_item}", as_=ann)
    assert (answer.status_code, answer.json["name"]) == (200, "new")


@pytest.mark.parametrize(
    "body",
    [
        {"_owner": {"$oid": UNUSED_ID}},
        {"$set": {"_owner": {"$oid": UNUSED_ID}}},
        {"$set": {"_owner.x": 1}},
        {"$unset": {"_owner": ""}},
        {"$rename": {"name": "_owner"}},
        {"$rename": {"_owner": "name"}},
        {"$currentDate": {"_owner": True}},
        {"_owner": None},
    ],
)
def test_owner_cannot_be_changed(client, ann, ann_item, body):
    assert_problem(client.patch(f"{ITEMS}/{ann_item}", body, as_=ann), 403, "forbidden")
    assert client.get(f"{ITEMS}/{ann_item}", as_=ann).json["_owner"] == {"$oid": ann.id}


def test_insert_for_another_owner_is_refused(client, ann, bob):
    assert_problem(client.post(ITEMS, {"_owner": {"$oid": bob.id}}, as_=ann), 403, "forbidden")
    assert_problem(client.post(ITEMS, [{"n": 1}, {"_owner": bob.id}], as_=ann), 403, "forbidden")
    assert client.get(ITEMS, as_=bob).json == {"documents": [], "next": None}
    assert client.get(ITEMS, as_=ann).json == {"documents": [], "next": None}


def test_document_read_can_be_written_back_unchanged(client, ann, ann_item):
    read = client.get(f"{ITEMS}/{ann_item}", as_=ann).json
    assert client.put(f"{ITEMS}/{ann_item}", read, as_=ann).json == {"matched_count": 1, "modified_count": 0}


def test_admin_may_choose_the_owner(client, ann, admin):
    client.post(ITEMS, {"name": "gift", "_owner": {"$oid": ann.id}}, as_=admin)
    assert [d["name"] for d in client.get(ITEMS, as_=ann).json["documents"]] == ["gift"]


def test_put_on_the_id_of_another_users_document_is_404(client, ann, bob):
    client.put(f"{ITEMS}/settings", {"dark": True}, as_=ann)
    assert_problem(client.put(f"{ITEMS}/settings", {"dark": False}, as_=bob), 404, "not_found")
    assert client.get(f"{ITEMS}/settings", as_=ann).json["dark"] is True


def test_closed_database_is_for_admins_and_their_keys(client, ann, admin, admin_key):
    assert_problem(client.post(CLOSED, {"n": 1}, as_=ann), 403, "forbidden")
    assert_problem(client.get(CLOSED, as_=ann), 403, "forbidden")
    assert client.post(CLOSED, {"n": 1}, as_=admin).status_code == 201
    assert client.post(CLOSED, {"n": 2}, as_=admin_key).status_code == 201
    documents = client.get(CLOSED, as_=admin_key).json["documents"]
    assert [d["n"] for d in documents] == [1, 2]
    assert all("_owner" not in d for d in documents)


def test_documents_from_before_belong_to_no_user(client, ann, admin, mongo):
    mongo["app"]["old"].insert_one({"_id": "seed", "n": 1})
    assert_problem(client.get("/v1/db/app/old/seed", as_=ann), 404, "not_found")
    assert client.get("/v1/db/app/old", as_=ann).json == {"documents": [], "next": None}
    assert client.get("/v1/db/app/old/seed", as_=admin).json["n"] == 1


def test_key_of_a_user_acts_as_that_user(client, ann, bob, ann_item, make_key):
    anns_key, bobs_key = make_key(ann), make_key(bob)
    assert client.get(f"{ITEMS}/{ann_item}", as_=anns_key).status_code == 200
    assert_problem(client.get(f"{ITEMS}/{ann_item}", as_=bobs_key), 404, "not_found")
    assert_problem(client.get(CLOSED, as_=anns_key), 403, "forbidden")


def test_read_only_key_reads_and_writes_nothing(client, ann, ann_item, make_key):
    key = make_key(ann, read_only=True)
    assert client.get(f"{ITEMS}/{ann_item}", as_=key).status_code == 200
    for method, path, body in (
        ("post", ITEMS, {"n": 2}),
        ("put", f"{ITEMS}/{ann_item}", {"n": 2}),
        ("patch", f"{ITEMS}/{ann_item}", {"n": 2}),
        ("delete", f"{ITEMS}/{ann_item}", None),
    ):
        assert_problem(client.open(method, path, body, as_=key), 403, "forbidden")
    assert client.get(ITEMS, as_=ann).json["documents"][0]["n"] == 1


@pytest.mark.parametrize("database", ["admin", "config", "local", "Admin", "SERVICE"])
def test_system_databases_are_closed_even_to_admins(client, admin, config, database):
    name = config.database if database == "SERVICE" else database
    for path in (f"/v1/db/{name}/users", f"/v1/db/{name}/users/{UNUSED_ID}"):
        assert_problem(client.get(path, as_=admin), 403, "forbidden")
    assert_problem(client.post(f"/v1/db/{name}/users", {"n": 1}, as_=admin), 403, "forbidden")


@pytest.mark.parametrize("collection", ["system.users", "system.profile", "_rules"])
def test_system_collections_are_closed_even_to_admins(client, admin, collection):
    assert_problem(client.get(f"/v1/db/shop/{collection}", as_=admin), 403, "forbidden")


def test_new_collections_come_with_the_first_document_up_to_the_limit(client, ann, admin, config, monkeypatch):
    monkeypatch.setattr(config, "max_collections", 2)
    assert client.post("/v1/db/app/one", {"n": 1}, as_=ann).status_code == 201
    assert client.post("/v1/db/app/two", {"n": 1}, as_=ann).status_code == 201
    answer = client.post("/v1/db/app/three", {"n": 1}, as_=ann)
    assert_problem(answer, 403, "forbidden")
    assert "2 collections" in answer.json["detail"]
    assert client.post("/v1/db/app/two", {"n": 2}, as_=ann).status_code == 201
    assert client.post("/v1/db/app/three", {"n": 1}, as_=admin).status_code == 201


def test_one_user_cannot_start_all_collections(client, ann, bob, config, monkeypatch, mongo):
    monkeypatch.setattr(config, "max_collections_per_user", 2)
    assert [client.post(f"/v1/db/app/{name}", {"n": 1}, as_=ann).status_code for name in "abc"] == [201, 201, 403]
    assert client.post("/v1/db/app/a", {"n": 2}, as_=ann).status_code == 201
    assert client.post("/v1/db/app/c", {"n": 1}, as_=bob).status_code == 201
    mongo["app"].drop_collection("a")
    assert client.post("/v1/db/app/d", {"n": 1}, as_=ann).status_code == 201


def test_collections_in_open_databases_are_indexed_by_owner(client, ann, ann_item, mongo):
    assert "_owner_1__id_1" in mongo["app"]["items"].index_information()


def test_inserting_a_taken_id_names_it_and_shows_nothing(client, ann, bob):
    client.post(ITEMS, {"_id": "x", "secret": "lamp"}, as_=ann)
    answer = client.post(ITEMS, {"_id": "x"}, as_=bob)
    assert_problem(answer, 409, "duplicate_key")
    assert answer.json["errors"] == [{"path": "_id", "message": "must be unique"}]
    assert b"lamp" not in answer.data
    assert ann.id.encode() not in answer.data


def test_owner_field_is_an_object_id(client, ann, ann_item, mongo):
    assert mongo["app"]["items"].find_one()["_owner"] == ObjectId(ann.id)
