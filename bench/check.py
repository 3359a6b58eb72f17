"""Proof, before anything is measured, that a service does the work: the right documents, really stored, for whom."""

import datetime
import random
from collections.abc import Callable

from bson import ObjectId
from pymongo.collection import Collection

from bench import BenchError, dataset
from bench.dataset import Document
from bench.service import Service
from bench.workload import Values, draw_values

ENDPOINTS = ("W1", "W2", "W3", "W4", "W5", "UPDATE", "W7")
# One of these is in every answered document, in every service's form.
MARK = b'"sku"'


def check_service(service: Service, collection: Collection[Document], stranger_token: str | None) -> list[str]:
    """What was proven, one line per endpoint; BenchError names the first that does not do its work.

    With `stranger_token`, a caller without the documents' ownership must be refused, and one without a token as well.
    """
    lines = [_check_endpoint(service, collection, endpoint) for endpoint in ENDPOINTS]
    if stranger_token is not None:
        lines.append(_check_strangers(service, stranger_token))
    dataset.delete_new(collection)
    return lines


def _check_endpoint(service: Service, collection: Collection[Document], endpoint: str) -> str:
    if endpoint not in service.adapter.endpoints:
        return f"{endpoint}: not offered yet"
    dataset.delete_new(collection)
    values = draw_values(random.Random(7), endpoint, 1)
    status, body = service.ask(endpoint, values)
    proof = CHECKS[endpoint](body, values, collection) if status < 400 else None
    if proof is None:
        beginning = body[:200].decode(errors="replace")
        raise BenchError(f"{service.adapter.name} does not do the work of {endpoint}: status {status}, {beginning}")
    return f"{endpoint}: {proof} ({len(body):,} bytes)"


def _check_get(body: bytes, values: Values, _: Collection[Document]) -> str | None:
    return "the document" if body.count(MARK) == 1 and values["id"].encode() in body else None


def _check_find(body: bytes, _: Values, __: Collection[Document]) -> str | None:
    return "20 documents" if body.count(MARK) == 20 else None


def _check_list(body: bytes, _: Values, __: Collection[Document]) -> str | None:
    return "1000 documents" if body.count(MARK) == 1000 else None


def _check_insert_one(_: bytes, __: Values, collection: Collection[Document]) -> str | None:
    return _describe_stored(collection, 1)


def _check_insert_many(_: bytes, __: Values, collection: Collection[Document]) -> str | None:
    return _describe_stored(collection, 1000)


def _describe_stored(collection: Collection[Document], expected: int) -> str | None:
    """What is stored now; None when documents are missing or their dates are not dates."""
    stored = list(collection.find(dataset.NEW))
    if len(stored) != expected or not all(isinstance(each["created"], datetime.datetime) for each in stored):
        return None
    return f"{expected} stored, dates as dates"


def _check_update(_: bytes, values: Values, collection: Collection[Document]) -> str | None:
    stored = collection.find_one({"_id": {"$in": [values["id"], ObjectId(values["id"])]}})
    return "stored" if stored is not None and stored["price"] == values["price"] else None


def _check_aggregate(body: bytes, _: Values, __: Collection[Document]) -> str | None:
    return "10 groups" if body.count(b'"count"') == 10 else None


CHECKS: dict[str, Callable[[bytes, Values, Collection[Document]], str | None]] = {
    "W1": _check_get,
    "W2": _check_find,
    "W3": _check_list,
    "W4": _check_insert_one,
    "W5": _check_insert_many,
    "UPDATE": _check_update,
    "W7": _check_aggregate,
}


def _check_strangers(service: Service, token: str) -> str:
    """Refused: another user (404 by id, empty lists) and a caller without a token (401)."""
    values = draw_values(random.Random(7), "W1", 1)
    stranger = {"Authorization": f"Bearer {token}"}
    found = {f"{name} of another user": service.ask(name, values, stranger)[0] for name in ("W1", "UPDATE")}
    found["W1 without a token"] = service.ask("W1", values, {})[0]
    wrong = [f"{name}: {status}" for name, status in found.items() if status != (401 if "without" in name else 404)]
    for endpoint in ("W2", "W3"):
        status, body = service.ask(endpoint, values, stranger)
        if status != 200 or MARK in body:
            wrong.append(f"{endpoint} of another user: {status}, {body.count(MARK)} documents")
    if wrong:
        raise BenchError(f"{service.adapter.name} does not enforce the owner rule: {'; '.join(wrong)}")
    return "owner rule: 404 and empty lists for another user, 401 without a token"
