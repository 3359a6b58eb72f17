"""The signed-in caller of a route with `@require("session")` or `@require("admin")`."""

from typing import cast

from bson import ObjectId

from access.guard import principal
from user import models
from user.models import User


def user_id() -> ObjectId:
    """The caller's id."""
    return cast(ObjectId, principal().user_id)


def session_id() -> ObjectId:
    """The session whose access token the caller sent."""
    return cast(ObjectId, principal().session_id)


def user() -> User:
    """The caller's account as it is stored now."""
    return models.get_user(user_id())
