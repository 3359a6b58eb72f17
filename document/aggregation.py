"""What is asked of a whole collection, within a permit: aggregations, counts, distinct values, and query plans."""

import json
from collections.abc import Iterator
from typing import Any

from bson.raw_bson import RawBSONDocument

import database
import ejson
from access.models import Permit
from document.collection import open_collection
from document.pipeline import Stage
from document.query import combine
from errors import Forbidden

Document = dict[str, Any]

BATCH_DOCUMENTS = 1000
RAW_OPTIONS = ejson.CODEC_OPTIONS.with_options(document_class=RawBSONDocument)
# Of a plan, what says how documents are found without a word on what is stored.
PLAN_MEMBERS = ("stage", "indexName", "keyPattern", "direction")
# They tell of the server, not of the query.
SERVER_MEMBERS = frozenset({"serverInfo", "serverParameters", "command", "$clusterTime", "operationTime", "ok", "host"})


def aggregate(
    permit: Permit, pipeline: list[Stage], options: Document, *, may_use_disk: bool = False
) -> Iterator[bytes]:
    """What a confined pipeline yields, as batches of raw BSON; `options` are those of `query.read_options`."""
    cursor = open_collection(permit).aggregate_raw_batches(
        pipeline, batchSize=BATCH_DOCUMENTS, allowDiskUse=may_use_disk, **options
    )
    with cursor:
        yield from cursor


def count(permit: Permit, query: Document, options: Document, *, limit: int | None) -> int:
    """How many documents match, counted one by one, up to `limit`."""
    bounds: Document = {} if limit is None else {"limit": limit}
    return open_collection(permit).count_documents(combine(permit, query), **{**bounds, **options})


def find_distinct(permit: Permit, field: str, query: Document, options: Document) -> list[Any]:
    """The different values that `field` has in the matching documents; those of arrays one by one."""
    target = open_collection(permit).with_options(codec_options=RAW_OPTIONS)
    return target.distinct(field, combine(permit, query), **options)


def explain(permit: Permit, command: Document, verbosity: str) -> Document:
    """How MongoDB would run, or has run (`executionStats`), a find or aggregate command that is already confined.

    A caller whom a rule keeps from a part of the documents learns which plans there are, not which of them won nor how
    much each had to look at: both would tell of documents beyond the rule.
    """
    if permit.filter and verbosity != "queryPlanner":
        raise Forbidden(
            "executionStats counts all documents that were looked at; you may read only some of them.",
            [{"path": "verbosity", "message": "must be queryPlanner"}],
        )
    target = database.client()[permit.database]
    found = target.command("explain", command, verbosity=verbosity, codec_options=ejson.CODEC_OPTIONS)
    if permit.filter:
        plans = [_outline(plan) for planner in _planners(found) for plan in _candidates(planner)]
        return {"plans": sorted(plans, key=json.dumps)}
    shown: Document = _without_server(found)
    return shown


def find_command(permit: Permit, query: Document, options: Document) -> Document:
    """The find command to explain, with its filter narrowed by the permit; `options` as MongoDB names them."""
    return {"find": permit.collection, "filter": combine(permit, query), **options}


def aggregate_command(permit: Permit, pipeline: list[Stage], options: Document) -> Document:
    """The aggregate command to explain, of a confined pipeline."""
    return {"aggregate": permit.collection, "pipeline": pipeline, "cursor": {}, **options}


def _planners(found: Any) -> Iterator[Document]:
    """Every `queryPlanner` in an explanation: one for a find, one or none for a pipeline, on each shard."""
    if isinstance(found, dict):
        if isinstance(found.get("queryPlanner"), dict):
            yield found["queryPlanner"]
        else:
            for item in found.values():
                yield from _planners(item)
    elif isinstance(found, list):
        for item in found:
            yield from _planners(item)


def _candidates(planner: Document) -> list[Any]:
    return [planner.get("winningPlan"), *planner.get("rejectedPlans", [])]


def _outline(plan: Any) -> Document:
    """The stages and indexes of a plan."""
    if not isinstance(plan, dict):
        return {}
    plan = plan.get("queryPlan", plan)
    outline = {name: plan[name] for name in PLAN_MEMBERS if name in plan}
    inner = plan.get("inputStages", [plan["inputStage"]] if "inputStage" in plan else [])
    return {**outline, "inputs": [_outline(each) for each in inner]} if inner else outline


def _without_server(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _without_server(item) for name, item in found.items() if name not in SERVER_MEMBERS}
    return [_without_server(item) for item in found] if isinstance(found, list) else found
