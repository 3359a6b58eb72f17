"""Aggregation pipelines held against the allow list, and confined: every collection that a stage reads is narrowed by
the caller's own read permit, in sub-pipelines to any depth. Pipelines of updates are checked here too.
"""

from typing import Any

from access.models import Action, Permit, decide
from document.expression import (
    check_expression,
    check_fields,
    check_filter,
    check_output,
    check_variables,
    invalid,
    may_fail,
)
from document.operator import (
    ACCUMULATORS,
    FIRST_STAGES,
    STAGE_MEMBERS,
    STAGES,
    UPDATE_STAGES,
    WHOLE_COLLECTION_STAGES,
    WINDOW_OPERATORS,
    WRITING_STAGES,
)
from document.query import check_collation, combine
from errors import ApiError, Forbidden
from user.principal import Principal

Stage = dict[str, Any]

MAX_STAGES = 100
# More documents than any pipeline sees within the time limit. MongoDB moves and merges the $match stages of a pipeline,
# but never past a $limit: what stands behind it meets only documents that the rule has let through.
BARRIER: Stage = {"$limit": 2**40}


def confine_pipeline(
    principal: Principal, permit: Permit, stages: Any, *, has_collation: bool = False, may_write: bool = False
) -> list[Stage]:
    """The pipeline to run on the permit's collection for `stages`, which touches only what the caller may.

    Raises InvalidInput or Forbidden naming the stage that is not allowed. `has_collation`: the pipeline will run under
    a collation, which rules that compare text do not allow. `may_write`: its last stage may be `$out` or `$merge`.
    """
    return _Confinement(principal, permit.database, has_collation).confine(
        permit, stages, "pipeline", may_write=may_write
    )


def check_update_stages(stages: Any, path: str) -> None:
    """Refuse whatever is no pipeline of an update, with expressions on the allow list."""
    parts = _split(stages, path)
    if not 0 < len(parts) <= MAX_STAGES:
        raise invalid(path, f"must hold 1 to {MAX_STAGES} stages")
    for name, value, inner in parts:
        if name not in UPDATE_STAGES:
            raise invalid(inner, f"is not a stage that updates may hold; there are {', '.join(sorted(UPDATE_STAGES))}")
        _check_stage(name, value, inner)


class _Confinement:
    """One pipeline with all its sub-pipelines, for one caller in one database."""

    def __init__(self, principal: Principal, database: str, has_collation: bool) -> None:
        self._principal = principal
        self._database = database
        self._has_collation = has_collation
        self._count = 0

    def confine(self, permit: Permit, stages: Any, path: str, *, may_write: bool = False) -> list[Stage]:
        """`stages`, checked, as they may run on the permit's collection."""
        self._check_collation(permit)
        found = self._stages(permit, stages, path, may_write=may_write)
        if found and "$documents" in found[0]:
            raise invalid(
                f"{path}[0].$documents", "may only begin the pipeline of a $lookup or $unionWith without from"
            )
        if not permit.filter or (found and "$geoNear" in found[0]):
            return found
        if found and "$match" in found[0]:
            found[0] = {"$match": combine(permit, found[0]["$match"])}
            return found
        return [{"$match": permit.filter}, *found]

    def _stages(
        self, permit: Permit, stages: Any, path: str, *, may_write: bool = False, is_facet: bool = False
    ) -> list[Stage]:
        found: list[Stage] = []
        parts = _split(stages, path)
        self._count += len(parts)
        if self._count > MAX_STAGES:
            raise invalid(path, f"is too long: {MAX_STAGES} stages are the limit, those of inner pipelines included")
        for index, (name, value, inner) in enumerate(parts):
            is_first, is_last = index == 0 and not is_facet, index == len(parts) - 1
            if name in FIRST_STAGES and not is_first:
                raise invalid(inner, "may only be the first stage of a pipeline")
            if name in WRITING_STAGES and not (may_write and is_last):
                raise invalid(inner, "may only be the last stage of the outermost pipeline of _aggregate")
            _check_stage(name, value, inner)
            if name == "$match" and permit.filter and not is_first and may_fail(value):
                found.append(BARRIER)
            found.append({name: self._confined(permit, name, value, inner)})
        return found

    def _confined(self, permit: Permit, name: str, value: Any, path: str) -> Any:
        """The stage's value, so that it reads and writes only what the caller may."""
        if name in WHOLE_COLLECTION_STAGES and permit.filter:
            raise Forbidden(
                f"{name} tells of all documents of the collection; you may read only some of them.", _at(path)
            )
        if name in WRITING_STAGES:
            self._check_target(name, value, path)
        elif name == "$geoNear" and permit.filter:
            return {**value, "query": combine(permit, value.get("query", {}))}
        elif name == "$facet":
            return {key: self._stages(permit, inner, f"{path}.{key}", is_facet=True) for key, inner in value.items()}
        elif name == "$graphLookup":
            return self._confined_search(value, path)
        elif name == "$lookup":
            return self._confined_join(value, path)
        elif name == "$unionWith":
            union = {"coll": value} if isinstance(value, str) else value
            return self._confined_source(union, "coll", path)
        return value

    def _confined_join(self, value: Stage, path: str) -> Stage:
        confined = self._confined_source(value, "from", path)
        if not confined.get("pipeline") and "pipeline" not in value:
            confined.pop("pipeline", None)  # nothing to narrow: the plain form joins faster
        return confined

    def _confined_source(self, value: Stage, member: str, path: str) -> Stage:
        """A stage that reads another collection through a pipeline, with that collection's permit in front of it."""
        inner, stages = f"{path}.pipeline", value.get("pipeline", [])
        if member not in value:
            found = self._stages(Permit(self._database, "", {}, {}, frozenset(), is_limited=False), stages, inner)
            if not found or "$documents" not in found[0]:
                raise invalid(f"{path}.{member}", "is missing")
            return {**value, "pipeline": found}
        permit = self._decide("read", value[member], f"{path}.{member}")
        return {**value, "pipeline": self.confine(permit, stages, inner)}

    def _confined_search(self, value: Stage, path: str) -> Stage:
        permit = self._decide("read", value.get("from"), f"{path}.from")
        self._check_collation(permit)
        narrowed = combine(permit, value.get("restrictSearchWithMatch", {}))
        return {**value, "restrictSearchWithMatch": narrowed} if narrowed else value

    def _check_collation(self, permit: Permit) -> None:
        if self._has_collation:
            check_collation(permit)

    def _check_target(self, name: str, value: Any, path: str) -> None:
        """Refuse a target of `$out` or `$merge` in which the caller may not write and replace everything."""
        target, inner = value, path
        if name == "$merge" and isinstance(value, dict):
            target, inner = value.get("into"), f"{path}.into"
        if isinstance(target, dict):
            names, database, collection = set(target), target.get("db"), target.get("coll")
            if not names <= {"db", "coll"}:
                raise invalid(inner, "has members other than db and coll")
        else:
            database, collection = self._database, target
        actions: tuple[Action, ...] = ("create", "update") if name == "$merge" else ("create", "update", "delete")
        for action in actions:
            permit = self._decide(action, collection, inner, database=database)
            if permit.filter or permit.readonly:
                raise Forbidden(f"{name} may only write where all documents are yours to change.", _at(inner))

    def _decide(self, action: Action, collection: Any, path: str, *, database: Any = None) -> Permit:
        database = self._database if database is None else database
        if not isinstance(collection, str) or not isinstance(database, str):
            raise invalid(path, "must be the name of a collection")
        try:
            return decide(self._principal, action, database, collection)
        except ApiError as failure:
            failure.errors = _at(path)
            raise


def _split(stages: Any, path: str) -> list[tuple[str, Any, str]]:
    """Name, value and path of each stage."""
    if not isinstance(stages, list):
        raise invalid(path, "must be an array of stages")
    found = []
    for index, stage in enumerate(stages):
        if not isinstance(stage, dict) or len(stage) != 1:
            raise invalid(f"{path}[{index}]", "must be an object with the one member that names the stage")
        [(name, value)] = stage.items()
        found.append((name, value, f"{path}[{index}].{name}"))
    return found


def _check_stage(name: str, value: Any, path: str) -> None:
    """Refuse a stage that is not on the allow list, and every operator in it that is not.

    Sub-pipelines are left to who walks them.
    """
    if name not in STAGES:
        raise invalid(path, "is not a stage that pipelines may hold")
    if name == "$match":
        check_filter(value, path)
    elif name in ("$project", "$addFields", "$set"):
        check_fields(value, path)
    elif name == "$group":
        _check_members(value, path)
        check_expression(value.get("_id"), f"{path}._id")
        check_output({key: item for key, item in value.items() if key != "_id"}, ACCUMULATORS, path)
    elif name == "$facet":
        _check_members(value, path)
    elif name == "$unionWith":
        if not isinstance(value, str):
            _check_members(value, path, frozenset({"coll", "pipeline"}))
    elif name in STAGE_MEMBERS and not (name == "$merge" and isinstance(value, str)):
        _check_members(value, path, STAGE_MEMBERS[name])
        for member, item in value.items():
            _check_member(name, member, item, f"{path}.{member}")
    elif name not in WRITING_STAGES:
        check_expression(value, path)


def _check_member(name: str, member: str, value: Any, path: str) -> None:
    """Refuse what a member of a stage may not hold."""
    if member in ("query", "restrictSearchWithMatch"):
        check_filter(value, path)
    elif member == "let":
        check_variables(value, path)
    elif member == "whenMatched" and not isinstance(value, str):
        check_update_stages(value, path)
    elif member == "output" and name in ("$bucket", "$bucketAuto"):
        check_output(value, ACCUMULATORS, path)
    elif member == "output" and name == "$setWindowFields":
        check_output(value, WINDOW_OPERATORS, path)
    elif member not in ("pipeline", "into"):
        check_expression(value, path)


def _check_members(value: Any, path: str, known: frozenset[str] | None = None) -> None:
    if not isinstance(value, dict):
        raise invalid(path, "must be a JSON object")
    for member in value:
        if member.startswith("$") if known is None else member not in known:
            raise invalid(f"{path}.{member}", "is not known here")


def _at(path: str) -> list[dict[str, str]]:
    return [{"path": path, "message": "is not for you"}]
