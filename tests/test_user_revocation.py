"""What one process revokes, every other refuses within a second."""

import subprocess
import sys
import time

import pytest
from bson import ObjectId

import watcher
from settings import ROOT
from tests.command_line import build_environment
from tests.conftest import SECRET_KEY, assert_problem, wait_until

ITEMS = "/v1/db/app/items"
EFFECTIVE_SECONDS = 1.0


@pytest.fixture(params=["watching", "no change stream"])
def watching(request, app, monkeypatch):
    """Once with the change stream, once without, as on a standalone MongoDB."""
    watcher.stop()
    if request.param == "watching":
        watcher.ensure_running()
        wait_until(watcher.is_current)
    else:
        monkeypatch.setattr(watcher, "ensure_running", lambda: None)
    yield
    watcher.stop()


def revoke_user(service, ann, key):
    service["users"].update_one({"_id": ObjectId(ann.id)}, {"$set": {"disabled": True}})


def delete_user(service, ann, key):
    service["users"].delete_one({"_id": ObjectId(ann.id)})


def revoke_session(service, ann, key):
    service["sessions"].delete_one({"_id": ObjectId(ann.session_id)})


def revoke_key(service, ann, key):
    service["keys"].delete_one({"_id": ObjectId(key.key_id)})


@pytest.mark.parametrize(
    ("revoke", "refused"),
    [
        (revoke_user, ("session", "key")),
        (delete_user, ("session", "key")),
        (revoke_session, ("session",)),
        (revoke_key, ("key",)),
    ],
)
def test_change_by_another_process_is_seen_within_a_second(client, ann, make_key, mongo, watching, revoke, refused):
    actors = {"session": ann, "key": make_key(ann)}
    for _ in range(3):
        assert all(client.get(ITEMS, as_=actor).status_code == 200 for actor in actors.values())
    revoke(mongo["sheaf"], ann, actors["key"])
    ends_at = time.monotonic() + EFFECTIVE_SECONDS
    statuses = dict.fromkeys(actors, 200)
    while time.monotonic() < ends_at:
        statuses = {name: client.get(ITEMS, as_=actor).status_code for name, actor in actors.items()}
        if all(statuses[name] == 401 for name in refused):
            break
    assert {name for name, status in statuses.items() if status == 401} == set(refused)


def test_roles_changed_by_another_process_are_seen_within_a_second(client, admin, mongo, watching):
    assert client.get("/v1/db/shop/items", as_=admin).status_code == 200
    mongo["sheaf"]["users"].update_one({"_id": ObjectId(admin.id)}, {"$set": {"roles": []}})
    wait_until(lambda: client.get("/v1/db/shop/items", as_=admin).status_code == 403, EFFECTIVE_SECONDS)


def test_user_disabled_from_the_command_line_is_locked_out(client, ann, app, tmp_path):
    wait_until(lambda: client.get(ITEMS, as_=ann).status_code == 200 and watcher.is_current())
    environment = build_environment(
        tmp_path, MONGODB_URI=app.config["CHOSEN"].mongodb_uri, SECRET_KEY=SECRET_KEY, SHEAF_ENV="development"
    )
    command = [sys.executable, str(ROOT / "manage.py"), "user", "disable", "ann"]
    subprocess.run(command, check=True, env=environment, cwd=ROOT, capture_output=True, timeout=50)
    wait_until(lambda: client.get(ITEMS, as_=ann).status_code == 401, EFFECTIVE_SECONDS)
    assert_problem(client.get(ITEMS, as_=ann), 401, "unauthorized")
