"""The `user` commands of manage.py: accounts, from the command line."""

import sys
from collections.abc import Callable
from typing import Any

import click

import migrations
import startup
import user.models as accounts
from process import ProcessError

Command = Callable[..., Any]


@click.group("user")
def user_group() -> None:
    """Accounts; LOGIN is an e-mail address, a username or an id."""


def password_options(command: Command) -> Command:
    """The two ways, besides being asked, to give a password; never as an argument, which other users could see."""
    command = click.option("--generate", is_flag=True, help="Make up a password and show it.")(command)
    return click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")(command)


@user_group.command("add")
@click.option("--email")
@click.option("--username")
@click.option("--name", help="What to call them.")
@click.option("--admin", is_flag=True, help="They may do everything.")
@password_options
def add_user(
    email: str | None, username: str | None, name: str | None, admin: bool, password_stdin: bool, generate: bool
) -> None:
    """Create an account with an e-mail address, a username or both."""
    if not email and not username:
        raise click.UsageError("Give --email, --username or both.")
    startup.load_and_open()
    migrations.apply()  # The unique indexes are what keeps names unique.
    password = read_password(password_stdin, generate)
    roles = ["admin"] if admin else []
    created = accounts.create_user(email=email, username=username, password=password, name=name, roles=roles)
    click.echo(f"Created {'admin' if admin else 'user'} {username or email} (id {created.id}).")
    show_password(password, generate)


def read_password(from_stdin: bool, generate: bool) -> str:
    """A password from standard input, made up, or asked for twice."""
    if generate:
        return startup.make_password()
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody is there to be asked: give --password-stdin or --generate.")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def show_password(password: str, generate: bool) -> None:
    """Show a password that was made up, once it is in force."""
    if generate:
        click.echo(f"Password (shown only once): {password}")


def find_user(login: str) -> accounts.User:
    """The account, with this process connected to its database."""
    startup.load_and_open()
    found = accounts.find_user(login)
    if found is None:
        raise ProcessError(f"There is no user {login!r}; `python manage.py user list` shows them all.")
    return found


@user_group.command("list")
def list_users() -> None:
    """List all accounts."""
    startup.load_and_open()
    for each in accounts.list_users():
        logins = ", ".join(filter(None, [each.username, each.email]))
        state = "disabled" if each.disabled else "enabled"
        click.echo(f"{each.id}  {state:8}  {each.created_at:%Y-%m-%d}  {','.join(each.roles) or '-':12}  {logins}")


@user_group.command("disable")
@click.argument("login")
def disable_user(login: str) -> None:
    """Lock an account out, at once and everywhere."""
    accounts.set_disabled(find_user(login), True)
    click.echo(f"{login} is disabled.")


@user_group.command("enable")
@click.argument("login")
def enable_user(login: str) -> None:
    """Let a disabled account in again."""
    accounts.set_disabled(find_user(login), False)
    click.echo(f"{login} is enabled.")


@user_group.command("promote")
@click.argument("login")
def promote_user(login: str) -> None:
    """Make an account an admin."""
    found = find_user(login)
    accounts.set_roles(found, sorted({*found.roles, "admin"}))
    click.echo(f"{login} is an admin.")


@user_group.command("demote")
@click.argument("login")
def demote_user(login: str) -> None:
    """Take the admin role away."""
    found = find_user(login)
    accounts.set_roles(found, [role for role in found.roles if role != "admin"])
    click.echo(f"{login} is not an admin.")


@user_group.command("password")
@click.argument("login")
@password_options
def change_password(login: str, password_stdin: bool, generate: bool) -> None:
    """Set a new password, which ends all of the account's sessions."""
    found = find_user(login)
    password = read_password(password_stdin, generate)
    accounts.set_password(found, password)
    click.echo(f"The password of {login} is changed; all its sessions have ended.")
    show_password(password, generate)
