"""JSON Schemas of what the query routes take and answer."""

from typing import Any

from document import schemas

Schema = dict[str, Any]

FILTER: Schema = {
    "type": "object",
    "description": "A MongoDB filter as Extended JSON.",
    "examples": [{"price": {"$lt": 10}}],
}
PIPELINE: Schema = {
    "type": "array",
    "items": {"type": "object"},
    "description": "Stages of an aggregation, at most 100, those of inner pipelines included.",
    "examples": [[{"$group": {"_id": "$author", "books": {"$sum": 1}}}]],
}
OPTIONS: Schema = {
    "collation": {"type": "object", "description": 'How text compares: `{"locale": "de", "strength": 1}`.'},
    "hint": {"type": ["string", "object"], "description": "The index to use: its name, or its fields."},
    "let": {"type": "object", "description": "Variables for expressions: `$$name`."},
    "comment": {"type": "string", "maxLength": 200, "description": "Text for the database's log."},
}
LIMIT: Schema = {"type": "integer", "minimum": 1, "description": "At most SHEAF_MAX_LIMIT (1000). Default: 100."}
FIND: Schema = {
    "title": "Find",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "filter": FILTER,
        "sort": {"type": ["object", "string"], "description": schemas.SORT["description"], "examples": ["-price"]},
        "fields": {"type": ["object", "string"], "description": schemas.FIELDS["description"], "examples": ["price"]},
        "limit": LIMIT,
        "skip": schemas.SKIP,
        **OPTIONS,
    },
    "example": {"filter": {"price": {"$lt": 10}}, "sort": {"price": -1}},
}
AFTER: Schema = {
    "type": "string",
    "description": "`next` of the page before, of the same filter, sort, `hint` and `let`; not with `skip` or "
    "`collation`.",
}
QUERY: Schema = {
    **FIND,
    "title": "Query",
    "properties": {**FIND["properties"], "after": AFTER, "count": schemas.COUNT_KIND},
}
AGGREGATE: Schema = {
    "title": "Aggregate",
    "type": "object",
    "additionalProperties": False,
    "required": ["pipeline"],
    "properties": {
        "pipeline": PIPELINE,
        **OPTIONS,
        "allow_disk_use": {"type": "boolean", "description": "For admins: sort and group more than fits in memory."},
    },
}
COUNT: Schema = {
    "title": "Count",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "filter": FILTER,
        "limit": {"type": "integer", "minimum": 1, "description": "Count no further."},
        **OPTIONS,
    },
    "example": {"filter": {"price": {"$lt": 10}}},
}
DISTINCT: Schema = {
    "title": "Distinct",
    "type": "object",
    "additionalProperties": False,
    "required": ["field"],
    "properties": {
        "field": {"type": "string", "minLength": 1, "examples": ["author"]},
        "filter": FILTER,
        "collation": OPTIONS["collation"],
        "comment": OPTIONS["comment"],
    },
}
EXPLAIN: Schema = {
    "title": "Explain",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "query": FIND,
        "pipeline": PIPELINE,
        "verbosity": {"enum": ["queryPlanner", "executionStats"], "default": "queryPlanner"},
        **OPTIONS,
    },
    "oneOf": [{"required": ["query"]}, {"required": ["pipeline"]}],
    "example": {"query": {"filter": {"price": {"$lt": 10}}}},
}
FOUND: Schema = {
    **schemas.PAGE,
    "title": "Found",
    "required": ["documents"],
    "properties": {
        **schemas.PAGE["properties"],
        "next": {**schemas.NEXT, "description": f"{schemas.NEXT['description']} Missing with a `collation`."},
    },
}
DOCUMENTS: Schema = {
    "title": "Documents",
    "type": "object",
    "required": ["documents"],
    "properties": {"documents": {"type": "array", "items": schemas.DOCUMENT}},
}
COUNTED: Schema = {
    "title": "Counted",
    "type": "object",
    "required": ["count"],
    "properties": {"count": schemas.COUNT, "hint": schemas.HINT},
}
VALUES: Schema = {
    "title": "Values",
    "type": "object",
    "required": ["values"],
    "properties": {"values": {"type": "array"}, "hint": schemas.HINT},
}
EXPLAINED: Schema = {
    "title": "Explained",
    "type": "object",
    "description": "MongoDB's explanation; where a rule filters, `plans` only.",
    "additionalProperties": True,
}
