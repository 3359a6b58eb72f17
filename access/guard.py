"""Decorators that say who may use a route. Every view carries exactly one of them; a test walks the URL map."""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast, get_args

from flask import g, request

from access.models import Action, Permit, decide
from errors import Forbidden, InvalidInput, Unauthorized
from user import tokens
from user.principal import ANONYMOUS, Principal

View = TypeVar("View", bound=Callable[..., Any])
Need = Literal["session", "admin"] | Action
ACTIONS = frozenset(get_args(Action))
KEY_HEADERS = ("HTTP_X_API_KEY", "HTTP_API_KEY", "HTTP_APIKEY")


def public(view: View) -> View:
    """Anybody may call this route; the guard does not look at credentials, only a view itself may."""
    cast(Any, view).access = "public"
    return view


def require(*needs: Need) -> Callable[[View], View]:
    """Only callers who meet all of `needs` reach the view.

    "session": signed in with an access token (API keys are for documents only). "admin": such a user with the role
    admin. "read", "create", "update", "delete": may do that with the documents of the route's database and collection;
    `permit()` then says which documents.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            _check_path(request.environ["PATH_INFO"])
            found = authenticate(request.environ)
            for need in needs:
                _check(found, need, kwargs)
            return view(*args, **kwargs)

        cast(Any, guarded).access = "require:" + ",".join(needs)
        return cast(View, guarded)

    return decorate


def authenticate(environ: dict[str, Any]) -> Principal:
    """The caller that the request's headers prove; anonymous without any. Raises Unauthorized for a bad credential.

    A bearer token that is there and bad fails the request: no other credential is tried after it. Other Authorization
    schemes are ignored.
    """
    found = _authenticate(environ)
    environ["sheaf.principal"] = found
    return found


def _authenticate(environ: dict[str, Any]) -> Principal:
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        return tokens.authenticate_bearer(token.strip())
    for header in KEY_HEADERS:
        if header in environ:
            return tokens.authenticate_key(environ[header].strip())
    return ANONYMOUS


def principal() -> Principal:
    """The caller of the current request, on a route with `require`."""
    return cast(Principal, request.environ["sheaf.principal"])


def permit() -> Permit:
    """What the caller may do with the route's collection, on a route that requires a document action."""
    return cast(Permit, g.permit)


def _check_path(path: str) -> None:
    """Refuse a path that is not UTF-8, whose names would be read as something else. WSGI has its bytes as Latin-1."""
    if not path.isascii():
        try:
            path.encode("latin-1").decode("utf-8")
        except UnicodeError:
            raise InvalidInput("The path is not valid UTF-8.") from None


def _check(found: Principal, need: Need, names: dict[str, str]) -> None:
    if need in ACTIONS:
        g.permit = decide(found, cast(Action, need), names["database"], names["collection"])
        return
    if found.is_anonymous:
        raise Unauthorized("Sign in first: send an access token as `Authorization: Bearer ...`.")
    if found.kind == "key":
        raise Forbidden("API keys are for documents; this needs an access token from POST /v1/sessions.")
    if need == "admin" and not found.is_admin:
        raise Forbidden("Only admins may do this.")
