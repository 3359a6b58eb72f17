"""What the API takes and answers, for programs and for people."""

from collections.abc import Callable

import orjson
from flask import Blueprint, Flask, Response, current_app, render_template, request

from access.guard import public
from openapi import describe
from reference import document, page
from settings import PUBLIC_URL, config

blueprint = Blueprint("reference", __name__, template_folder="templates")
blueprint.add_app_template_filter(page.with_code, "with_code")

OPENAPI = {"type": "object", "required": ["openapi", "paths"], "description": "An OpenAPI 3.1 document."}


@blueprint.get("/openapi.json")
@public
@describe(answers={200: OPENAPI})
def read_openapi() -> Response:
    """Describe every route for programs: an OpenAPI 3.1 document."""
    return _cacheable(_kept("openapi.json", _render_openapi), "application/json")


@blueprint.get("/docs")
@public
@describe(answers={200: None}, content_types=("text/html",))
def read_reference() -> Response:
    """Describe every route and error for people: one page, without scripts, that loads nothing else."""
    body = _kept("docs", _render_page).replace(page.URL_MARK.encode(), _find_url().encode())
    response = _cacheable(body, "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = page.CONTENT_SECURITY_POLICY
    return response


def _find_url() -> str:
    """Where the reader reaches the service, safe in a page and in a shell: the public URL, else the request's own."""
    asked = request.host_url.rstrip("/")
    return config.public_url.rstrip("/") or (asked if PUBLIC_URL.fullmatch(asked) else config.local_url)


def _kept(name: str, render: Callable[[Flask], bytes]) -> bytes:
    """What `render` makes, made once per application: routes do not change while it runs."""
    kept: dict[str, bytes] = current_app.extensions.setdefault("sheaf.reference", {})
    if name not in kept:
        kept[name] = render(current_app)
    return kept[name]


def _render_openapi(app: Flask) -> bytes:
    return orjson.dumps(document.build(app))


def _render_page(app: Flask) -> bytes:
    return render_template(
        "reference.html", page=page.build(document.build(app)), style=page.STYLE, url=page.URL_MARK
    ).encode()


def _cacheable(body: bytes, content_type: str) -> Response:
    """An answer that is the same for everybody; a browser asks whether its copy is still good."""
    response = Response(body, content_type=content_type, headers={"Cache-Control": "no-cache"})
    response.add_etag()
    response.make_conditional(request)
    return response
