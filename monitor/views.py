"""Whether the process is alive, and whether it can serve. For load balancers and people on call."""

from flask import Blueprint, Response

import wire
from access.guard import public
from monitor import models
from openapi import VERSION, describe

blueprint = Blueprint("monitor", __name__)

HEALTH = {
    "title": "Health",
    "type": "object",
    "required": ["status", "version"],
    "properties": {"status": {"const": "ok"}, "version": {"type": "string", "examples": [VERSION]}},
    "additionalProperties": False,
}
CHECK = {
    "title": "Check",
    "type": "object",
    "required": ["ok"],
    "properties": {"ok": {"type": "boolean"}, "reason": {"type": "string"}},
    "additionalProperties": False,
}
READINESS = {
    "title": "Readiness",
    "type": "object",
    "required": ["status", "checks", "change_streams", "watcher"],
    "properties": {
        "status": {"enum": ["ready", "unready"]},
        "checks": {
            "type": "object",
            "required": ["database"],
            "properties": {"database": CHECK, "migrations": CHECK},
            "additionalProperties": False,
        },
        "change_streams": {"type": "boolean", "description": "False on a standalone MongoDB."},
        "watcher": {
            "enum": ["current", "fallback"],
            "description": "Whether the change stream keeps this process's caches, or their age does. It is `fallback` "
            "too until the process has seen its first credential.",
        },
    },
    "additionalProperties": False,
}


@blueprint.get("/health")
@public
@describe(answers={200: HEALTH})
def read_health() -> Response:
    """Say that the process is alive.

    Touches no database: a restart would not mend one that is away.
    """
    return wire.reply({"status": "ok", "version": VERSION})


@blueprint.get("/ready")
@public
@describe(answers={200: READINESS, 503: READINESS})
def read_readiness() -> Response:
    """Say whether requests can be served: 200, or 503 with the reason.

    Needed are a database that takes writes and no pending migration. The other members are for information: a
    standalone MongoDB has no change streams and is ready all the same.
    """
    found = models.check_readiness()
    answer = {
        "status": "ready" if found.is_ready else "unready",
        "checks": {check.name: _show(check) for check in found.checks},
        "change_streams": found.has_change_streams,
        "watcher": "current" if found.is_watcher_current else "fallback",
    }
    return wire.reply(answer, status=200 if found.is_ready else 503)


def _show(check: models.Check) -> dict[str, object]:
    return {"ok": check.is_ok, "reason": check.reason} if check.reason else {"ok": check.is_ok}
