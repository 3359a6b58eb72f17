"""HTTP for documents: `/v1/db/{database}/{collection}` and `/{id}`."""

from typing import Any, cast, get_args

from flask import Blueprint, Response

import ejson
import wire
from access.guard import permit, require
from document import models, query, schemas
from document.change import check_document, read_array_filters, read_update
from document.expression import invalid
from document.page import Listing
from errors import DuplicateKey, InvalidInput, RefusedByDatabase, ServerBusy, ValidationFailed
from openapi import describe
from settings import config

blueprint = Blueprint("document", __name__)

DEFAULT_LIMIT = 100
MAX_DOCUMENTS = 10_000
MAX_SKIP = 2**31 - 1
WRITE_ERRORS = (DuplicateKey, RefusedByDatabase, ValidationFailed)


@blueprint.post("/<database>/<collection>")
@describe(
    query={"ordered": schemas.ORDERED},
    body={"oneOf": [schemas.DOCUMENT, {"type": "array", "items": schemas.DOCUMENT, "minItems": 1, "maxItems": 10_000}]},
    answers={201: schemas.INSERTED},
    errors=WRITE_ERRORS,
)
@require("create")
def insert_documents(database: str, collection: str) -> Response:
    """Store one document, or each of an array, and answer with the new ids.

    An object is one document and answers `inserted_id`; an array answers `inserted_ids`. A document without an `_id`
    gets an ObjectId.
    """
    is_ordered = wire.boolean(wire.parameters(), "ordered", default=True)
    body = wire.read_body()
    if not isinstance(body.value, list):
        stored_id = models.insert_one(permit(), _checked(body.value, "", body.may_hold_operators))
        return wire.reply({"inserted_id": stored_id}, 201)
    if not body.value:
        raise InvalidInput("The array holds no document.", [{"path": "", "message": "must not be empty"}])
    if len(body.value) > MAX_DOCUMENTS:
        raise InvalidInput(
            f"The array holds {len(body.value)} documents; send at most {MAX_DOCUMENTS} at once.",
            [{"path": "", "message": f"must hold at most {MAX_DOCUMENTS} documents"}],
        )
    documents = [_checked(value, f"[{index}]", body.may_hold_operators) for index, value in enumerate(body.value)]
    return wire.reply({"inserted_ids": models.insert_many(permit(), documents, is_ordered=is_ordered)}, 201)


@blueprint.get("/<database>/<collection>")
@describe(
    query={
        "filter": schemas.FILTER,
        "sort": schemas.SORT,
        "fields": schemas.FIELDS,
        "limit": schemas.LIMIT,
        "after": schemas.AFTER,
        "skip": schemas.SKIP,
        "count": schemas.COUNT_KIND,
    },
    answers={200: schemas.PAGE},
    errors=(RefusedByDatabase, ServerBusy),
)
@require("read")
def list_documents(database: str, collection: str) -> Response:
    """Find the documents that match `filter`, among those you may read, page by page.

    They come in the order of `sort`, and of `_id` where they tie or no sort is asked for. `next` leads to the next
    page: send it as `after`, with the same filter and sort. It is null on the last page, and in a `Link` header, too.
    """
    found = wire.parameters()
    listing = Listing(
        query.read_filter(found["filter"]) if "filter" in found else {},
        sort=query.read_sort(found["sort"]) if "sort" in found else None,
        fields=query.read_fields(found["fields"]) if "fields" in found else None,
        limit=wire.integer(found, "limit", DEFAULT_LIMIT, minimum=1, maximum=config.max_limit),
        skip=wire.integer(found, "skip", 0, minimum=0, maximum=MAX_SKIP),
        after=found.get("after"),
    )
    return reply_page(listing, read_count_kind(found.get("count", "none")))


@blueprint.get("/<database>/<collection>/<document_id:id>")
@describe(
    query={"id_type": schemas.ID_TYPE, "fields": schemas.FIELDS},
    answers={200: schemas.DOCUMENT},
)
@require("read")
def get_document(database: str, collection: str, id: str) -> Response:
    """Answer one document, bare."""
    found = wire.parameters()
    fields = query.read_fields(found["fields"]) if "fields" in found else None
    form = wire.answer_form()
    return wire.reply_text(
        ejson.encode(models.get(permit(), query.read_id(id, found.get("id_type")), fields), form), form
    )


@blueprint.put("/<database>/<collection>/<document_id:id>")
@describe(
    query={"id_type": schemas.ID_TYPE},
    body=schemas.DOCUMENT,
    answers={200: schemas.UPDATED, 201: schemas.UPDATED},
    errors=WRITE_ERRORS,
)
@require("create", "update")
def replace_document(database: str, collection: str, id: str) -> Response:
    """Replace the document with this id by the one sent, or create it (201).

    Its owner stays the same. An `_id` in the body must be the path's.
    """
    document_id = query.read_id(id, wire.parameters().get("id_type"))
    body = wire.read_body()
    result = models.replace(permit(), document_id, _checked(body.value, "", body.may_hold_operators))
    counts = {"matched_count": result.matched_count, "modified_count": result.modified_count}
    if result.did_upsert:
        return wire.reply({**counts, "upserted_id": document_id}, 201)
    return wire.reply(counts)


@blueprint.patch("/<database>/<collection>/<document_id:id>")
@describe(
    query={"id_type": schemas.ID_TYPE, "array_filters": schemas.ARRAY_FILTERS},
    body={
        "oneOf": [
            {
                "type": "object",
                "description": 'Update operators (`{"$inc": {"n": 1}}`), or a JSON merge patch (RFC 7396).',
            },
            {"type": "array", "items": {"type": "object"}, "minItems": 1, "description": "A pipeline."},
        ]
    },
    answers={200: schemas.UPDATED},
    errors=WRITE_ERRORS,
    content_types=("application/json", "application/merge-patch+json"),
)
@require("update")
def change_document(database: str, collection: str, id: str) -> Response:
    """Change parts of one document.

    A body whose names begin with `$` holds MongoDB's update operators; any other object is a JSON merge patch
    (RFC 7396): null removes a field, objects merge, everything else replaces. An array is a pipeline of `$set`,
    `$unset` and, for admins, `$project` and `$replaceWith`.
    """
    found = wire.parameters()
    document_id = query.read_id(id, found.get("id_type"))
    change = read_update(permit(), wire.read_body().value)
    array_filters = read_array_filters(found["array_filters"], change) if "array_filters" in found else None
    result = models.update(permit(), document_id, change, array_filters)
    return wire.reply({"matched_count": result.matched_count, "modified_count": result.modified_count})


@blueprint.delete("/<database>/<collection>/<document_id:id>")
@describe(query={"id_type": schemas.ID_TYPE}, answers={200: schemas.DELETED})
@require("delete")
def delete_document(database: str, collection: str, id: str) -> Response:
    """Delete one document."""
    document_id = query.read_id(id, wire.parameters().get("id_type"))
    return wire.reply({"deleted_count": models.delete(permit(), document_id).deleted_count})


def reply_page(listing: Listing, kind: models.Count) -> Response:
    """One page, with the way to the next one and, where asked for, how many documents match in all."""
    page = models.find(permit(), listing)
    counted = models.count(permit(), listing, kind)
    total = {} if counted is None else {"count": counted}
    return wire.reply_list(
        "documents", page, lambda: {**page.next_member(), **total}, if_empty=query.id_hint(listing.query)
    )


def read_count_kind(value: Any) -> models.Count:
    """Whether, and how, all that match are counted."""
    if value not in get_args(models.Count):
        raise invalid("count", f"must be none, estimated or exact; got {str(value)[:40]!r}")
    return cast(models.Count, value)


def _checked(value: Any, path: str, may_hold_operators: bool) -> dict[str, Any]:
    # The walk over every field is spared where the text cannot have held a name that begins with $.
    if may_hold_operators or not isinstance(value, dict):
        return check_document(value, path)
    return value
