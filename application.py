"""The application factory: settings, database, blueprints, error handler and middleware, put together only here.

Served by `granian --interface wsgi --factory application:create_app` or `gunicorn "application:create_app()"`.
"""

from flask import Blueprint, Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

import database
import errors
import settings
from document.hot_path import HotPath
from document.path import DocumentId
from document.query_views import blueprint as query
from document.views import blueprint as document
from monitor.log_format import configure_logging
from monitor.request_log import RequestLog, WsgiApp
from monitor.views import blueprint as monitor
from reference.views import blueprint as reference
from settings import Settings, config
from user.key_views import blueprint as key
from user.session_views import blueprint as session
from user.views import blueprint as user

# The one list of URL prefixes.
BLUEPRINTS: tuple[tuple[Blueprint, str], ...] = (
    (user, "/v1/users"),
    (session, "/v1/sessions"),
    (key, "/v1/keys"),
    (document, "/v1/db"),
    (query, "/v1/db"),
    (monitor, ""),
    (reference, ""),
)


def create_app(chosen: Settings | None = None, *, time_limit_seconds: int | None = None) -> Flask:
    """The WSGI application of this process, bound to the database that the settings name (default: the environment's).

    `time_limit_seconds` replaces the setting for commands that may take longer than a request. Raises SettingsError.
    """
    settings.use(chosen or settings.load())
    settings.ensure_secret_key(config)
    configure_logging()
    app = Flask("sheaf", static_folder=None)
    # A path is taken as it was sent: no redirects that would turn a POST into a GET.
    app.url_map.merge_slashes = False
    app.url_map.converters["document_id"] = DocumentId
    database.connect(app, time_limit_seconds=time_limit_seconds)
    for blueprint, prefix in BLUEPRINTS:
        app.register_blueprint(blueprint, url_prefix=prefix)
    app.register_error_handler(Exception, answer_failure)
    app.wsgi_app = RequestLog(HotPath(_behind_proxies(app.wsgi_app)))  # type: ignore[method-assign]
    return app


def _behind_proxies(wsgi_app: WsgiApp) -> WsgiApp:
    """`wsgi_app`, told the client's address by as many proxies as the settings trust."""
    count = config.trusted_proxies
    return ProxyFix(wsgi_app, x_for=count, x_proto=count, x_host=0) if count else wsgi_app


def answer_failure(failure: Exception) -> Response:
    """Answer any exception as problem details."""
    status, headers, body = errors.answer(failure, request.environ["sheaf.request_id"])
    return Response(body, status, headers)
