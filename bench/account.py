"""The accounts that requests to our own service are made as: signed up and signed in over HTTP, like anybody's.

`owner` owns the seeded documents, `admin` is above the owner rule, `other` must see nothing.
"""

import json
import secrets
import subprocess
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bench import BenchError
from bench.adapter import Adapter, substitute
from bench.service import send
from bench.workload import Request

NAMES = ("owner", "admin", "other")


class Accounts:
    """The accounts of one run; their passwords are known to it alone."""

    def __init__(self) -> None:
        self._passwords = {name: secrets.token_urlsafe(24) for name in NAMES}
        self._ids: dict[str, str] = {}

    def sign_up(self, adapter: Adapter, variables: Mapping[str, str]) -> None:
        """Create all of them in the running service."""
        for name in NAMES:
            body = {"username": name, "password": self._passwords[name]}
            self._ids[name] = _post(adapter, "/v1/users", body, 201)["id"]
        # There is no way to become an admin over HTTP without one.
        environment = {name: substitute(value, variables) for name, value in adapter.env.items()}
        subprocess.run(
            [variables["PYTHON"], "manage.py", "user", "promote", "admin"],
            cwd=adapter.cwd,
            env={**variables, **environment},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def id_of(self, name: str) -> str:
        """The id of a signed-up account."""
        return self._ids[name]

    def sign_in(self, adapter: Adapter, name: str) -> str:
        """A new access token."""
        body = {"login": name, "password": self._passwords[name]}
        # Sessions are created, so 201 would do as well; what counts is the token.
        return str(_post(adapter, "/v1/sessions", body, 200, 201)["access_token"])


def _post(adapter: Adapter, path: str, body: dict[str, str], *expected: int) -> dict[str, Any]:
    encoded = json.dumps(body).encode()
    headers = {"Host": urlsplit(adapter.base_url).netloc, "Content-Type": "application/json"}
    status, answer = send(adapter.base_url, Request("POST", path, headers, encoded))
    if status not in expected:
        raise BenchError(f"{adapter.name} answered {status} to POST {path}: {answer[:300].decode(errors='replace')}")
    found: dict[str, Any] = json.loads(answer)
    return found
