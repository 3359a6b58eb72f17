"""Settings of gunicorn: read by `gunicorn "application:create_app()"` and by `runserver --server gunicorn`.

Workers load the application after the fork, so that each has a connection pool of its own.
"""

import sys

import settings

try:
    _chosen = settings.load()
except settings.SettingsError as failure:
    sys.exit(f"Error: {failure}")

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
