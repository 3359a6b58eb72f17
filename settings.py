"""Every setting of the service, once: name, type, default, range and meaning.

The only reader of the environment. `load()` builds `Settings` from a mapping and refuses what it does not know;
`use()` makes one the process's `config`, which everything else imports.
"""

import dataclasses
import difflib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent

# https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions
MAX_DATABASE_BYTES = 63
NOT_IN_DATABASE_NAMES = frozenset('/\\. "$*<>:|?\0')

# A host, perhaps a port and a path, and nothing that a link, a page or a shell would read as something else.
PUBLIC_URL = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?(?:/[A-Za-z0-9._~/-]*)?")


class SettingsError(Exception):
    """A setting is unknown, missing or out of range; the message names it and says what to do."""


def setting(
    name: str,
    default: str | int | bool,
    meaning: str,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """A field of `Settings` that is read from the environment variable `name`."""
    metadata = {
        "name": name,
        "meaning": meaning,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "secret": secret,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass
class Settings:
    """The table of settings: one attribute per environment variable, with its default, range and meaning."""

    environment: str = setting(
        "SHEAF_ENV",
        "",
        "`development` or `production`. Empty: production when `MONGODB_URI` is set, development otherwise. "
        "Production wants a `SECRET_KEY`, logs JSON and creates no first admin by itself.",
        choices=("", "development", "production"),
    )
    mongodb_uri: str = setting(
        "MONGODB_URI",
        "",
        "Connection string of the MongoDB to serve, for instance from Atlas. Empty: Sheaf starts a mongod of its own.",
        secret=True,
    )
    secret_key: str = setting(
        "SECRET_KEY",
        "",
        "Signs access tokens and e-mailed links; at least 32 characters, the same on every host. Changing it signs "
        "everybody out. Required in production; in development one is generated into the data directory.",
        secret=True,
    )
    port: int = setting("PORT", 8000, "TCP port of the HTTP server.", minimum=1, maximum=65535)
    host: str = setting("SHEAF_HOST", "127.0.0.1", "Address the HTTP server listens on; `0.0.0.0` for every interface.")
    workers: int = setting("WEB_CONCURRENCY", 2, "Worker processes of the HTTP server.", minimum=1, maximum=256)
    threads: int = setting("SHEAF_THREADS", 8, "Threads per worker process.", minimum=1, maximum=256)
    server: str = setting("SHEAF_SERVER", "granian", "HTTP server to run.", choices=("granian", "gunicorn"))
    shutdown_seconds: int = setting(
        "SHEAF_SHUTDOWN_SECONDS",
        20,
        "How long running requests may go on after a stop was asked for.",
        minimum=1,
        maximum=600,
    )
    data_directory: str = setting(
        "SHEAF_DATA", "data", "Folder for the local mongod's files, logs, process ids and generated secrets."
    )
    mongod: str = setting("SHEAF_MONGOD", "", "Path of the mongod to start. Empty: `mongod` on PATH, then the wheel's.")
    mongod_port: int = setting(
        "SHEAF_MONGOD_PORT", 27027, "TCP port of the mongod that Sheaf starts.", minimum=1, maximum=65535
    )
    database: str = setting("SHEAF_DATABASE", "sheaf", "The service's own database: accounts, sessions, keys.")
    open_databases: str = setting(
        "SHEAF_OPEN_DATABASES",
        "app",
        "Comma-separated databases in which every signed-in user may keep documents of their own. All others are for "
        "admins and their keys.",
    )
    max_collections: int = setting(
        "SHEAF_MAX_COLLECTIONS",
        500,
        "How many collections an open database may have before users can start no more.",
        minimum=1,
        maximum=100_000,
    )
    max_collections_per_user: int = setting(
        "SHEAF_MAX_COLLECTIONS_PER_USER",
        20,
        "How many collections of an open database one user may have started, so that nobody takes them all.",
        minimum=1,
        maximum=100_000,
    )
    sign_up: str = setting(
        "SHEAF_SIGN_UP", "open", "Who may create accounts: anybody, or admins only.", choices=("open", "closed")
    )
    single_session: bool = setting("SHEAF_SINGLE_SESSION", False, "A new sign-in ends the user's earlier sessions.")
    require_verified_email: bool = setting(
        "SHEAF_REQUIRE_VERIFIED_EMAIL", False, "Sign-in waits until the e-mail address has been confirmed."
    )
    access_token_seconds: int = setting(
        "SHEAF_ACCESS_TOKEN_SECONDS", 1800, "Lifetime of an access token.", minimum=10, maximum=86_400
    )
    refresh_token_seconds: int = setting(
        "SHEAF_REFRESH_TOKEN_SECONDS",
        5_184_000,
        "Lifetime of a session that is not refreshed (60 days).",
        minimum=60,
        maximum=31_536_000,
    )
    failures_per_account: int = setting(
        "SHEAF_FAILURES_PER_ACCOUNT",
        10,
        "Failed sign-ins for one account before it must wait.",
        minimum=1,
        maximum=10_000,
    )
    failures_per_address: int = setting(
        "SHEAF_FAILURES_PER_ADDRESS",
        100,
        "Failed sign-ins from one address before it must wait.",
        minimum=1,
        maximum=1_000_000,
    )
    failure_window_seconds: int = setting(
        "SHEAF_FAILURE_WINDOW_SECONDS",
        900,
        "The time over which failed sign-ins are counted.",
        minimum=1,
        maximum=86_400,
    )
    sign_ups_per_address: int = setting(
        "SHEAF_SIGN_UPS_PER_ADDRESS",
        100,
        "Sign-ups, also refused ones, from one address in an hour before it must wait. Admins may create any number.",
        minimum=1,
        maximum=1_000_000,
    )
    public_url: str = setting(
        "SHEAF_PUBLIC_URL",
        "",
        "Where clients reach the service, `https://api.example.org`; links in e-mails begin with it. Required in "
        "production with `SHEAF_SMTP_URL`; empty in development: this machine's own address and port.",
    )
    smtp_url: str = setting(
        "SHEAF_SMTP_URL",
        "",
        "Mail server, `smtp://user:password@host:587` (STARTTLS when offered) or `smtps://...:465`. Empty: mail is "
        "written to the log in development, and refused with an explanation in production.",
        secret=True,
    )
    mail_from: str = setting("SHEAF_MAIL_FROM", "sheaf@localhost", "Sender address of the service's e-mails.")
    trusted_proxies: int = setting(
        "SHEAF_TRUSTED_PROXIES",
        0,
        "How many proxies in front may be believed about the client's address (`X-Forwarded-For`); Heroku: 1.",
        minimum=0,
        maximum=10,
    )
    max_body_bytes: int = setting(
        "SHEAF_MAX_BODY_BYTES",
        16_777_216,
        "Largest request body, also after inflating.",
        minimum=1024,
        maximum=1_073_741_824,
    )
    max_limit: int = setting(
        "SHEAF_MAX_LIMIT", 1000, "Most documents in one page of a list.", minimum=1, maximum=1_000_000
    )
    time_limit_seconds: int = setting(
        "SHEAF_TIME_LIMIT_SECONDS",
        10,
        "Longest a request's database operation may take; MongoDB stops it then.",
        minimum=1,
        maximum=3600,
    )
    database_wait_seconds: int = setting(
        "SHEAF_DATABASE_WAIT_SECONDS",
        2,
        "How long a request looks for a reachable database before it answers 503.",
        minimum=1,
        maximum=60,
    )
    log_level: str = setting(
        "SHEAF_LOG_LEVEL", "info", "Least severe log message to print.", choices=("debug", "info", "warning", "error")
    )

    @property
    def is_production(self) -> bool:
        """Whether the strict rules apply: said by SHEAF_ENV, else true when a database of the owner's is named."""
        return self.environment == "production" or (not self.environment and bool(self.mongodb_uri))

    @property
    def open_database_names(self) -> frozenset[str]:
        """The databases in which users keep documents of their own."""
        return frozenset(name.strip() for name in self.open_databases.split(",") if name.strip())

    @property
    def local_url(self) -> str:
        """Where a browser on this machine finds the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def data_path(self) -> Path:
        """The data directory, absolute; relative settings count from the project's folder."""
        return ROOT / self.data_directory


config = Settings()


def use(chosen: Settings) -> Settings:
    """Make `chosen` the process's settings: every module that imported `config` sees them."""
    for field in dataclasses.fields(Settings):
        setattr(config, field.name, getattr(chosen, field.name))
    return config


def load(environ: Mapping[str, str] | None = None, *, env_file: Path | None = ROOT / ".env") -> Settings:
    """Settings from `environ` (default: the process's), over those in `env_file`.

    Raises SettingsError for an unknown SHEAF_* name, a value of the wrong type or out of range, and in production for
    a missing SECRET_KEY.
    """
    values = dict(_read_env_file(env_file))
    values.update(os.environ if environ is None else environ)
    _refuse_unknown(values)
    fields = dataclasses.fields(Settings)
    read: dict[str, Any] = {
        field.name: _convert(field, values[name]) for field in fields if (name := field.metadata["name"]) in values
    }
    loaded = Settings(**read)
    _check_secret(loaded)
    _check_databases(loaded)
    _check_smtp_url(loaded)
    _check_public_url(loaded)
    return loaded


def ensure_secret_key(chosen: Settings) -> None:
    """In development, give `chosen` the secret kept in the data directory (mode 0600), made at the first start."""
    if chosen.secret_key:
        return
    path = chosen.data_path / "secret_key"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        chosen.secret_key = path.read_text(encoding="ascii").strip()
    else:
        chosen.secret_key = secrets.token_urlsafe(48)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(chosen.secret_key)


def _read_env_file(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def _refuse_unknown(values: Mapping[str, str]) -> None:
    known = [field.metadata["name"] for field in dataclasses.fields(Settings)]
    for name in values:
        if name.startswith("SHEAF_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {near[0]}?" if near else "see docs/settings.md for the names there are."
            raise SettingsError(f"Unknown setting {name}: {advice}")


def _convert(field: "dataclasses.Field[Any]", text: str) -> str | int | bool:
    """The value of one setting, checked against its type, choices and range."""
    name, value = field.metadata["name"], text.strip()
    if field.type is bool:
        return _convert_bool(name, value)
    if field.type is int:
        return _convert_int(name, value, field.metadata["minimum"], field.metadata["maximum"])
    choices = cast(tuple[str, ...], field.metadata["choices"])
    if choices and value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(c for c in choices if c)}; got {value!r}.")
    return value


def _convert_bool(name: str, value: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if value.lower() not in words:
        raise SettingsError(f"{name} must be true or false; got {value!r}.")
    return words[value.lower()]


def _convert_int(name: str, value: str, minimum: int, maximum: int) -> int:
    if not value.isascii() or not value.removeprefix("-").isdigit() or not minimum <= int(value) <= maximum:
        raise SettingsError(f"{name} must be a whole number from {minimum} to {maximum}; got {value!r}.")
    return int(value)


def _check_secret(loaded: Settings) -> None:
    if loaded.is_production and not loaded.secret_key:
        raise SettingsError(
            "SECRET_KEY is missing: production needs one. Make it with "
            "`python -c 'import secrets; print(secrets.token_urlsafe(48))'` and keep it the same on every host "
            "(or set SHEAF_ENV=development on your own machine)."
        )
    if loaded.secret_key and len(loaded.secret_key) < 32:
        raise SettingsError("SECRET_KEY is too short: it needs at least 32 characters.")


def _check_databases(loaded: Settings) -> None:
    kept = {"admin", "config", "local"}
    _check_database_name("SHEAF_DATABASE", loaded.database)
    if not loaded.database or loaded.database.lower() in kept:
        raise SettingsError(f"SHEAF_DATABASE must name a database of the service's own; got {loaded.database!r}.")
    for name in sorted(loaded.open_database_names):
        _check_database_name("SHEAF_OPEN_DATABASES", name)
        if name.lower() in {*kept, loaded.database.lower()}:
            raise SettingsError(f"SHEAF_OPEN_DATABASES may not hold {name!r}: it is kept for the system.")


def _check_database_name(setting_name: str, name: str) -> None:
    if len(name.encode()) > MAX_DATABASE_BYTES or not NOT_IN_DATABASE_NAMES.isdisjoint(name):
        raise SettingsError(
            f"{setting_name} holds {name!r}, which MongoDB does not take as the name of a database: it has 1 to "
            f'{MAX_DATABASE_BYTES} bytes and none of / \\ . " $ * < > : | ? or space.'
        )


def _check_smtp_url(loaded: Settings) -> None:
    if loaded.smtp_url and not loaded.smtp_url.startswith(("smtp://", "smtps://")):
        # The value itself may hold a password.
        raise SettingsError("SHEAF_SMTP_URL must begin with smtp:// or smtps://.")


def _check_public_url(loaded: Settings) -> None:
    if loaded.public_url and not PUBLIC_URL.fullmatch(loaded.public_url):
        raise SettingsError(
            f"SHEAF_PUBLIC_URL must be http://... or https://..., without a query; got {loaded.public_url!r}."
        )
    if loaded.is_production and loaded.smtp_url and not loaded.public_url:
        raise SettingsError(
            "SHEAF_PUBLIC_URL is missing: with SHEAF_SMTP_URL production sends e-mails, and their links begin with it. "
            "Set it to where clients reach the service, for instance https://api.example.org."
        )
