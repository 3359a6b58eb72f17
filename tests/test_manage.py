"""The commands of manage.py that look after the database and its accounts."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import pymongo
import pytest

import manage
import migrations
import settings
import startup
from settings import ROOT, Settings, SettingsError
from tests.command_line import build_environment, fails_with, run_command
from tests.mongod_fixture import RunningMongod, find_free_port, start_mongod
from user import mail

PASSWORD = "correct horse battery staple"
Environment = dict[str, str]


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMongod]:
    running = start_mongod(tmp_path_factory.mktemp("mongod"))
    yield running
    running.stop()


@pytest.fixture
def environment(mongod: RunningMongod, tmp_path: Path) -> Environment:
    """Settings that lead to an empty database."""
    name = re.sub(r"\W", "", f"{tmp_path.name}{find_free_port()}")
    return build_environment(tmp_path, MONGODB_URI=mongod.uri, SHEAF_ENV="development", SHEAF_DATABASE=name)


def add_user(name: str, environment: Environment, *arguments: str) -> None:
    result = run_command(
        "user", "add", "--username", name, "--password-stdin", *arguments, environment=environment, stdin=PASSWORD
    )
    assert result.returncode == 0, result.stderr


def list_users(environment: Environment) -> str:
    result = run_command("user", "list", environment=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def all_commands(group: click.Group = manage.cli, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [prefix]
    for name, command in group.commands.items():
        path = (*prefix, name)
        found += all_commands(command, path) if isinstance(command, click.Group) else [path]
    return found


@pytest.mark.parametrize("path", all_commands())
def test_every_command_explains_itself(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    manage.cli.main([*path, "--help"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: ")
    assert len(shown.split("\n\n")[1].strip()) > 10


def test_every_command_is_documented() -> None:
    documented = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    missing = [" ".join(path) for path in all_commands() if f"manage.py {' '.join(path)}".strip() not in documented]
    assert missing == []


def test_unknown_command_and_option_are_refused_in_a_sentence(tmp_path: Path) -> None:
    for arguments in (["fly"], ["stop", "--now"], ["user", "add"], ["wait", "--seconds", "soon"]):
        result = run_command(*arguments, environment=build_environment(tmp_path))
        assert result.returncode == 2
        assert "Error: " in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["user", "list"], ["migrate", "up"], ["wait"], ["shell"]])
def test_command_without_a_database_says_how_to_start_one(arguments: list[str], tmp_path: Path) -> None:
    result = run_command(*arguments, environment=build_environment(tmp_path))
    assert fails_with(result, "No database is running", "manage.py runserver", "MONGODB_URI")


def test_wrong_setting_stops_every_command(tmp_path: Path) -> None:
    environment = build_environment(tmp_path, SHEAF_TRHEADS="3")
    for arguments in (["status"], ["routes"], ["user", "list"], ["mongod", "start"]):
        assert fails_with(run_command(*arguments, environment=environment), "SHEAF_TRHEADS", "SHEAF_THREADS")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SHEAF_DATABASE", "a b", ["'a b'", "space"]),
        ("SHEAF_DATABASE", "a" * 64, ["63 bytes"]),
        ("SHEAF_OPEN_DATABASES", "app, my.app", ["'my.app'", "space"]),
        ("SHEAF_PUBLIC_URL", "api.example.org", ["https://", "'api.example.org'"]),
        ("SHEAF_PUBLIC_URL", "https://api.example.org/?a=b", ["https://"]),
        ("SHEAF_PUBLIC_URL", "javascript:alert(1)", ["https://"]),
    ],
)
def test_setting_that_cannot_work_is_refused(name: str, value: str, words: list[str]) -> None:
    with pytest.raises(SettingsError, match=name) as refused:
        settings.load({name: value}, env_file=None)
    assert all(word in str(refused.value) for word in words)


def test_production_that_sends_mail_must_know_its_public_url() -> None:
    production = {"SHEAF_ENV": "production", "SECRET_KEY": "s" * 32, "SHEAF_SMTP_URL": "smtp://mail.example:25"}
    with pytest.raises(SettingsError, match="SHEAF_PUBLIC_URL is missing"):
        settings.load(production, env_file=None)
    for url in ("https://api.example.org", "http://127.0.0.1:8000/base/", "http://[::1]:8000"):
        assert settings.load({**production, "SHEAF_PUBLIC_URL": url}, env_file=None).public_url == url
    assert settings.load({**production, "SHEAF_ENV": "development"}, env_file=None).public_url == ""


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000"), ("sheaf.local", "http://sheaf.local:8000")],
)
def test_links_in_mails_lead_to_an_address_that_can_be_opened(config: Settings, host: str, url: str) -> None:
    config.host, config.port, config.public_url = host, 8000, ""
    assert mail.link("verify", "t") == f"{url}/v1/users/verify#token=t"


@pytest.fixture
def newcomer(tmp_path: Path) -> Path:
    """The folder of somebody who has not installed what manage.py needs."""
    shutil.copy(ROOT / "manage.py", tmp_path)
    return tmp_path


def run_without_packages(python: str | Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -S: without site-packages.
    command = [python, "-S", "manage.py", *arguments]
    return subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=False, timeout=30)


def test_missing_packages_are_told_in_a_sentence(newcomer: Path) -> None:
    result = run_without_packages(sys.executable, newcomer, "status")
    assert fails_with(result, "'click' is missing", "make run", "pip install -r requirements.txt")


def test_commands_use_the_environment_that_make_run_has_made(newcomer: Path) -> None:
    python = newcomer / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho made by make: $@\n")
    python.chmod(0o755)
    result = run_without_packages(sys.executable, newcomer, "user", "add", "--admin")
    assert result.stdout == "made by make: manage.py user add --admin\n"


def test_environment_that_lacks_packages_too_is_told_in_a_sentence(newcomer: Path) -> None:
    python = newcomer / ".venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", newcomer / ".venv"], check=True)
    for started in (python, sys.executable):
        assert fails_with(run_without_packages(started, newcomer, "status"), "is missing", "make run")


def test_tests_without_pytest_say_how_to_get_it(tmp_path: Path) -> None:
    hidden = (
        "import sys, importlib.util as u, runpy; find = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'pytest' else find(name, *a); "
        "sys.argv = ['manage.py', 'test']; runpy.run_path('manage.py', run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", hidden],
        cwd=ROOT,
        env=build_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert fails_with(result, "pytest", "make test", "requirements-dev.txt")


def test_commands_find_the_running_local_mongod(tmp_path: Path) -> None:
    environment = build_environment(tmp_path)
    assert run_command("mongod", "start", environment=environment).returncode == 0
    try:
        assert run_command("wait", environment=environment).stdout == "The database is ready.\n"
        assert run_command("status", environment=environment).returncode == 1
    finally:
        assert run_command("mongod", "stop", environment=environment).returncode == 0
    assert run_command("mongod", "status", environment=environment).returncode == 1


def test_wrong_credentials_are_told_at_once(mongod: RunningMongod, environment: Environment) -> None:
    uri = mongod.uri.replace("mongodb://", "mongodb://nobody:hidden@")
    result = run_command("wait", "--seconds", "600", environment={**environment, "MONGODB_URI": uri})
    assert fails_with(result, "MongoDB refuses", "MONGODB_URI")
    assert "hidden" not in result.stderr


def test_migrations_go_up_and_down(mongod: RunningMongod, environment: Environment) -> None:
    names = list(migrations.NAMES)
    pending = run_command("migrate", "status", environment=environment)
    assert (pending.returncode, pending.stdout.split()) == (1, [w for name in names for w in ("pending", name)])
    assert run_command("migrate", "up", environment=environment).stdout.split()[1::2] == names
    assert run_command("migrate", "up", environment=environment).stdout == "Nothing to apply.\n"
    assert run_command("migrate", "status", environment=environment).returncode == 0
    down = run_command("migrate", "down", names[0], environment=environment)
    assert down.stdout.split()[1::2] == names[::-1]
    with pymongo.MongoClient[dict[str, Any]](mongod.uri) as client:
        service = client[environment["SHEAF_DATABASE"]]
        assert all(
            set(service[name].index_information()) <= {"_id_"}
            for name in service.list_collection_names()
            if name != "migrations"
        )
    assert run_command("migrate", "up", environment=environment).returncode == 0


def test_indexes_make_names_unique_and_let_sessions_and_keys_expire(
    mongod: RunningMongod, environment: Environment
) -> None:
    assert run_command("migrate", "up", environment=environment).returncode == 0
    with pymongo.MongoClient[dict[str, Any]](mongod.uri) as client:
        service = client[environment["SHEAF_DATABASE"]]
        service.users.insert_many([{"username_key": "ada"}, {"email_key": "ada@example.org"}, {}, {}])
        for copy in ({"username_key": "ada"}, {"email_key": "ada@example.org"}):
            with pytest.raises(pymongo.errors.DuplicateKeyError):
                service.users.insert_one(copy)
        for name, field in (("sessions", "expires_at"), ("keys", "expires_at"), ("attempts", "expireAt")):
            expiring = [each for each in service[name].index_information().values() if "expireAfterSeconds" in each]
            assert [(each["key"], each["expireAfterSeconds"]) for each in expiring] == [([(field, 1)], 0)]


def test_two_processes_may_migrate_at_once(environment: Environment) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run_command, "migrate", "up", environment=environment) for _ in range(4)]
    assert [run.result().returncode for run in runs] == [0, 0, 0, 0]
    listed = run_command("migrate", "status", environment=environment).stdout
    assert listed.count("applied") == len(migrations.NAMES)


def test_duplicates_that_a_migration_meets_are_named(mongod: RunningMongod, environment: Environment) -> None:
    name = environment["SHEAF_DATABASE"]
    with pymongo.MongoClient[dict[str, Any]](mongod.uri) as client:
        client[name].users.insert_many([{"username_key": "ada"}, {"username_key": "ada"}])
        result = run_command("migrate", "up", environment=environment)
        assert fails_with(result, f"{name}.users", "username_key 'ada'", "keep one", "manage.py migrate up")
        assert "E11000" not in result.stderr
        client[name].users.delete_one({})
    assert run_command("migrate", "up", environment=environment).returncode == 0


def test_unknown_migration_is_named(environment: Environment) -> None:
    assert fails_with(run_command("migrate", "down", "m9999_x", environment=environment), "m9999_x", "migrate status")


def test_user_is_added_listed_promoted_demoted_disabled_and_enabled(environment: Environment) -> None:
    add_user("root", environment, "--admin")
    add_user("ada", environment, "--email", "Ada@Example.org")
    assert re.search(r"enabled .* - .*ada, .*@example\.org", list_users(environment), re.IGNORECASE)
    for command, shown in (("promote", "admin"), ("demote", " - "), ("disable", "disabled"), ("enable", "enabled")):
        result = run_command("user", command, "ada", environment=environment)
        assert result.returncode == 0, result.stderr
        assert shown in next(line for line in list_users(environment).splitlines() if "ada" in line)


def test_admin_is_added_with_a_password_that_is_made_up(environment: Environment) -> None:
    result = run_command("user", "add", "--admin", "--username", "root", "--generate", environment=environment)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"Created admin root .*\nPassword \(shown only once\): \S{12,}\n", result.stdout)
    assert " admin " in list_users(environment)


def test_no_password_is_shown_for_an_account_that_was_not_made(environment: Environment) -> None:
    add_user("ada", environment)
    result = run_command("user", "add", "--username", "ada", "--generate", environment=environment)
    assert fails_with(result)
    assert result.stdout == ""


def test_same_name_in_other_case_is_refused(environment: Environment) -> None:
    add_user("Ada", environment)
    result = run_command(
        "user", "add", "--username", "aDA", "--password-stdin", environment=environment, stdin=PASSWORD
    )
    assert result.stderr == "Error: This username is taken.\n"


def test_weak_password_is_refused(environment: Environment) -> None:
    result = run_command("user", "add", "--username", "ada", "--password-stdin", environment=environment, stdin="123\n")
    assert fails_with(result, "password")
    assert list_users(environment) == ""


def test_password_is_changed_from_standard_input_or_made_up(environment: Environment) -> None:
    add_user("ada", environment)
    for arguments in (["--password-stdin"], ["--generate"]):
        result = run_command("user", "password", "ada", *arguments, environment=environment, stdin=f"{PASSWORD} 2\n")
        assert result.returncode == 0, result.stderr
        assert "is changed" in result.stdout


def test_password_is_asked_of_a_person_only(environment: Environment) -> None:
    result = run_command("user", "add", "--username", "ada", environment=environment)
    assert result.returncode == 2
    assert "--password-stdin" in result.stderr


@pytest.mark.parametrize("command", ["disable", "enable", "promote", "demote"])
def test_unknown_user_is_named(command: str, environment: Environment) -> None:
    assert fails_with(run_command("user", command, "nobody", environment=environment), "nobody", "user list")


def test_routes_are_listed_without_a_database(tmp_path: Path) -> None:
    result = run_command("routes", environment=build_environment(tmp_path))
    assert result.returncode == 0, result.stderr
    assert re.search(r"^POST +/v1/users ", result.stdout, re.MULTILINE)
    assert re.search(r"^GET +/health ", result.stdout, re.MULTILINE)


def test_shell_has_application_client_and_models_at_hand(environment: Environment) -> None:
    add_user("ada", environment)
    lines = [
        "print(app.name, client.server_info()['ok'])",
        "print(User.objects.count(), Session.objects.count(), Key.objects.count(), find_user('ada').username)",
        "print('limit', client.options.timeout)",
        "print('others', 're' in dir(), 'ClassVar' in dir())",
    ]
    result = run_command("shell", environment=environment, stdin="\n".join([*lines, ""]))
    assert result.returncode == 0, result.stderr
    assert "sheaf 1.0" in result.stdout
    assert "1 0 0 ada" in result.stdout
    assert f"limit {startup.COMMAND_SECONDS}" in result.stdout
    assert "others False False" in result.stdout


def test_stop_promises_nothing_to_requests_when_nothing_runs(tmp_path: Path) -> None:
    assert run_command("stop", environment=build_environment(tmp_path)).stdout == "Nothing was running.\n"


def test_test_command_hands_its_arguments_to_pytest(tmp_path: Path) -> None:
    result = run_command("test", "--version", environment=build_environment(tmp_path))
    assert result.returncode == 0
    assert "pytest" in result.stdout + result.stderr


def test_settings_are_printed_as_table_and_as_example(tmp_path: Path) -> None:
    table = run_command("settings", environment=build_environment(tmp_path)).stdout
    example = run_command("settings", "--env", environment=build_environment(tmp_path)).stdout
    assert "| `SHEAF_THREADS` | `8` | 1 to 256 |" in table
    assert example == (ROOT / ".env.example").read_text(encoding="utf-8")
