"""What admins do with the accounts of others."""

import threading

import pytest
from bson import ObjectId

from tests.conftest import PASSWORD, assert_problem, sign_in

USERS = "/v1/users"
ME = "/v1/users/me"
NOBODY = "65a000000000000000000001"


def path_of(actor):
    return f"{USERS}/{actor.id}"


def test_list_pages_through_all_accounts(client, admin, make_user):
    ids = [admin.id, *(make_user(f"user{number}").id for number in range(4))]
    found, after = [], None
    while True:
        query = {"limit": 2, **({"after": after} if after else {})}
        page = client.get(USERS, query=query, as_=admin).json
        found += [user["id"] for user in page["users"]]
        after = page["next"]
        if after is None:
            break
    assert found == ids
    assert "argon2" not in client.get(USERS, as_=admin).text


@pytest.mark.parametrize(
    ("login", "names"), [("ANN", ["ann", "anna"]), ("bob@sh", ["bob"]), (".*", []), ("zoe", []), ("n", [])]
)
def test_list_finds_by_the_beginning_of_a_login(client, admin, make_user, login, names):
    for name in ("ann", "anna", "bob"):
        make_user(name)
    users = client.get(USERS, query={"login": login}, as_=admin).json["users"]
    assert [user["username"] for user in users] == names


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"after": "x"}, "after"),
        ({"skip": 1}, "skip"),
        ({"filter": "{}"}, "filter"),
    ],
)
def test_bad_query_of_the_list_is_400(client, admin, query, path):
    assert_problem(client.get(USERS, query=query, as_=admin), 400, "invalid_input", path=path)


def test_show_and_change_an_account(client, admin, ann):
    assert client.get(path_of(ann), as_=admin).json["username"] == "ann"
    body = {"name": "Ann", "username": "ann2", "email": "ann2@sheaf.test", "roles": ["editor", "editor"]}
    changed = client.patch(path_of(ann), body, as_=admin)
    assert changed.status_code == 200
    assert changed.json.items() >= {**body, "roles": ["editor"], "email_verified": False}.items()
    assert client.get(ME, as_=ann).json == changed.json


def test_disabled_account_is_locked_out_and_enabled_one_may_sign_in(client, admin, ann, make_key):
    key = make_key(ann)
    assert client.patch(path_of(ann), {"disabled": True}, as_=admin).json["disabled"] is True
    assert_problem(client.get(ME, as_=ann), 401, "unauthorized")
    assert_problem(client.get("/v1/db/app/items", as_=key), 401, "unauthorized")
    assert_problem(client.post("/v1/sessions/refresh", {"refresh_token": ann.refresh_token}), 401, "unauthorized")
    refused = client.post("/v1/sessions", {"login": "ann", "password": PASSWORD})
    unknown = client.post("/v1/sessions", {"login": "nobody", "password": PASSWORD})
    assert refused.json["detail"] == unknown.json["detail"]
    client.patch(path_of(ann), {"disabled": False}, as_=admin)
    assert_problem(client.get(ME, as_=ann), 401, "unauthorized")
    assert client.get(ME, as_=sign_in(client, "ann")).status_code == 200
    assert client.get("/v1/db/app/items", as_=key).status_code == 200


def test_promoted_user_is_admin_at_once_and_demoted_one_is_not(client, admin, ann):
    assert_problem(client.get(USERS, as_=ann), 403, "forbidden")
    client.patch(path_of(ann), {"roles": ["admin"]}, as_=admin)
    assert client.get(USERS, as_=ann).status_code == 200
    client.patch(path_of(ann), {"roles": []}, as_=admin)
    assert_problem(client.get(USERS, as_=ann), 403, "forbidden")


@pytest.mark.parametrize("body", [{"roles": []}, {"disabled": True}, {"name": "x", "roles": ["user"]}])
def test_last_admin_stays_admin(client, admin, ann, body):
    before = client.get(path_of(admin), as_=admin).json
    assert_problem(client.patch(path_of(admin), body, as_=admin), 409, "conflict")
    assert client.get(path_of(admin), as_=admin).json == before
    assert_problem(client.delete(path_of(admin), as_=admin), 409, "conflict")
    client.patch(path_of(ann), {"roles": ["admin"]}, as_=admin)
    assert client.patch(path_of(admin), body, as_=ann).status_code == 200


def test_a_disabled_admin_does_not_count_as_one(client, admin, make_user):
    other = make_user("second", admin=True)
    client.patch(path_of(other), {"disabled": True}, as_=admin)
    assert_problem(client.patch(path_of(admin), {"roles": []}, as_=admin), 409, "conflict")


def test_admins_who_demote_each_other_at_once_leave_one(client, admin, make_user, mongo):
    other = make_user("second", admin=True)
    for _ in range(5):
        start = threading.Barrier(2)

        def demote(asking, demoted, start=start):
            start.wait()
            client.patch(path_of(demoted), {"roles": []}, as_=asking)

        threads = [threading.Thread(target=demote, args=pair) for pair in ((admin, other), (other, admin))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert mongo["sheaf"]["users"].count_documents({"roles": "admin"}) >= 1
        mongo["sheaf"]["users"].update_many({}, {"$set": {"roles": ["admin"]}})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"roles": "admin"}, "roles"),
        ({"roles": [1]}, "roles"),
        ({"roles": ["Admin!"]}, "roles"),
        ({"roles": [{"$ne": 1}]}, "roles"),
        ({"roles": ["x"] * 51}, "roles"),
        ({"roles": None}, "roles"),
        ({"disabled": "yes"}, "disabled"),
        ({"disabled": 1}, "disabled"),
        ({"disabled": None}, "disabled"),
        ({"username": "x"}, "username"),
        ({"email": None, "username": None}, "email"),
        ({"password": "green heron 17"}, "password"),
        ({"email_verified": True}, "email_verified"),
        ({"name": "New", "roles": "admin"}, "roles"),
    ],
)
def test_bad_change_is_400_and_changes_nothing(client, admin, ann, body, path):
    before = client.get(path_of(ann), as_=admin).json
    assert_problem(client.patch(path_of(ann), body, as_=admin), 400, "invalid_input", path=path)
    assert client.get(path_of(ann), as_=admin).json == before


def test_taken_name_is_409(client, admin, ann, bob):
    assert_problem(client.patch(path_of(ann), {"username": "Bob"}, as_=admin), 409, "conflict", path="username")


@pytest.mark.parametrize("user_id", [NOBODY, "x", "me2", "65a00000000000000000000", "%24ne", "{}"])
def test_unknown_account_is_404(client, admin, user_id):
    path = f"{USERS}/{user_id}"
    assert_problem(client.get(path, as_=admin), 404, "not_found")
    assert_problem(client.patch(path, {"name": "x"}, as_=admin), 404, "not_found")
    assert_problem(client.delete(path, as_=admin), 404, "not_found")


def test_delete_an_account_with_its_documents(client, admin, ann, bob, make_key, mongo, monkeypatch):
    monkeypatch.setattr("user.models.EFFECTIVE_EVERYWHERE_SECONDS", 0)
    key = make_key(ann)
    for actor in (ann, bob):
        client.post("/v1/db/app/items", {"n": 1}, as_=actor)
    answer = client.delete(path_of(ann), query={"documents": "delete"}, as_=admin)
    assert (answer.status_code, answer.data) == (204, b"")
    for actor in (ann, key):
        assert_problem(client.get("/v1/db/app/items", as_=actor), 401, "unauthorized")
    assert [document["_owner"] for document in mongo["app"]["items"].find()] == [ObjectId(bob.id)]
    assert_problem(client.get(path_of(ann), as_=admin), 404, "not_found")


def test_account_deleted_meanwhile_does_not_come_back(client, admin, ann, mongo, monkeypatch):
    from user import models

    user = models.get_user(ann.id)
    mongo["sheaf"]["users"].delete_one({"_id": user.id})
    with pytest.raises(Exception, match="changed or deleted"):
        models.set_roles(user, ["admin"])
    assert mongo["sheaf"]["users"].count_documents({"_id": user.id}) == 0
