"""Documents stored, found and changed, always within a permit: its filter goes into every query for MongoDB to enforce.

Reading answers raw BSON, which `ejson` turns into text in one pass.
"""

from collections.abc import Iterator
from typing import Any, Literal, cast

from bson import ObjectId
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.results import DeleteResult, UpdateResult

from access.models import OWNER_FIELD, Permit
from document import aggregation
from document.change import Update, stamped
from document.collection import ensure_collection, open_collection
from document.page import Listing, Page
from document.query import combine
from errors import ApiError, InvalidInput, NotFound, translate_database_error

Document = dict[str, Any]
Count = Literal["none", "estimated", "exact"]

MAX_ESTIMATE = 10_000


def insert_one(permit: Permit, document: Document) -> Any:
    """Store one document and answer its `_id`, an ObjectId where it had none."""
    ensure_collection(permit)
    return open_collection(permit).insert_one(stamped(permit, document)).inserted_id


def insert_many(permit: Permit, documents: list[Document], *, is_ordered: bool) -> list[Any]:
    """Store all documents and answer their ids in order.

    When one fails, an ordered insert stops there and keeps those before it, an unordered one keeps all others. The
    failure names each document that was refused, and `inserted_count`.
    """
    ensure_collection(permit)
    prepared = [stamped(permit, document) for document in documents]
    try:
        return open_collection(permit).insert_many(prepared, ordered=is_ordered).inserted_ids
    except BulkWriteError as failure:
        raise _partial_insert(failure, is_ordered=is_ordered) from failure


def find(permit: Permit, listing: Listing) -> Page:
    """One page of the matching documents."""
    return Page(permit, listing)


def count(permit: Permit, listing: Listing, kind: Count) -> int | None:
    """How many documents match, in all; an estimate counts none, or no more than MAX_ESTIMATE."""
    if kind == "none":
        return None
    is_whole = not combine(permit, listing.query) and "hint" not in listing.options
    if kind == "estimated" and is_whole:
        return open_collection(permit).estimated_document_count()
    limit = MAX_ESTIMATE if kind == "estimated" else None
    return aggregation.count(permit, listing.query, listing.options, limit=limit)


def get(permit: Permit, document_id: Any, fields: Document | None = None) -> bytes:
    """One document as raw BSON, or NotFound."""
    target = open_collection(permit)
    batches = cast(Iterator[bytes], target.find_raw_batches(combine(permit, {"_id": document_id}), fields, limit=-1))
    found = next(batches, b"")
    if not found:
        raise _not_found(permit, document_id)
    return found


def replace(permit: Permit, document_id: Any, document: Document) -> UpdateResult:
    """Store `document` under the id in place of the one there, or as a new one; its owner stays who it was."""
    if document.get("_id", document_id) != document_id:
        raise InvalidInput(
            "The document's _id is not the one in the path.", [{"path": "_id", "message": "must be the path's id"}]
        )
    ensure_collection(permit)
    target = open_collection(permit)
    query = combine(permit, {"_id": document_id})
    try:
        if permit.stamp and not permit.readonly and OWNER_FIELD not in document:
            return target.update_one(query, [_replacement_of_same_owner(permit, document)], upsert=True)
        return target.replace_one(query, stamped(permit, document), upsert=True)
    except DuplicateKeyError as failure:
        # The id is there, but outside the permit: for this caller such a document does not exist.
        if permit.filter and (failure.details or {}).get("keyPattern") == {"_id": 1}:
            raise _not_found(permit, document_id) from None
        raise


def update(
    permit: Permit, document_id: Any, change: Update, array_filters: list[Document] | None = None
) -> UpdateResult:
    """Change one document, or NotFound. `array_filters` say which items `$[name]` in the change stands for."""
    target = open_collection(permit)
    result = target.update_one(combine(permit, {"_id": document_id}), change, array_filters=array_filters)
    if not result.matched_count:
        raise _not_found(permit, document_id)
    return result


def delete(permit: Permit, document_id: Any) -> DeleteResult:
    """Delete one document, or NotFound."""
    result = open_collection(permit).delete_one(combine(permit, {"_id": document_id}))
    if not result.deleted_count:
        raise _not_found(permit, document_id)
    return result


def _replacement_of_same_owner(permit: Permit, document: Document) -> Document:
    """The pipeline stage by which an admin replaces a document without taking it from its owner."""
    owner = {OWNER_FIELD: {"$ifNull": [f"${OWNER_FIELD}", permit.stamp[OWNER_FIELD]]}}
    return {"$replaceWith": {"$mergeObjects": [{"$literal": document}, owner]}}


def _not_found(permit: Permit, document_id: Any) -> NotFound:
    hint = "; it was looked up as an ObjectId, not as text (id_type=string)" if type(document_id) is ObjectId else ""
    return NotFound(f"You may use no document with this id in {permit.database}.{permit.collection}{hint}.")


def _partial_insert(failure: BulkWriteError, *, is_ordered: bool) -> ApiError:
    details = failure.details or {}
    problem = translate_database_error(failure)
    errors = details.get("writeErrors", [])
    problem.errors = [{"path": f"[{error['index']}]", "message": _reason(error)} for error in errors]
    problem.extra["inserted_count"] = details.get("nInserted", 0)
    if is_ordered and errors:
        stopped = f"The insert stopped at document {errors[0]['index']}; those before it are stored."
    else:
        stopped = f"{len(errors)} of the documents could not be stored; all others are."
    problem.detail = f"{stopped} Reason: {problem.detail}"
    return problem


def _reason(error: dict[str, Any]) -> str:
    if error.get("code") == 11000:
        return f"has the same {', '.join(error.get('keyPattern', {'_id': 1}))} as a stored document"
    return f"was refused by the database (code {error.get('code')})"
