"""Settings of gunicorn: read by `gunicorn "application:create_app()"` and by `runserver --server gunicorn`.

The master makes the database ready before the first worker starts. Workers load the application after the fork, so that
each has a connection pool of its own.
"""

import sys
from typing import Any

import settings
import startup

try:
    _chosen = settings.load()
    # Workers read the settings anew; they are told of the local mongod, which commands find by themselves.
    raw_env = [] if _chosen.mongodb_uri else [f"MONGODB_URI={startup.find_database(_chosen)}"]
except startup.FORESEEN as failure:
    sys.exit(f"Error: {startup.describe_failure(failure)}")

# Said outright: it must not change when the local mongod's URI is filled in.
raw_env.append(f"SHEAF_ENV={'production' if _chosen.is_production else 'development'}")
bind = f"[{_chosen.host}]:{_chosen.port}" if ":" in _chosen.host else f"{_chosen.host}:{_chosen.port}"
workers = _chosen.workers
worker_class = "gthread"
threads = _chosen.threads
worker_connections = 4096
backlog = 2048
keepalive = 30
# The most that gunicorn takes; longer filters go into a body.
limit_request_line = 8190
graceful_timeout = _chosen.shutdown_seconds
# A worker's main loop reports even while its threads work; only one that hangs is replaced.
timeout = 60
# The application logs each request itself.
accesslog = None
loglevel = "warning"
control_socket_disable = True


def on_starting(server: Any) -> None:
    """In the master, before there are workers: wait for the database, apply migrations, as `runserver` does."""
    try:
        settings.ensure_secret_key(_chosen)
        startup.migrate(_chosen, startup.WAIT_SECONDS)
    except startup.FORESEEN as failure:
        sys.exit(f"Error: {startup.describe_failure(failure)}")
    finally:
        # A connection must not be taken along into the workers.
        startup.close_database()
