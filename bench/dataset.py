"""The one definition of the documents measured: the same bytes every time, in the shape each service stores."""

import datetime
import random
from collections.abc import Callable
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection

Document = dict[str, Any]

DOCUMENTS = 100_000
# `grp` is the indexed field, with 20 documents per value.
GROUPS = 5_000
# What the load writes has a `grp` from here on, so that it can be counted and deleted.
NEW_GROUP = 1_000_000
NEW = {"grp": {"$gte": NEW_GROUP}}
SEED_BATCH = 5_000

CATEGORIES = ["tools", "garden", "books", "music", "sport", "food", "toys", "auto", "home", "office"]
CITIES = ["Berlin", "Paris", "Zürich", "London", "Madrid", "Oslo", "Rome", "Wien", "Praha", "Porto"]
LETTERS = "abcdefghijklmnopqrstuvwxyz     "
BEGIN = datetime.datetime(2023, 1, 1, tzinfo=datetime.UTC)
STORED_AT = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def document_id(index: int) -> str:
    """The id of a seeded document, as 24 hexadecimal digits."""
    return f"65a0000000000000{index:08x}"


def make_document(index: int, source: random.Random, group: int) -> Document:
    """A document without `_id`, as plain JSON: about 480 bytes, its date as ISO text."""
    # The order of the draws is part of the data set: the peers' figures rest on the same documents.
    moment = BEGIN + datetime.timedelta(seconds=index * 61, milliseconds=source.randrange(1000))
    return {
        "sku": f"SKU-{index:08d}",
        "name": f"Item number {index} of the benchmark set",
        "n": index,
        "grp": group,
        "cat": CATEGORIES[source.randrange(10)],
        "price": round(source.uniform(1, 1000), 2),
        "active": source.random() < 0.5,
        "created": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
        "address": {
            "street": f"{source.randrange(1, 999)} Example Street",
            "city": CITIES[source.randrange(10)],
            "zip": f"{source.randrange(100_000):05d}",
            "geo": {"lat": round(source.uniform(-90, 90), 5), "lon": round(source.uniform(-180, 180), 5)},
        },
        "tags": [f"tag{source.randrange(100)}" for _ in range(4)],
        "scores": [source.randrange(1000) for _ in range(5)],
        "note": "".join(source.choice(LETTERS) for _ in range(90)),
    }


def seeded_document(index: int) -> Document:
    """Document `index` of the data set as MongoDB stores it, without `_id`."""
    document = make_document(index, random.Random(index), index % GROUPS)
    return {**document, "created": datetime.datetime.fromisoformat(document["created"])}


def _plain(index: int) -> Document:
    return {"_id": ObjectId(document_id(index)), **seeded_document(index)}


def _eve(index: int) -> Document:
    return {**_plain(index), "_updated": STORED_AT, "_created": STORED_AT, "_etag": f"{index:040x}"}


def _parse(index: int) -> Document:
    return {"_id": document_id(index), **seeded_document(index), "_created_at": STORED_AT, "_updated_at": STORED_AT}


# Databases whose service keeps fields of its own beside a document's.
SHAPES: dict[str, Callable[[int], Document]] = {"bench_eve": _eve, "bench_parse": _parse}


def seed(collection: Collection[Document], extra: Document | None = None) -> None:
    """Make the collection hold exactly the data set, with the fields `extra` added to each document.

    Indexes that are there are kept; the one on `grp` is made.
    """
    shape = SHAPES.get(collection.database.name, _plain)
    collection.delete_many({})
    for start in range(0, DOCUMENTS, SEED_BATCH):
        batch = [{**shape(index), **(extra or {})} for index in range(start, start + SEED_BATCH)]
        collection.insert_many(batch, ordered=False)
    collection.create_index("grp")


def is_seeded(collection: Collection[Document]) -> bool:
    """Whether the whole data set is there, and nothing else."""
    return collection.count_documents({}) == DOCUMENTS and "grp_1" in collection.index_information()


def count_new(collection: Collection[Document]) -> int:
    """How many documents the load has written."""
    return collection.count_documents(NEW)


def delete_new(collection: Collection[Document]) -> None:
    """Delete what the load has written."""
    collection.delete_many(NEW)
