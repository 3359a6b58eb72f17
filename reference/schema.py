"""JSON Schemas as `describe` carries them: named parts, an example, a shape on one line."""

import json
import re
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

REFERENCE = "#/components/schemas/"
FORMAT_EXAMPLES = {
    "email": "ada@example.org",
    "password": "one-you-choose",
    "date-time": "2030-01-31T12:00:00Z",
    "uuid": "c8edabc3-f738-4ca3-b68d-ab92a91478a3",
}
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
SINGLE = ("items", "additionalProperties", "not", "contains")
MAPS = ("properties", "patternProperties", "$defs")


class Components:
    """The document's named schemas: each schema with a `title`, once, under a name made from it."""

    def __init__(self) -> None:
        self.schemas: Json = {}
        self._sources: dict[str, Mapping[str, Any]] = {}

    def refer(self, schema: Mapping[str, Any]) -> Json:
        """What to write where `schema` is used: a reference if it has a title, else itself, its parts referred to.

        Raises ValueError when two different schemas carry one title.
        """
        if "title" not in schema:
            return self._with_references(schema)
        name = "".join(word[:1].upper() + word[1:] for word in re.split(r"\W+", schema["title"]))
        known = self._sources.setdefault(name, schema)
        if known != schema:
            raise ValueError(f"Two different schemas are titled {schema['title']!r}; give one another title.")
        if name not in self.schemas:
            self.schemas[name] = {}  # The place is taken before the parts are walked: a schema may hold itself.
            self.schemas[name] = self._with_references(schema)
        return {"$ref": REFERENCE + name}

    def _with_references(self, schema: Mapping[str, Any]) -> Json:
        found = dict(schema)
        for keyword in LISTS:
            if keyword in found:
                found[keyword] = [self.refer(part) for part in found[keyword]]
        for keyword in SINGLE:
            if isinstance(found.get(keyword), Mapping):
                found[keyword] = self.refer(found[keyword])
        for keyword in MAPS:
            if keyword in found:
                found[keyword] = {name: self.refer(part) for name, part in found[keyword].items()}
        return found


def shape(schema: Mapping[str, Any]) -> str:
    """A schema on one line, as `{"email"?, "password"}`: members that may be missing carry a question mark."""
    if "const" in schema:
        return json.dumps(schema["const"])
    if "oneOf" in schema or ("anyOf" in schema and "properties" not in schema):
        return " or ".join(dict.fromkeys(map(shape, _alternatives(schema))))
    if _type(schema) == "array":
        return f"[{shape(schema.get('items', {}))}, ...]"
    if _type(schema) == "object":
        return _object_shape(schema)
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    return str(_type(schema) or "any JSON")


def examples(schema: Mapping[str, Any]) -> list[Any]:
    """A value for each form that fits: one per branch of a `oneOf`, else a single one."""
    if "oneOf" in schema and not schema.get("examples"):
        return [example(branch) for branch in _alternatives(schema)]
    return [example(schema)]


def example(schema: Mapping[str, Any], *, name: str = "") -> Any:
    """A value that fits: the schema's own example, constant or default, else one made from its type."""
    given = [schema[keyword] for keyword in ("example", "const", "default") if keyword in schema]
    given += schema.get("examples", []) + schema.get("enum", [])
    if given:
        return given[0]
    if "oneOf" in schema or "anyOf" in schema:
        return example(_alternatives(schema)[0], name=name)
    if _type(schema) == "object":
        return _example_object(schema)
    if _type(schema) == "array":
        return [example(schema.get("items", {}))]
    plain = {"integer": 1, "number": 1.5, "boolean": True, "null": None}
    return plain.get(_type(schema) or "", FORMAT_EXAMPLES.get(schema.get("format", ""), name or "text"))


def _type(schema: Mapping[str, Any]) -> str | None:
    """The schema's (first) type, or the one its keywords imply."""
    named = schema.get("type")
    if isinstance(named, list):
        return str(named[0])
    if named is None and "properties" in schema:
        return "object"
    return named


def _alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The branches of a `oneOf` or `anyOf`.

    A branch that only says which of the schema's members are required has all members but those that another needs.
    """
    parts = schema["oneOf"] if "oneOf" in schema else schema["anyOf"]
    if "properties" not in schema or not all(part.keys() == {"required"} for part in parts):
        return list(parts)
    named = {name for part in parts for name in part["required"]}
    found: list[Mapping[str, Any]] = []
    for part in parts:
        others = named - set(part["required"])
        properties = {name: inner for name, inner in schema["properties"].items() if name not in others}
        required = [*schema.get("required", ()), *part["required"]]
        found.append({"type": "object", "properties": properties, "required": required})
    return found


def _object_shape(schema: Mapping[str, Any]) -> str:
    properties = schema.get("properties", {})
    if not properties:
        return "{...}"
    required = schema.get("required", ())
    members = []
    for name, part in properties.items():
        member = f'"{name}"' if name in required else f'"{name}"?'
        inner = shape(part) if _type(part) in ("object", "array") else ""
        members.append(f"{member}: {inner}" if inner not in ("", "{...}") else member)
    return "{" + ", ".join(members) + "}"


def _example_object(schema: Mapping[str, Any]) -> Json:
    """Its required members; those that carry an example too, or all where none is required."""
    if not schema.get("properties") and schema.get("additionalProperties", True) is not False:
        return {"title": "Dune", "price": 9.5}
    properties, required = schema.get("properties", {}), schema.get("required", ())
    chosen = {name: part for name, part in properties.items() if not required or name in required or "examples" in part}
    return {name: example(part, name=name) for name, part in chosen.items()}
