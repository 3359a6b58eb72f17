"""The logic of accounts, sessions and keys by itself, on mongomock; what the database enforces is tested elsewhere."""

import mongoengine
import mongomock
import pytest
from argon2 import PasswordHasher
from bson import ObjectId
from mongoengine.connection import _connection_settings, _connections, _dbs

from errors import Conflict, InvalidInput, NotFound
from user import identity, key, models, password, session, throttle
from user.models import User

PASSWORD = "blue otter 42 lamp"
DOCUMENTS = (models.User, session.Session, key.Key)
ALIAS = mongoengine.DEFAULT_CONNECTION_NAME


def forget_collections():
    for document in DOCUMENTS:
        document._disconnect()


@pytest.fixture(autouse=True)
def _mongomock(monkeypatch):
    """MongoEngine's default connection leads to mongomock, and back to where it led before after the test."""
    before = [registry.pop(ALIAS, None) for registry in (_connections, _connection_settings, _dbs)]
    forget_collections()
    mongoengine.connect("sheaf", mongo_client_class=mongomock.MongoClient, uuidRepresentation="standard", tz_aware=True)
    monkeypatch.setattr(password, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    monkeypatch.setattr(throttle, "admit", lambda *_: None)
    monkeypatch.setattr(throttle, "forgive", lambda *_: None)
    yield
    mongoengine.disconnect()
    forget_collections()
    for registry, value in zip((_connections, _connection_settings, _dbs), before, strict=True):
        if value is not None:
            registry[ALIAS] = value


def make(name="ann", **options):
    return models.create_user(email=f"{name}@sheaf.test", username=name, password=PASSWORD, **options)


@pytest.mark.parametrize("login", ["ann", "ANN", " ann ", "ann@sheaf.test", "Ann@SHEAF.test"])
def test_find_user_by_any_login(login):
    ann = make()
    make("bob")
    assert models.find_user(login) == ann


def test_find_user_by_id_and_not_by_what_nobody_has():
    ann = make()
    assert models.find_user(str(ann.id)) == ann
    assert [models.find_user(login) for login in ("", "bob", "a@b", "@", str(ObjectId()), "x" * 1000)] == [None] * 6


def test_absent_values_are_not_stored():
    models.create_user(email=None, username="ann", password=PASSWORD)
    stored = User._get_collection().find_one()
    assert not {"email", "email_key", "name"} & set(stored)
    assert set(stored) == {
        "_id",
        "username",
        "username_key",
        "password_hash",
        "roles",
        "disabled",
        "email_verified",
        "created_at",
    }


def test_fields_of_a_newer_version_do_no_harm():
    ann = make()
    User._get_collection().update_one({"_id": ann.id}, {"$set": {"from_the_future": 1}})
    assert models.get_user(ann.id).username == "ann"


def test_roles_are_sorted_and_unique():
    assert make(roles=["b", "a", "b"]).roles == ["a", "b"]


def test_last_admin_stays():
    first, second = make("first", roles=["admin"]), make("second", roles=["admin"])
    models.set_roles(second, [])
    for change in (lambda: models.set_roles(first, ["user"]), lambda: models.change_user(first, {"disabled": True})):
        with pytest.raises(Conflict, match="last admin"):
            change()
        assert models.get_user(first.id).is_active_admin
    assert models.has_admin()


def test_change_is_all_or_nothing():
    ann = make()
    with pytest.raises(InvalidInput):
        models.change_user(ann, {"name": "New", "roles": ["Not A Role"]})
    assert models.get_user(ann.id).name is None


def test_other_case_of_the_same_address_stays_confirmed():
    ann = make()
    models.confirm_email(ann.id, ann.email_key)
    ann = models.get_user(ann.id)
    models.change_user(ann, {"email": "ANN@sheaf.test"})
    assert models.get_user(ann.id).email_verified
    models.change_user(ann, {"email": "ann2@sheaf.test"})
    assert not models.get_user(ann.id).email_verified


def test_confirmation_is_for_the_address_of_now():
    ann = make()
    assert not models.confirm_email(ann.id, "other@sheaf.test")
    assert not models.get_user(ann.id).email_verified


def test_unknown_user_is_not_found():
    for user_id in ("x", str(ObjectId()), ""):
        with pytest.raises(NotFound):
            models.get_user(user_id)


def test_sessions_move_on_one_generation_at_a_time():
    make()
    started = session.sign_in("ann", PASSWORD, address="", user_agent="")
    moved = session.rotate_session(started.id, 0)
    assert moved == started
    assert session.rotate_session(started.id, 0) is None
    assert session.rotate_session(started.id, 1) == started
    assert session.Session.objects.first().generation == 2


def test_key_is_found_by_its_text_only():
    ann = make()
    made, text = key.create_key(ann.id, name="x")
    assert key.find_key(text) == made
    assert [key.find_key(wrong) for wrong in (made.key_hash, text[:-1], text + "x", made.prefix, "")] == [None] * 5


@pytest.mark.parametrize(
    ("first", "second"), [("Ann@Sheaf.TEST", "ann@sheaf.test"), ("STRASSE", "straße"), ("É", "e\u0301")]
)
def test_keys_are_equal_regardless_of_case_and_composition(first, second):
    assert identity.to_key(first) == identity.to_key(second)
