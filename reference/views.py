"""What the API takes and answers, for programs and for people."""

from collections.abc import Callable

import orjson
from flask import Blueprint, Flask, Response, current_app, render_template, request

from access.guard import public
from openapi import describe
from reference import document, page

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
    response = _cacheable(_kept("docs", _render_page), "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = page.CONTENT_SECURITY_POLICY
    return response


def _kept(name: str, render: Callable[[Flask], bytes]) -> bytes:
    """What `render` makes, made once per application: routes do not change while it runs."""
    kept: dict[str, bytes] = current_app.extensions.setdefault("sheaf.reference", {})
    if name not in kept:
        kept[name] = render(current_app)
    return kept[name]


def _render_openapi(app: Flask) -> bytes:
    return orjson.dumps(document.build(app))


def _render_page(app: Flask) -> bytes:
    return render_template("reference.html", page=page.build(document.build(app)), style=page.STYLE).encode()


def _cacheable(body: bytes, content_type: str) -> Response:
    """An answer that is the same for everybody; a browser asks whether its copy is still good."""
    response = Response(body, content_type=content_type, headers={"Cache-Control": "no-cache"})
    response.add_etag()
    response.make_conditional(request)
    return response
