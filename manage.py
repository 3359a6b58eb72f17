"""Command line of Sheaf: `python manage.py --help`. Each command is a few lines; what it does is elsewhere."""

import code
import dataclasses
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import click

    import database
    import migrations
    import mongod as local_mongod
    import server
    import settings
    import settings_reference
    import startup
    import user.models as accounts
    from application import create_app
    from process import ProcessError
    from settings import ROOT, Settings
    from user.key import Key
    from user.session import Session
    from user_command import user_group
except ModuleNotFoundError as failure:
    if __name__ != "__main__":
        raise
    # Perhaps the environment that `make run` has made is not active; nothing of ours can be imported to tell.
    _python = str(Path(__file__).resolve().parent / ".venv" / "bin" / "python")
    if os.access(_python, os.X_OK) and sys.executable != _python:
        os.execv(_python, [_python, *sys.argv])  # noqa: S606 - the same command, by the project's own interpreter
    sys.exit(
        f"Error: The Python package {failure.name!r} is missing: run `make run`, or install what is needed into this "
        "Python with `pip install -r requirements.txt`."
    )

LOOPBACK = ("127.0.0.1", "localhost", "::1")

WELCOME = """
Sheaf answers at {url}; its reference is at {url}/docs. Ctrl-C stops it.

Sign up, sign in, store a document:
  curl {url}/v1/users -H 'Content-Type: application/json' -d '{{"username": "nina", "password": "choose-one-of-10"}}'
  TOKEN=$(curl -s {url}/v1/sessions -H 'Content-Type: application/json' \\
    -d '{{"login": "nina", "password": "choose-one-of-10"}}' | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')
  curl {url}/v1/db/app/items -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"n": 1}}'
"""
FIRST_ADMIN = """The first admin was created; this is shown only once:
  username {name}, password {password}
  curl {url}/v1/sessions -H 'Content-Type: application/json' -d '{{"login": "{name}", "password": "{password}"}}'"""
NO_ADMIN = "There is no admin yet: create one with `python manage.py user add --admin --username NAME`."

# What the shell offers beside the documents.
ACCOUNT_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *(accounts.create_user, accounts.find_user, accounts.list_users, accounts.has_admin, accounts.change_user),
    *(accounts.set_roles, accounts.set_disabled, accounts.set_password, accounts.delete_user),
)

Command = Callable[..., Any]


def main() -> None:
    """Run the command; any failure that was foreseen is one sentence on stderr and exit code 1."""
    try:
        cli()
    except startup.FORESEEN as failure:
        click.echo(f"Error: {startup.describe_failure(failure)}", err=True)
        sys.exit(1)


def setting_option(attribute: str) -> Callable[[Command], Command]:
    """A command-line option that replaces one setting, with the setting's own range, choices and meaning."""
    field = next(each for each in dataclasses.fields(Settings) if each.name == attribute)
    range_or_choice: click.ParamType[Any] | None = None
    if field.type is int:
        range_or_choice = click.IntRange(field.metadata["minimum"], field.metadata["maximum"])
    elif field.metadata["choices"]:
        range_or_choice = click.Choice(field.metadata["choices"])
    meaning = f"{field.metadata['meaning']} Default: {field.metadata['name']}."
    return click.option(f"--{attribute}", type=range_or_choice, help=meaning)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Sheaf: documents over HTTP, kept in MongoDB."""


@cli.command("runserver")
@setting_option("host")
@setting_option("port")
@setting_option("workers")
@setting_option("threads")
@setting_option("server")
@click.option("--debug", is_flag=True, help="Flask's reloader and debugger, in one process, on this machine only.")
def run_server(debug: bool, **options: Any) -> None:
    """Start everything and serve until Ctrl-C; without MONGODB_URI that includes a mongod."""
    replaced = {name: value for name, value in options.items() if value is not None}
    chosen = dataclasses.replace(settings.load(), **replaced)
    if debug and (chosen.is_production or chosen.host not in LOOPBACK):
        raise ProcessError("--debug lets whoever reaches it run code: only in development, and only on 127.0.0.1.")

    def prepare() -> None:
        settings.ensure_secret_key(chosen)
        password = startup.prepare(chosen, startup.WAIT_SECONDS)
        if password:
            # At once: should the server fail to start now, nobody could learn it any more.
            url = chosen.local_url
            click.echo(FIRST_ADMIN.format(url=url, name=startup.FIRST_ADMIN, password=password))
        elif not accounts.has_admin():
            click.echo(NO_ADMIN)
        startup.close_database()  # Nothing here needs it while the server runs.

    def announce(url: str) -> None:
        click.echo(f"Sheaf answers at {url}." if chosen.is_production else WELCOME.format(url=url))

    server.run(chosen, prepare, announce, debug=debug)
    click.echo("Sheaf has stopped.")


@cli.command("stop")
def stop_server() -> None:
    """Stop the running server, its mongod, and what a killed server left behind."""
    chosen = settings.load()
    if server.is_running(chosen.data_path):
        click.echo("Stopping; running requests may finish first.")
    was_running = server.stop(chosen.data_path, chosen.shutdown_seconds + local_mongod.STOP_SECONDS + 10)
    click.echo("Sheaf has stopped." if was_running else "Nothing was running.")


@cli.command("status")
def show_status() -> None:
    """Say what runs, and where; exit code 1 when the server does not."""
    directory = settings.load().data_path
    found = server.find(directory)
    is_running = found is not None and found.runner.is_alive()
    if found is not None and is_running:
        verb = "runs" if found.child else "is starting"
        click.echo(f"Sheaf {verb} at {found.url} (pid {found.runner.pid}, {found.server}).")
    elif found is not None and found.is_orphan:
        click.echo(f"Sheaf runs at {found.url}, but its runserver was killed; stop it with `python manage.py stop`.")
    else:
        click.echo("Sheaf does not run; start it with `python manage.py runserver`.")
    _show_mongod(local_mongod.find_running(directory))
    sys.exit(0 if is_running else 1)


def _show_mongod(running: local_mongod.LocalMongod | None) -> None:
    click.echo(f"mongod runs at {running.uri} (pid {running.identity.pid})." if running else "No local mongod runs.")


@cli.command("wait")
@click.option("--seconds", type=click.IntRange(1, 3600), default=startup.WAIT_SECONDS, show_default=True)
def wait_for_database(seconds: int) -> None:
    """Wait until the database takes writes."""
    startup.open_database(settings.load(), seconds)
    click.echo("The database is ready.")


@cli.command("routes")
def list_routes() -> None:
    """List every URL with its methods and the function that answers."""
    chosen = settings.load()
    # Nothing is asked of the database here, so any address will do.
    chosen.mongodb_uri = chosen.mongodb_uri or f"mongodb://127.0.0.1:{chosen.mongod_port}"
    for rule in sorted(create_app(chosen).url_map.iter_rules(), key=lambda each: each.rule):
        methods = ",".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        click.echo(f"{methods:16} {rule.rule:56} {rule.endpoint}")


@cli.command("shell")
def open_shell() -> None:
    """An interactive Python with the application's context."""
    chosen = startup.load_and_open()
    app = create_app(chosen, time_limit_seconds=startup.COMMAND_SECONDS)
    names = {"app": app, "client": database.client(), "database": database, "settings": chosen}
    names.update({"User": accounts.User, "Session": Session, "Key": Key})
    names.update({function.__name__: function for function in ACCOUNT_FUNCTIONS})
    with app.app_context():
        code.interact(f"Sheaf shell. At hand: {', '.join(sorted(names))}.", local=names, exitmsg="")


@cli.command("test", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_tests(arguments: tuple[str, ...]) -> None:
    """Run the tests against a mongod of their own; ARGUMENTS go to pytest."""
    if importlib.util.find_spec("pytest") is None:
        raise ProcessError("pytest is missing: run `make test`, or `pip install -r requirements-dev.txt`.")
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=ROOT))


@cli.command("settings")
@click.option("--env", "as_env", is_flag=True, help="As the text of .env.example.")
def show_settings(as_env: bool) -> None:
    """Print the reference of all settings, as a Markdown table."""
    click.echo(settings_reference.as_example() if as_env else settings_reference.as_table(), nl=False)


@cli.group("mongod")
def mongod_group() -> None:
    """The local mongod by itself."""


@mongod_group.command("start")
def start_mongod() -> None:
    """Start the local mongod and leave it running."""
    chosen = settings.load()
    _show_mongod(local_mongod.start(chosen.data_path, port=chosen.mongod_port, binary=chosen.mongod))


@mongod_group.command("stop")
def stop_mongod() -> None:
    """Stop the local mongod, unless a running server needs it."""
    running = local_mongod.find_running(settings.load().data_path)
    if running is None:
        click.echo("No local mongod runs.")
        return
    if running.owner is not None and not running.is_orphan:
        raise ProcessError("The running server needs this mongod; stop both with `python manage.py stop`.")
    local_mongod.stop(running)
    click.echo("mongod has stopped.")


@mongod_group.command("status")
def show_mongod_status() -> None:
    """Say where the local mongod runs; exit code 1 when it does not."""
    running = local_mongod.find_running(settings.load().data_path)
    _show_mongod(running)
    sys.exit(0 if running else 1)


@cli.group("migrate")
def migrate_group() -> None:
    """Changes to the service's own database."""


@migrate_group.command("up")
def migrate_up() -> None:
    """Apply every pending migration."""
    startup.load_and_open()
    applied = migrations.apply()
    click.echo("\n".join(f"applied {name}" for name in applied) or "Nothing to apply.")


@migrate_group.command("down")
@click.argument("name")
def migrate_down(name: str) -> None:
    """Undo the migration NAME and all after it."""
    startup.load_and_open()
    undone = migrations.revert(name)
    click.echo("\n".join(f"undone {each}" for each in undone) or "Nothing to undo.")


@migrate_group.command("status")
def show_migrations() -> None:
    """List the migrations; exit code 1 when some are pending."""
    startup.load_and_open()
    listed = migrations.status()
    for name, is_applied in listed:
        click.echo(f"{'applied' if is_applied else 'pending'}  {name}")
    sys.exit(0 if all(is_applied for _, is_applied in listed) else 1)


cli.add_command(user_group)


if __name__ == "__main__":
    main()
