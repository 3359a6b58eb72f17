"""HTTP for queries: `/v1/db/{database}/{collection}/_query`, `_aggregate`, `_count`, `_distinct` and `_explain`."""

from typing import Any

from flask import Blueprint, Response

import wire
from access.guard import permit, principal, require
from document import aggregation, models, query, query_schemas
from document.expression import check_filter, invalid
from document.page import Listing
from document.pipeline import confine_pipeline
from document.views import DEFAULT_LIMIT, MAX_SKIP, read_count_kind, reply_page
from errors import (
    Conflict,
    DuplicateKey,
    Forbidden,
    InvalidInput,
    RefusedByDatabase,
    ServerBusy,
    TimeLimitExceeded,
    ValidationFailed,
)
from openapi import describe
from settings import config

blueprint = Blueprint("query", __name__)

MAX_COUNT = 2**53
FIND_MEMBERS = ("filter", "sort", "fields", "limit", "skip", "collation", "hint", "let", "comment")
PIPELINE_MEMBERS = ("let", "collation", "hint", "comment")
ERRORS = (RefusedByDatabase, ServerBusy, TimeLimitExceeded)


@blueprint.post("/<database>/<collection>/_query")
@describe(body=query_schemas.QUERY, answers={200: query_schemas.FOUND}, errors=ERRORS)
@require("read")
def query_documents(database: str, collection: str) -> Response:
    """Find documents, as the list does, with everything in the body: long filters, `let`, `collation`, `hint`.

    `next` leads to the next page: send it as `after`, with the same filter, sort, `hint` and `let`. With a `collation`
    there is no `next`.

    Where nothing is found and the filter compares `_id` with text of 24 hexadecimal digits, `hint` in the answer says
    how to send an ObjectId.
    """
    wire.parameters()
    sent = wire.read_object(max_bytes=config.max_body_bytes, optional=(*FIND_MEMBERS, "after", "count"))
    return reply_page(_listing(sent), read_count_kind(sent.get("count", "none")))


@blueprint.post("/<database>/<collection>/_aggregate")
@describe(
    body=query_schemas.AGGREGATE,
    answers={200: query_schemas.DOCUMENTS},
    errors=(*ERRORS, Conflict, DuplicateKey, ValidationFailed),
)
@require("read")
def aggregate_documents(database: str, collection: str) -> Response:
    """Run an aggregation pipeline over the documents you may read, and answer all that it yields.

    Each other collection that a stage reads is narrowed to what you may read of it. `$out` and `$merge` are for those
    who may change every document of the target, `allow_disk_use` is for admins. The answer is streamed, without a
    limit but that of time.
    """
    wire.parameters()
    sent = wire.read_object(
        max_bytes=config.max_body_bytes, required=("pipeline",), optional=(*PIPELINE_MEMBERS, "allow_disk_use")
    )
    may_use_disk = sent.get("allow_disk_use", False)
    if not isinstance(may_use_disk, bool):
        raise invalid("allow_disk_use", "must be true or false")
    if may_use_disk and not principal().is_admin:
        raise Forbidden("Only admins may use the disk.", [{"path": "allow_disk_use", "message": "is for admins"}])
    options = query.read_options(permit(), sent)
    pipeline = confine_pipeline(
        principal(), permit(), sent["pipeline"], has_collation="collation" in options, may_write=True
    )
    return wire.reply_list("documents", aggregation.aggregate(permit(), pipeline, options, may_use_disk=may_use_disk))


@blueprint.post("/<database>/<collection>/_count")
@describe(body=query_schemas.COUNT, answers={200: query_schemas.COUNTED}, errors=ERRORS)
@require("read")
def count_documents(database: str, collection: str) -> Response:
    """Count the documents that match, exactly, and within the time limit; no further than `limit`."""
    wire.parameters()
    sent = wire.read_object(
        max_bytes=config.max_body_bytes, optional=("filter", "collation", "hint", "limit", "let", "comment")
    )
    wanted = _filter(sent)
    limit = wire.whole_number(sent, "limit", 0, minimum=1, maximum=MAX_COUNT) or None
    found = aggregation.count(permit(), wanted, query.read_options(permit(), sent), limit=limit)
    return wire.reply({"count": found, **({} if found else query.id_hint(wanted))})


@blueprint.post("/<database>/<collection>/_distinct")
@describe(body=query_schemas.DISTINCT, answers={200: query_schemas.VALUES}, errors=ERRORS)
@require("read")
def list_distinct_values(database: str, collection: str) -> Response:
    """List the different values that a field has in the documents that match.

    Items of arrays count one by one. All values together may have 16 MB; `$group` in a pipeline has no such limit.
    """
    wire.parameters()
    sent = wire.read_object(
        max_bytes=config.max_body_bytes, required=("field",), optional=("filter", "collation", "comment")
    )
    field, wanted = sent["field"], _filter(sent)
    if not isinstance(field, str) or not field or field.startswith("$"):
        raise invalid("field", "must be the name of a field")
    values = aggregation.find_distinct(permit(), field, wanted, query.read_options(permit(), sent))
    return wire.reply({"values": values, **({} if values else query.id_hint(wanted))})


@blueprint.post("/<database>/<collection>/_explain")
@describe(body=query_schemas.EXPLAIN, answers={200: query_schemas.EXPLAINED}, errors=ERRORS)
@require("read")
def explain_query(database: str, collection: str) -> Response:
    """Say how MongoDB would run a query or a pipeline: which plan it takes, over which index.

    Whom a rule keeps from a part of the documents gets the outlines of all possible `plans`, in no order, since the
    choice and the cost of a plan depend on documents of others.
    """
    wire.parameters()
    sent = wire.read_object(
        max_bytes=config.max_body_bytes, optional=("query", "pipeline", "verbosity", *PIPELINE_MEMBERS)
    )
    verbosity = sent.get("verbosity", "queryPlanner")
    if verbosity not in ("queryPlanner", "executionStats"):
        raise invalid("verbosity", "must be queryPlanner or executionStats")
    if ("query" in sent) == ("pipeline" in sent):
        raise InvalidInput("Send either query or pipeline.", [{"path": "query", "message": "or pipeline is wanted"}])
    command = _pipeline_command(sent) if "pipeline" in sent else _find_command(sent)
    return wire.reply(aggregation.explain(permit(), command, verbosity))


def _pipeline_command(sent: dict[str, Any]) -> dict[str, Any]:
    options = query.read_options(permit(), sent)
    pipeline = confine_pipeline(principal(), permit(), sent["pipeline"], has_collation="collation" in options)
    return aggregation.aggregate_command(permit(), pipeline, options)


def _find_command(sent: dict[str, Any]) -> dict[str, Any]:
    asked = sent["query"]
    beside = next((name for name in PIPELINE_MEMBERS if name in sent), None)
    if not isinstance(asked, dict):
        raise invalid("query", "must be a JSON object")
    stranger = next((f"query.{name}" for name in asked if name not in FIND_MEMBERS), beside)
    if stranger is not None:
        raise invalid(stranger, "is not known here")
    listing = _listing(asked)
    sort = models.find(permit(), listing).sort
    options = {
        **listing.options,
        **({"sort": dict(sort)} if sort else {}),
        **({"projection": listing.fields} if listing.fields else {}),
        "limit": listing.limit,
        "skip": listing.skip,
    }
    return aggregation.find_command(permit(), listing.query, options)


def _listing(sent: dict[str, Any]) -> Listing:
    after = sent.get("after")
    if "after" in sent and not isinstance(after, str):
        raise invalid("after", "must be text: the `next` of the page before")
    return Listing(
        _filter(sent),
        sort=_sort(sent),
        fields=_fields(sent),
        limit=wire.whole_number(sent, "limit", DEFAULT_LIMIT, minimum=1, maximum=config.max_limit),
        skip=wire.whole_number(sent, "skip", 0, minimum=0, maximum=MAX_SKIP),
        after=after,
        options=query.read_options(permit(), sent),
    )


def _filter(sent: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = sent.get("filter", {})
    check_filter(wanted, "filter")
    return wanted


def _sort(sent: dict[str, Any]) -> list[tuple[str, Any]] | None:
    if "sort" not in sent:
        return None
    sort = sent["sort"]
    return query.read_sort(sort) if isinstance(sort, str) else query.check_sort(sort)


def _fields(sent: dict[str, Any]) -> dict[str, Any] | None:
    if "fields" not in sent:
        return None
    fields = sent["fields"]
    return query.read_fields(fields) if isinstance(fields, str) else query.check_fields_wanted(fields)
