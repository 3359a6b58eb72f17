"""What may stand in a path: a segment that begins with `_` is a route of the service, never an id."""

from werkzeug.routing import BaseConverter

RESERVED = "_"


class DocumentId(BaseConverter):
    """Matches the text of an `_id`, unless it begins with `_`: `<document_id:id>`."""

    regex = f"[^/{RESERVED}][^/]*"
    part_isolating = True
