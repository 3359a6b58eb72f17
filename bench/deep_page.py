"""What a page deep in a list costs beside the first one: `python -m bench.deep_page --documents 1000000`.

Starts a mongod of its own in `bench/.home`, stores the documents, reads the list page by page through the models, as a
request does, and measures the pages at the beginning and around the place that is three quarters down.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bson import ObjectId

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import database
import mongod
from access.models import Permit
from application import create_app
from document import page_token
from document.page import Listing, Page, total_order
from document.page_token import Place
from document.raw import KEYS_FIELD, split, take_keys
from settings import Settings

HOME = Path(__file__).resolve().parent / ".home" / "deep_page"
NAME = "bench_pages"
OWNER = ObjectId(b"owner of all")
LIMIT = 20
TIMES = 60
INDEXES: list[list[tuple[str, int]]] = [[("_owner", 1), ("_id", 1)], [("n", 1), ("_id", 1)], [("m", 1)]]
CASES: dict[str, tuple[dict[str, Any], list[tuple[str, Any]] | None]] = {
    "by `_id`": ({}, None),
    "one's own, by `_id`, index (_owner, _id)": ({"_owner": OWNER}, None),
    "by n, index (n, _id)": ({}, [("n", 1)]),
    "by n descending, index (n, _id)": ({}, [("n", -1)]),
    "by m, index (m) alone": ({}, [("m", 1)]),
}


def documents(count: int) -> Iterator[dict[str, Any]]:
    """Half of them the owner's; four or so tie in `n` and in `m`."""
    for index in range(count):
        value = index * 7919 % (count // 4)
        yield {"_owner": OWNER if index % 2 else None, "n": value, "m": value, "text": "x" * 200}


def store(count: int) -> None:
    """Make the collection hold so many documents."""
    target = database.client()[NAME]["items"]
    if target.estimated_document_count() == count:
        return
    target.drop()
    batch: list[dict[str, Any]] = []
    for each in documents(count):
        batch.append(each)
        if len(batch) == 10_000:
            target.insert_many(batch)
            batch = []
    for keys in INDEXES:
        target.create_index(keys)


def token_at(permit: Permit, listing: Listing, place: int) -> str | None:
    """The token of the page that ends at this place, made without reading all pages before."""
    order = total_order(listing) or []
    cursor: Any = database.client()[NAME]["items"].find_raw_batches(
        {**permit.filter}, {"_id": 1, KEYS_FIELD: {"$meta": "sortKey"}}, sort=order, skip=place, limit=1
    )
    return page_token.write(
        Place(take_keys(split(next(cursor))[0])[1]), page_token.fingerprint(permit, listing.query, listing.sort, {})
    )


def measure(permit: Permit, listing: Listing) -> tuple[float, int, int]:
    """Median milliseconds of a page that goes on from there, keys and documents that MongoDB looked at."""
    profiled = database.client()[NAME]
    seconds = []
    for _ in range(TIMES):
        start = time.perf_counter()
        found = sum(len(split(batch)) for batch in Page(permit, listing))
        seconds.append(time.perf_counter() - start)
        assert found == LIMIT
    profiled.command("profile", 2)
    list(Page(permit, listing))
    profiled.command("profile", 0)
    looked = list(profiled["system.profile"].find({"ns": f"{NAME}.items"}))
    profiled["system.profile"].drop()
    keys, fetched = (sum(each.get(name, 0) for each in looked) for name in ("keysExamined", "docsExamined"))
    return statistics.median(seconds) * 1000, keys, fetched


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    count = parser.parse_args().documents
    running = mongod.start(HOME, port=27928)
    try:
        create_app(
            Settings(environment="development", mongodb_uri=running.uri, secret_key="-" * 32), time_limit_seconds=600
        )
        store(count)
        print("| list | first page | deep page | keys, documents looked at: first | deep |")
        print("|---|--:|--:|--:|--:|")
        for name, (rule, sort) in CASES.items():
            permit = Permit(NAME, "items", rule, {}, frozenset(), is_limited=False)
            first = Listing({}, sort=sort, limit=LIMIT)
            deep = Listing({}, sort=sort, limit=LIMIT, after=token_at(permit, first, count * 3 // (8 if rule else 4)))
            results = measure(permit, first), measure(permit, deep)
            times = " | ".join(f"{each[0]:.2f} ms" for each in results)
            looked = " | ".join(f"{each[1]}, {each[2]}" for each in results)
            print(f"| {name} | {times} | {looked} |", flush=True)
    finally:
        database.client().close()
        mongod.stop(running)


if __name__ == "__main__":
    main()
