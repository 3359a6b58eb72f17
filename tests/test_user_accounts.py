"""Signing up, and what one may do with one's own account."""

import threading

import pytest
from bson import ObjectId

from tests.conftest import PASSWORD, Actor, assert_problem, sign_in

USERS = "/v1/users"
ME = "/v1/users/me"
MEMBERS = {"id", "email", "email_verified", "username", "name", "roles", "disabled", "created_at"}


def test_sign_up_sign_in_and_see_oneself(client):
    answer = client.post(USERS, {"email": "Ann@Example.com", "username": "Ann", "password": PASSWORD})
    assert answer.status_code == 201
    user = answer.json
    assert answer.headers["Location"] == f"/v1/users/{user['id']}"
    assert user == {
        "id": user["id"],
        "email": "Ann@example.com",
        "email_verified": False,
        "username": "Ann",
        "name": None,
        "roles": [],
        "disabled": False,
        "created_at": user["created_at"],
    }
    for login in ("ann", "ANN", "ann@example.COM", " ann ", user["id"]):
        assert client.get(ME, as_=sign_in(client, login)).json == user


@pytest.mark.parametrize(
    "names", [{"email": "x@sheaf.test"}, {"username": "x.y-z_1"}, {"username": "xyz", "name": "Zoë 👩‍🚀"}]
)
def test_one_of_email_and_username_is_enough(client, names):
    answer = client.post(USERS, {**names, "password": PASSWORD})
    assert answer.status_code == 201
    assert answer.json.items() >= names.items()
    assert sign_in(client, names.get("email") or names["username"]).id == answer.json["id"]


def test_password_is_stored_as_argon2id_and_never_shown(client, mongo):
    answer = client.post(USERS, {"username": "ann", "password": PASSWORD})
    stored = mongo["sheaf"]["users"].find_one()
    assert stored["password_hash"].startswith("$argon2id$")
    assert PASSWORD not in str(stored)
    assert set(answer.json) == MEMBERS
    assert "argon2" not in answer.text + client.get(ME, as_=sign_in(client, "ann")).text


def test_password_typed_on_another_keyboard_is_the_same(client):
    client.post(USERS, {"username": "ann", "password": "cafe\u0301 au lait"})
    sign_in(client, "ann", "caf\u00e9 au lait")


@pytest.mark.parametrize(
    ("taken", "path"),
    [
        ({"email": "ANN@sheaf.test"}, "email"),
        ({"email": "ann@SHEAF.test", "username": "other"}, "email"),
        ({"username": "aNN"}, "username"),
        ({"username": "ANN", "email": "other@sheaf.test"}, "username"),
    ],
)
def test_taken_name_in_any_case_is_409_and_named(client, ann, mongo, taken, path):
    assert_problem(client.post(USERS, {**taken, "password": PASSWORD}), 409, "conflict", path=path)
    assert mongo["sheaf"]["users"].count_documents({}) == 1


def test_of_simultaneous_sign_ups_exactly_one_wins(client, mongo):
    start, statuses = threading.Barrier(5), []

    def sign_up(spelling):
        start.wait()
        statuses.append(client.post(USERS, {"email": spelling, "password": PASSWORD}).status_code)

    spellings = ("ann@sheaf.test", "Ann@sheaf.test", "ANN@sheaf.test", "aNN@sheaf.test", "ann@SHEAF.TEST")
    threads = [threading.Thread(target=sign_up, args=(spelling,)) for spelling in spellings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 409, 409, 409, 409]
    assert mongo["sheaf"]["users"].count_documents({}) == 1


BAD_SIGN_UPS = [
    ({"password": PASSWORD}, "email"),
    ({"username": "ann"}, "password"),
    ({"username": "ann", "password": "short"}, "password"),
    ({"username": "ann", "password": "nine char"}, "password"),
    ({"username": "ann", "password": "x" * 129}, "password"),
    ({"username": "ann", "password": "Password123"}, "password"),
    ({"username": "ann", "password": "1234567890"}, "password"),
    ({"username": "ann", "password": ""}, "password"),
    ({"username": "ann", "password": None}, "password"),
    ({"username": "ann", "password": 1234567890}, "password"),
    ({"username": "ann", "password": {"$ne": None}}, "password"),
    ({"username": "ann", "password": {"$numberLong": "12345678901"}}, "password"),
    ({"username": "ann", "password": ["blue otter 42 lamp"]}, "password"),
    ({"username": "blue-otter-42", "password": "Blue-Otter-42"}, "password"),
    ({"email": "blue.otter@sheaf.test", "password": "Blue.Otter@sheaf.test"}, "password"),
    ({"email": "blue.otter.42@sheaf.test", "password": "blue.otter.42"}, "password"),
    ({"username": "an", "password": PASSWORD}, "username"),
    ({"username": "a" * 65, "password": PASSWORD}, "username"),
    ({"username": ".ann", "password": PASSWORD}, "username"),
    ({"username": "ann smith", "password": PASSWORD}, "username"),
    ({"username": "ann\n", "password": PASSWORD}, "username"),
    ({"username": "ann@sheaf.test", "password": PASSWORD}, "username"),
    ({"username": "аnn", "password": PASSWORD}, "username"),
    ({"username": "65a000000000000000000001", "password": PASSWORD}, "username"),
    ({"username": {"$ne": None}, "password": PASSWORD}, "username"),
    ({"username": {"$oid": "65a000000000000000000001"}, "password": PASSWORD}, "username"),
    ({"username": True, "password": PASSWORD}, "username"),
    ({"email": "ann", "password": PASSWORD}, "email"),
    ({"email": "ann@", "password": PASSWORD}, "email"),
    ({"email": "ann@localhost", "password": PASSWORD}, "email"),
    ({"email": "ann@[127.0.0.1]", "password": PASSWORD}, "email"),
    ({"email": "Ann <ann@sheaf.test>", "password": PASSWORD}, "email"),
    ({"email": "ann@sheaf.test\r\nBcc: bob@sheaf.test", "password": PASSWORD}, "email"),
    ({"email": "ann@sheaf.test,bob@sheaf.test", "password": PASSWORD}, "email"),
    ({"email": "a" * 250 + "@sheaf.test", "password": PASSWORD}, "email"),
    ({"email": {"$gt": ""}, "password": PASSWORD}, "email"),
    ({"email": 1, "password": PASSWORD}, "email"),
    ({"username": "ann", "password": PASSWORD, "name": ""}, "name"),
    ({"username": "ann", "password": PASSWORD, "name": "   "}, "name"),
    ({"username": "ann", "password": PASSWORD, "name": "x" * 201}, "name"),
    ({"username": "ann", "password": PASSWORD, "name": "a\u0000b"}, "name"),
    ({"username": "ann", "password": PASSWORD, "name": "a\u202eb"}, "name"),
    ({"username": "ann", "password": PASSWORD, "name": {"first": "Ann"}}, "name"),
    ({"username": "ann", "password": PASSWORD, "roles": ["admin"]}, "roles"),
    ({"username": "ann", "password": PASSWORD, "disabled": False}, "disabled"),
    ({"username": "ann", "password": PASSWORD, "email_verified": True}, "email_verified"),
    ({"username": "ann", "password": PASSWORD, "password_hash": "x"}, "password_hash"),
    ({"username": "ann", "password": PASSWORD, "_id": "65a000000000000000000001"}, "_id"),
    ({"username": "ann", "password": PASSWORD, "username_key": "bob"}, "username_key"),
    ({"username": "ann", "password": PASSWORD, "$set": {"roles": ["admin"]}}, "$set"),
    ([], ""),
    ("ann", ""),
]


@pytest.mark.parametrize(("body", "path"), BAD_SIGN_UPS)
def test_bad_sign_up_is_400_named_and_stores_nothing(client, mongo, body, path):
    assert_problem(client.post(USERS, body), 400, "invalid_input", path=path)
    assert mongo["sheaf"]["users"].count_documents({}) == 0


@pytest.mark.parametrize("password", ["x" * 10 + "y", "🦦" * 10, "ab" * 64])
def test_password_of_10_to_128_characters_is_accepted(client, password):
    assert client.post(USERS, {"username": "ann", "password": password}).status_code == 201
    sign_in(client, "ann", password)


def test_closed_sign_up_is_for_admin_sessions_only(client, config, ann, admin, admin_key, mongo):
    config.sign_up = "closed"
    body = {"username": "new", "password": PASSWORD}
    assert_problem(client.post(USERS, body), 403, "forbidden")
    assert_problem(client.post(USERS, body, as_=ann), 403, "forbidden")
    assert_problem(client.post(USERS, body, as_=admin_key), 403, "forbidden")
    assert_problem(client.post(USERS, body, headers={"Authorization": "Bearer x"}), 401, "unauthorized")
    assert mongo["sheaf"]["users"].count_documents({"username": "new"}) == 0
    assert client.post(USERS, body, as_=admin).status_code == 201


def test_where_addresses_are_confirmed_sign_up_wants_one(client, config):
    config.require_verified_email = True
    assert_problem(client.post(USERS, {"username": "ann", "password": PASSWORD}), 400, "invalid_input", path="email")


def test_change_name_and_username(client, ann):
    answer = client.patch(ME, {"name": " Ann Smith ", "username": "Annie"}, as_=ann)
    assert answer.status_code == 200
    assert (answer.json["name"], answer.json["username"]) == ("Ann Smith", "Annie")
    assert client.get(ME, as_=ann).json == answer.json
    assert sign_in(client, "annie").id == ann.id


def test_own_username_may_change_its_case(client, ann):
    assert client.patch(ME, {"username": "ANN"}, as_=ann).json["username"] == "ANN"


def test_null_removes_a_name_but_not_the_last_login(client, ann):
    assert client.patch(ME, {"name": None, "username": None}, as_=ann).json["username"] is None
    body = {"email": None, "current_password": PASSWORD}
    assert_problem(client.patch(ME, body, as_=ann), 400, "invalid_input", path="email")
    assert sign_in(client, "ann@sheaf.test").id == ann.id


def test_another_email_wants_the_password_and_is_unconfirmed(client, ann, mongo):
    mongo["sheaf"]["users"].update_one({}, {"$set": {"email_verified": True}})
    path, body = "current_password", {"email": "ann2@sheaf.test"}
    assert_problem(client.patch(ME, body, as_=ann), 400, "invalid_input", path=path)
    assert_problem(client.patch(ME, {**body, path: "wrong password"}, as_=ann), 403, "forbidden", path=path)
    assert client.get(ME, as_=ann).json["email"] == "ann@sheaf.test"
    changed = client.patch(ME, {**body, path: PASSWORD}, as_=ann)
    assert (changed.json["email"], changed.json["email_verified"]) == ("ann2@sheaf.test", False)


@pytest.mark.parametrize(("body", "path"), [({"username": "BOB"}, "username"), ({"email": "BOB@sheaf.test"}, "email")])
def test_taken_name_is_409_and_changes_nothing(client, ann, bob, body, path):
    before = client.get(ME, as_=ann).json
    body = {**body, "name": "Bob", "current_password": PASSWORD}
    assert_problem(client.patch(ME, body, as_=ann), 409, "conflict", path=path)
    assert client.get(ME, as_=ann).json == before


@pytest.mark.parametrize(
    "member", ["roles", "disabled", "email_verified", "id", "_id", "password", "created_at", "$set"]
)
def test_nobody_may_change_more_than_the_names(client, ann, member):
    before = client.get(ME, as_=ann).json
    assert_problem(client.patch(ME, {member: ["admin"]}, as_=ann), 400, "invalid_input", path=member)
    assert client.get(ME, as_=ann).json == before


def test_change_of_password_ends_the_other_sessions(client, ann):
    elsewhere = sign_in(client, "ann")
    body = {"current_password": PASSWORD, "new_password": "green heron 17 chair"}
    answer = client.put(f"{ME}/password", body, as_=ann)
    assert (answer.status_code, answer.data) == (204, b"")
    assert client.get(ME, as_=ann).status_code == 200
    assert_problem(client.get(ME, as_=elsewhere), 401, "unauthorized")
    refresh = {"refresh_token": elsewhere.refresh_token}
    assert_problem(client.post("/v1/sessions/refresh", refresh), 401, "unauthorized")
    assert_problem(client.post("/v1/sessions", {"login": "ann", "password": PASSWORD}), 401, "unauthorized")
    sign_in(client, "ann", "green heron 17 chair")


@pytest.mark.parametrize(
    ("body", "status", "code", "path"),
    [
        (
            {"current_password": "wrong password", "new_password": "green heron 17"},
            403,
            "forbidden",
            "current_password",
        ),
        ({"current_password": PASSWORD, "new_password": "short"}, 400, "invalid_input", "new_password"),
        ({"current_password": PASSWORD, "new_password": "ann@sheaf.test"}, 400, "invalid_input", "new_password"),
        ({"current_password": {"$ne": 1}, "new_password": "green heron 17"}, 400, "invalid_input", "current_password"),
        ({"new_password": "green heron 17"}, 400, "invalid_input", "current_password"),
        ({"current_password": PASSWORD}, 400, "invalid_input", "new_password"),
    ],
)
def test_bad_change_of_password_changes_nothing(client, ann, body, status, code, path):
    elsewhere = sign_in(client, "ann")
    assert_problem(client.put(f"{ME}/password", body, as_=ann), status, code, path=path)
    assert client.get(ME, as_=elsewhere).status_code == 200
    sign_in(client, "ann")


@pytest.fixture
def anns_things(client, ann, bob, admin, make_key, mongo) -> Actor:
    """Documents of Ann and Bob in two open databases and in a closed one, and a key of Ann's."""
    for actor in (ann, bob):
        client.post("/v1/db/app/items", [{"n": 1}, {"n": 2}], as_=actor)
    client.post("/v1/db/app/notes", {"n": 3}, as_=ann)
    mongo["closed"]["items"].insert_one({"_owner": ObjectId(ann.id)})
    return make_key(ann)


def owned(mongo, actor, database="app"):
    return sum(mongo[database][name].count_documents({"_owner": ObjectId(actor.id)}) for name in ("items", "notes"))


def test_deleting_oneself_keeps_the_documents_unless_asked(client, ann, bob, anns_things, mongo):
    answer = client.delete(ME, {"password": PASSWORD}, as_=ann)
    assert (answer.status_code, answer.data) == (204, b"")
    for actor in (ann, anns_things):
        assert_problem(client.get("/v1/db/app/items", as_=actor), 401, "unauthorized")
    assert_problem(client.post("/v1/sessions", {"login": "ann", "password": PASSWORD}), 401, "unauthorized")
    service = mongo["sheaf"]
    assert service["users"].count_documents({"_id": ObjectId(ann.id)}) == 0
    assert [service[name].count_documents({"user": ObjectId(ann.id)}) for name in ("sessions", "keys")] == [0, 0]
    assert (owned(mongo, ann), owned(mongo, bob)) == (3, 2)
    assert client.get(ME, as_=bob).status_code == 200


def test_deleting_oneself_with_all_documents(client, ann, bob, anns_things, mongo, monkeypatch):
    monkeypatch.setattr("user.models.EFFECTIVE_EVERYWHERE_SECONDS", 0)
    mongo["app"].create_collection("some", viewOn="items", pipeline=[])
    answer = client.delete(ME, {"password": PASSWORD}, query={"documents": "delete"}, as_=ann)
    assert answer.status_code == 204
    assert (owned(mongo, ann), owned(mongo, bob), owned(mongo, ann, "closed")) == (0, 2, 1)
    assert client.post("/v1/users", {"username": "ann", "password": PASSWORD}).status_code == 201


def test_account_whose_documents_cannot_be_deleted_is_open_again(client, ann, anns_things, mongo, monkeypatch):
    monkeypatch.setattr("user.models.EFFECTIVE_EVERYWHERE_SECONDS", 0)
    # An expression that fails on the server: the owner must be able to try again.
    monkeypatch.setattr("user.models.OWNER_FIELD", "$bad")
    answer = client.delete(ME, {"password": PASSWORD}, query={"documents": "delete"}, as_=ann)
    assert answer.status_code >= 400
    monkeypatch.undo()
    assert client.get(ME, as_=ann).json["disabled"] is False
    assert owned(mongo, ann) == 3


@pytest.mark.parametrize(
    ("body", "query", "status", "path"),
    [
        ({"password": "wrong password"}, {}, 403, "password"),
        ({}, {}, 400, "password"),
        ({"password": {"$ne": ""}}, {}, 400, "password"),
        ({"password": PASSWORD}, {"documents": "all"}, 400, "documents"),
        ({"password": PASSWORD}, {"document": "delete"}, 400, "document"),
    ],
)
def test_bad_deletion_deletes_nothing(client, ann, anns_things, mongo, body, query, status, path):
    code = "forbidden" if status == 403 else "invalid_input"
    assert_problem(client.delete(ME, body, query=query, as_=ann), status, code, path=path)
    assert client.get(ME, as_=ann).status_code == 200
    assert owned(mongo, ann) == 3


def test_last_admin_cannot_delete_itself(client, admin, make_user):
    assert_problem(client.delete(ME, {"password": PASSWORD}, as_=admin), 409, "conflict")
    assert client.get(ME, as_=admin).json["disabled"] is False
    make_user("second", admin=True)
    assert client.delete(ME, {"password": PASSWORD}, as_=admin).status_code == 204


def test_guessing_the_current_password_is_throttled(client, ann, config):
    config.failures_per_account = 3
    bodies = [
        ("put", f"{ME}/password", {"current_password": "wrong password", "new_password": "green heron 17"}),
        ("patch", ME, {"email": "x@sheaf.test", "current_password": "wrong password"}),
        ("delete", ME, {"password": "wrong password"}),
    ]
    for method, path, body in bodies:
        assert_problem(client.open(method, path, body, as_=ann), 403, "forbidden")
    for method, path, body in bodies:
        answer = client.open(method, path, body, as_=ann)
        assert_problem(answer, 429, "too_many_requests")
        assert int(answer.headers["Retry-After"]) > 0
