"""JSON Schemas of what the document routes take and answer."""

from typing import Any

Schema = dict[str, Any]

DOCUMENT: Schema = {
    "title": "Document",
    "type": "object",
    "description": "A document as Extended JSON v2.",
    "additionalProperties": True,
}
INSERTED: Schema = {
    "title": "Inserted",
    "type": "object",
    "oneOf": [{"required": ["inserted_id"]}, {"required": ["inserted_ids"]}],
    "properties": {
        "inserted_id": {"description": "The new document's `_id`."},
        "inserted_ids": {"type": "array", "description": "The new documents' ids, in the order sent."},
    },
}
COUNT: Schema = {
    "description": 'A whole number; `{"$numberInt": "1"}` in canonical form.',
    "type": ["integer", "object"],
}
NEXT: Schema = {"type": ["string", "null"], "description": "To be sent as `after`; null on the last page."}
HINT: Schema = {"type": "string", "description": "Why nothing may have been found."}
PAGE: Schema = {
    "title": "Page",
    "type": "object",
    "required": ["documents", "next"],
    "properties": {
        "documents": {"type": "array", "items": DOCUMENT},
        "next": NEXT,
        "count": COUNT,
        "hint": HINT,
    },
}
UPDATED: Schema = {
    "title": "Updated",
    "type": "object",
    "required": ["matched_count", "modified_count"],
    "properties": {
        "matched_count": COUNT,
        "modified_count": COUNT,
        "upserted_id": {"description": "The `_id` of the document that was created."},
    },
}
DELETED: Schema = {
    "title": "Deleted",
    "type": "object",
    "required": ["deleted_count"],
    "properties": {"deleted_count": COUNT},
}
ID_TYPE: Schema = {
    "type": "string",
    "enum": ["oid", "string", "int", "long", "double", "date", "uuid"],
    "description": "Type of the `_id` in the path. Without it, 24 hex digits are an ObjectId, all else a string.",
}
FILTER: Schema = {"type": "string", "description": 'A MongoDB filter as Extended JSON: `{"price": {"$lt": 10}}`.'}
SORT: Schema = {"type": "string", "description": '`{"created": -1, "name": 1}` or `-created,name`.'}
FIELDS: Schema = {"type": "string", "description": '`{"name": 1}`, `{"big": 0}` or `name,price`.'}
LIMIT: Schema = {"type": "integer", "minimum": 1, "default": 100, "description": "At most SHEAF_MAX_LIMIT (1000)."}
AFTER: Schema = {
    "type": "string",
    "description": "`next` of the page before, of the same filter and sort; not with `skip`.",
}
SKIP: Schema = {"type": "integer", "minimum": 0, "default": 0}
ARRAY_FILTERS: Schema = {
    "type": "string",
    "description": 'Which items `$[name]` in update operators stands for, as an array: `[{"name.price": {"$gt": 5}}]`.',
}
COUNT_KIND: Schema = {
    "type": "string",
    "enum": ["none", "estimated", "exact"],
    "default": "none",
    "description": "Whether `count` is answered, of all that match. `estimated` costs little: with a filter, or for "
    "users who see only their own, it counts to 10,000 and no further.",
}
ORDERED: Schema = {
    "type": "boolean",
    "default": True,
    "description": "Whether the first document that fails ends the insert.",
}
