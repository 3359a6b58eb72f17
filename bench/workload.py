"""What is asked of a service: the requests of each workload, made beforehand from the templates of its adapter."""

import dataclasses
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bench import dataset
from bench.adapter import Adapter, Endpoint

Values = dict[str, Any]

WORKLOADS = {
    "W1": "get one document by id",
    "W2": "find 20 documents by an indexed field",
    "W3": "list 1000 documents",
    "W4": "insert one document",
    "W5": "insert 1000 documents",
    "W6": "mix: 80 % W1, 15 % update by id, 5 % W4",
    "W7": "aggregate: group about 1000 documents",
}
# How many different requests are replayed in turn.
DIFFERENT_REQUESTS = {"W1": 20_000, "W2": 5_000, "W3": 1, "W4": 5_000, "W5": 6, "W6": 10_000, "W7": 2_000}
# How many new documents a request of the endpoint carries.
NEW_DOCUMENTS = {"W4": 1, "W5": 1000}
SCALARS = ("id", "grp", "lo", "hi", "price")


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, complete."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def raw(self) -> bytes:
        """The bytes as they go over the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def draw_values(source: random.Random, endpoint: str, index: int, hot_documents: int = 0) -> Values:
    """Values for one request's placeholders; ids are drawn from the first `hot_documents` (0: all)."""
    lowest = source.randrange(dataset.GROUPS - 50)
    values: Values = {
        "lo": lowest,
        "hi": lowest + 50,
        "id": dataset.document_id(source.randrange(hot_documents or dataset.DOCUMENTS)),
        "grp": source.randrange(dataset.GROUPS),
        "price": round(source.uniform(1, 1000), 2),
    }
    numbers = range(NEW_DOCUMENTS.get(endpoint, 0))
    values["docs"] = [
        dataset.make_document(index * 1000 + number, source, dataset.NEW_GROUP + number % 50) for number in numbers
    ]
    return values


def build_request(base_url: str, headers: Mapping[str, str], endpoint: Endpoint, values: Values) -> Request:
    """The request that an adapter's endpoint describes, with its placeholders filled."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/") + _fill(endpoint["path"], values)
    if "query" in endpoint:
        path += "?" + "&".join(f"{name}={_quote(_fill(value, values))}" for name, value in endpoint["query"].items())
    all_headers = {"Host": parts.netloc, **headers, **endpoint.get("headers", {})}
    body = b""
    if "body" in endpoint:
        filled = _fill(endpoint["body"], values)
        body = json.dumps(filled, separators=(",", ":"), ensure_ascii=False).encode()
        all_headers.setdefault("Content-Type", "application/json")
        all_headers["Content-Length"] = str(len(body))
    return Request(endpoint.get("method", "GET"), path, all_headers, body)


def build_requests(
    adapter: Adapter, headers: Mapping[str, str], workload: str, seed: int, hot_documents: int = 0
) -> Iterator[Request]:
    """All different requests of a workload; the same for every service with the same `seed`."""
    source = random.Random(seed)
    for index in range(DIFFERENT_REQUESTS[workload]):
        endpoint = _draw_from_mix(source) if workload == "W6" else workload
        values = draw_values(source, endpoint, index, hot_documents)
        yield build_request(adapter.base_url, headers, adapter.endpoints[endpoint], values)


def write_requests(path: Path, requests: Iterator[Request]) -> None:
    """The requests in the form that replay.lua reads: a line with the length, then the bytes, over and over."""
    with path.open("wb") as file:
        for request in requests:
            raw = request.raw()
            file.write(b"%d\n" % len(raw) + raw)


def _draw_from_mix(source: random.Random) -> str:
    share = source.random()
    if share < 0.80:
        return "W1"
    return "UPDATE" if share < 0.95 else "W4"


def _quote(value: Any) -> str:
    return quote(value if isinstance(value, str) else json.dumps(value, separators=(",", ":")), safe="")


def _fill(template: Any, values: Values) -> Any:
    """A template's value: `{id}`-like placeholders, and the `$doc`, `$docs` and `$each` of request bodies."""
    if isinstance(template, str):
        return _fill_text(template, values)
    if isinstance(template, list):
        return [_fill(item, values) for item in template]
    if not isinstance(template, dict):
        return template
    if "$doc" in template:
        return _spell_date(values["docs"][0], template["$doc"])
    if "$docs" in template:
        return [_spell_date(document, template["$docs"]) for document in values["docs"]]
    if "$each" in template:
        return [_fill(template["$each"], {**values, "docs": [document]}) for document in values["docs"]]
    return {name: _fill(item, values) for name, item in template.items()}


def _fill_text(template: str, values: Values) -> Any:
    for name in SCALARS:
        placeholder = "{" + name + "}"
        if template == placeholder:
            return values[name]
        template = template.replace(placeholder, str(values[name]))
    return template


def _spell_date(document: dataset.Document, form: str) -> dataset.Document:
    """The document with its date in the form that the service understands."""
    if form == "extjson":
        return {**document, "created": {"$date": document["created"]}}
    if form == "parse":
        return {**document, "created": {"__type": "Date", "iso": document["created"]}}
    return document
