"""`describe`: what a view takes and answers, said beside the view. reference/document.py makes the document from it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from errors import ApiError

# Of the service and its API; CHANGELOG.md says what each one brought.
VERSION = "0.1.0"

Schema = Mapping[str, Any]
View = TypeVar("View", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Description:
    """What one view takes and answers."""

    query: Mapping[str, Schema]
    """Query parameters by name; a schema with `required: True` beside its keywords marks one that must be sent."""
    body: Schema | None
    answers: Mapping[int, Schema | None]
    """Schema of the JSON body per success status; None for an answer without a body."""
    errors: tuple[type[ApiError], ...]
    """Failures of this route's own; those every route can meet are added in the document."""
    content_types: tuple[str, ...]


def describe(
    *,
    answers: Mapping[int, Schema | None],
    query: Mapping[str, Schema] | None = None,
    body: Schema | None = None,
    errors: tuple[type[ApiError], ...] = (),
    content_types: tuple[str, ...] = ("application/json",),
) -> Callable[[View], View]:
    """Say what a view takes and answers. `query` is also what `wire.parameters` admits; summary and description are
    the view's docstring."""

    def decorate(view: View) -> View:
        cast(Any, view).description = Description(query or {}, body, answers, errors, content_types)
        return view

    return decorate
