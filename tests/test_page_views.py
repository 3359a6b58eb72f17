"""Lists of views and time series, which MongoDB reads by other means: whole documents, in order, page by page."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest

from tests.conftest import Actor, Client

Mongo = pymongo.MongoClient[dict[str, Any]]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["view", "series"])
def path(request: pytest.FixtureRequest, mongo: Mongo) -> str:
    """The route of a view or a time series with five documents."""
    if request.param == "view":
        mongo["shop"]["items"].insert_many([{"_id": number, "n": number % 2, "v": number} for number in range(5)])
        mongo["shop"].create_collection("list", viewOn="items", pipeline=[])
    else:
        mongo["shop"].create_collection("list", timeseries={"timeField": "t"})
        mongo["shop"]["list"].insert_many(
            [
                {"_id": number, "t": BEGIN + timedelta(minutes=number), "n": number % 2, "v": number}
                for number in range(5)
            ]
        )
    return "/v1/db/shop/list"


@pytest.mark.parametrize(
    ("sort", "expected"), [(None, [0, 1, 2, 3, 4]), ("n", [0, 2, 4, 1, 3]), ("-v", [4, 3, 2, 1, 0])]
)
@pytest.mark.parametrize("fields", [None, '{"_id": 0, "v": 1}'])
def test_pages_joined_are_the_whole_list(
    client: Client, admin: Actor, path: str, sort: str | None, expected: list[int], fields: str | None
) -> None:
    query = {"limit": "2", **({"sort": sort} if sort else {}), **({"fields": fields} if fields else {})}
    found: list[int] = []
    after: str | None = ""
    while after is not None:
        answer = client.get(path, query={**query, **({"after": after} if after else {})}, as_=admin)
        assert answer.status_code == 200, answer.text
        found += [document["v"] for document in answer.json["documents"]]
        after = answer.json["next"]
    assert found == expected
