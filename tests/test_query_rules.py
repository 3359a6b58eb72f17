"""No query tells of documents beyond the caller's rule: attacks by name, and random queries, each of them asked in two
databases that differ only in the documents of somebody else.
"""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Actor, Client, assert_problem

SECRET = "lamp-of-ann"
OURS = [
    {"_id": "b1", "n": 1, "s": "3", "ref": "b2", "tags": ["x", "y"], "at": [1, 1]},
    {"_id": "b2", "n": 2, "s": "4", "ref": "b1", "tags": [], "at": [2, 2]},
    {"_id": "b3", "n": 2, "s": "5", "ref": "a1", "o": {"k": 1}, "at": [3, 3]},
]
FOREIGN = [
    {"_id": "a1", "n": 0, "s": SECRET, "ref": "b1", "tags": SECRET, "at": [1, 1]},
    {"_id": "a2", "n": "text", "s": SECRET, "ref": "a1", "o": SECRET, "at": [1, 2]},
    {"_id": "a3", "n": None, "s": {"k": SECRET}, "ref": "b3", "tags": [SECRET], "at": [9, 9]},
]
COLLECTIONS = ("items", "parts")
MATCH_FAILS = {"$or": [{"$expr": {"$eq": [{"$toInt": "$s"}, 3]}}, {"zzz": 1}]}
FAILING = {"$toInt": "$s"}


@pytest.fixture
def worlds(client, ann, bob, mongo, config, monkeypatch):
    """Two open databases with the same documents of bob; in the first, ann has some as well."""
    monkeypatch.setattr(type(config), "open_database_names", frozenset({"app", "alone"}))
    for database in ("app", "alone"):
        for collection in COLLECTIONS:
            if database == "app":
                client.post(f"/v1/db/app/{collection}", FOREIGN[:2], as_=ann)
            client.post(f"/v1/db/{database}/{collection}", OURS, as_=bob)
            if database == "app":
                client.post(f"/v1/db/app/{collection}", FOREIGN[2:], as_=ann)
                mongo["app"][collection].insert_one({"_id": "seed", "n": "text", "s": SECRET})
            for index in ("n", "s", [("at", "2d")]):
                mongo[database][collection].create_index(index)
    return ["app", "alone"]


def pipeline_answers(client, bob, worlds, pipeline, **options):
    """What bob is answered in both worlds, without what must differ."""
    return [ask(client, bob, world, "_aggregate", {"pipeline": pipeline, **options}) for world in worlds]


def ask(client, bob, world, action, body):
    answer = client.post(f"/v1/db/{world}/items/{action}", body, as_=bob)
    assert SECRET not in answer.text or SECRET in json.dumps(body)
    assert answer.status_code in (200, 400, 403), answer.text
    if answer.status_code != 200:  # which of several own documents fails first is chance
        return answer.status_code, answer.json["code"]
    return 200, in_order(answer.json)


def in_order(value):
    """The value with all lists sorted: MongoDB promises no order for groups and searches."""
    if isinstance(value, list):
        return sorted(map(in_order, value), key=lambda item: json.dumps(item, sort_keys=True))
    return {name: in_order(item) for name, item in value.items()} if isinstance(value, dict) else value


ATTACKS = {
    "an error at a document beyond the rule": [{"$match": MATCH_FAILS}],
    "the same in a later match": [{"$match": {}}, {"$match": MATCH_FAILS}],
    "the same behind a sort": [{"$sort": {"n": 1}}, {"$match": MATCH_FAILS}],
    "the same behind a projection": [{"$project": {"s": 1}}, {"$match": MATCH_FAILS}],
    "the same behind a projection without the owner": [{"$unset": "_owner"}, {"$match": MATCH_FAILS}],
    "the same in a facet": [{"$facet": {"all": [{"$match": MATCH_FAILS}]}}],
    "the same behind unionWith": [{"$unionWith": "parts"}, {"$match": MATCH_FAILS}],
    "the same inside unionWith": [{"$unionWith": {"coll": "parts", "pipeline": [{"$match": MATCH_FAILS}]}}],
    "the same in a join": [{"$lookup": {"from": "parts", "pipeline": [{"$match": MATCH_FAILS}], "as": "x"}}],
    "the same later in a join": [
        {"$lookup": {"from": "parts", "pipeline": [{"$sort": {"n": 1}}, {"$match": MATCH_FAILS}], "as": "x"}}
    ],
    "the same behind a join that is unwound": [
        {"$lookup": {"from": "parts", "localField": "ref", "foreignField": "_id", "as": "x"}},
        {"$unwind": "$x"},
        {"$match": {"$or": [{"$expr": {"$eq": [{"$toInt": "$x.s"}, 3]}}, {"x.zzz": 1}]}},
    ],
    "the same through let": [
        {
            "$lookup": {
                "from": "parts",
                "let": {"s": "$s"},
                "pipeline": [{"$match": {"$or": [{"$expr": {"$eq": [{"$toInt": "$s"}, {"$toInt": "$$s"}]}}]}}],
                "as": "x",
            }
        }
    ],
    "a fitting expression": [{"$match": {"$expr": {"$eq": ["$s", SECRET[:4] + SECRET[4:]]}}}, {"$count": "n"}],
    "a join by equality": [
        {"$lookup": {"from": "parts", "localField": "ref", "foreignField": "_id", "as": "x"}},
        {"$project": {"x": 1}},
    ],
    "a join of everything": [{"$lookup": {"from": "parts", "pipeline": [], "as": "x"}}],
    "a join by equality with a pipeline": [
        {"$lookup": {"from": "parts", "localField": "ref", "foreignField": "_id", "pipeline": [], "as": "x"}}
    ],
    "a join in a join": [
        {
            "$lookup": {
                "from": "parts",
                "pipeline": [{"$lookup": {"from": "items", "pipeline": [], "as": "y"}}],
                "as": "x",
            }
        }
    ],
    "a join in a facet in a union": [
        {
            "$unionWith": {
                "coll": "parts",
                "pipeline": [{"$facet": {"f": [{"$lookup": {"from": "items", "pipeline": [], "as": "y"}}]}}],
            }
        }
    ],
    "a join that matches the rule's field itself": [
        {"$lookup": {"from": "parts", "pipeline": [{"$match": {"_owner": {"$exists": True}}}], "as": "x"}}
    ],
    "a search through a graph": [
        {
            "$graphLookup": {
                "from": "parts",
                "startWith": "$ref",
                "connectFromField": "ref",
                "connectToField": "_id",
                "as": "x",
            }
        }
    ],
    "a search with a match of its own": [
        {
            "$graphLookup": {
                "from": "parts",
                "startWith": "$ref",
                "connectFromField": "ref",
                "connectToField": "_id",
                "as": "x",
                "restrictSearchWithMatch": {"_owner": {"$exists": True}},
            }
        }
    ],
    "a union": [{"$unionWith": "parts"}],
    "a union with a pipeline": [{"$unionWith": {"coll": "parts", "pipeline": [{"$match": {"n": {"$ne": 77}}}]}}],
    "a union in a union": [
        {"$unionWith": {"coll": "parts", "pipeline": [{"$unionWith": {"coll": "items", "pipeline": []}}]}}
    ],
    "the nearest": [{"$geoNear": {"near": [1, 1], "distanceField": "d", "key": "at"}}],
    "the nearest that match": [{"$geoNear": {"near": [1, 1], "distanceField": "d", "key": "at", "query": MATCH_FAILS}}],
    "the nearest in a join": [
        {
            "$lookup": {
                "from": "parts",
                "pipeline": [{"$geoNear": {"near": [1, 1], "distanceField": "d", "key": "at"}}],
                "as": "x",
            }
        }
    ],
    "a match on the rule's field": [{"$match": {"_owner": {"$exists": True}}}],
    "an or round the rule": [{"$match": {"$or": [{"_owner": {"$exists": True}}, {"n": 0}]}}],
    "groups": [{"$group": {"_id": None, "n": {"$sum": 1}, "s": {"$push": "$s"}}}],
    "groups with first": [{"$sort": {"s": 1}}, {"$group": {"_id": "$s", "first": {"$first": "$s"}}}],
    "a smallest and largest value": [{"$group": {"_id": 1, "a": {"$min": "$s"}, "z": {"$max": "$s"}}}],
    "windows": [
        {"$setWindowFields": {"sortBy": {"_id": 1}, "output": {"before": {"$shift": {"output": "$s", "by": -1}}}}}
    ],
    "buckets": [{"$bucketAuto": {"groupBy": "$_id", "buckets": 2}}],
    "a redaction that keeps all": [{"$redact": "$$KEEP"}],
    "a count": [{"$count": "n"}],
}


@pytest.mark.timeout(120)
def test_attacks_tell_nothing(client, bob, worlds):
    for name, pipeline in ATTACKS.items():
        for options in ({}, {"hint": {"$natural": 1}}, {"hint": {"s": 1}}):
            here, alone = pipeline_answers(client, bob, worlds, pipeline, **options)
            assert here == alone, name
            assert here[0] == 200 or options, f"{name}: {here}"


QUERIES = {
    "an expression that fails": {"filter": {"$expr": {"$eq": [FAILING, 3]}}, "hint": {"$natural": 1}},
    "one in an or": {"filter": MATCH_FAILS, "hint": {"$natural": 1}},
    "one in a nor": {"filter": {"$nor": [{"$expr": {"$gt": [FAILING, 3]}}]}, "hint": {"_id": 1}},
    "one deep inside": {"filter": {"$and": [{"$or": [{"$and": [MATCH_FAILS]}]}]}, "hint": {"s": 1}},
    "one in a cond": {"filter": {"$or": [{"$expr": {"$cond": [True, FAILING, 1]}}]}, "hint": {"$natural": 1}},
    "one with a variable": {
        "filter": {"$or": [{"$expr": {"$gt": [FAILING, "$$least"]}}]},
        "let": {"least": 3},
        "hint": {"$natural": 1},
    },
    "membership": {"filter": {"$or": [{"$expr": {"$in": ["x", "$tags"]}}]}, "hint": {"$natural": 1}},
}


def test_filters_that_fail_beyond_the_rule_tell_nothing(client, bob, worlds):
    for name, body in QUERIES.items():
        for action in ("_query", "_count"):
            here, alone = (ask(client, bob, world, action, body) for world in worlds)
            assert here == alone, name
            # `tags` is missing in one of bob's own
            assert here[0] == (400 if name == "membership" else 200), name


@pytest.mark.parametrize("sort", [{}, {"sort": "n"}, {"sort": "-s"}, {"sort": "tags"}, {"sort": "o.k,n"}], ids=str)
def test_later_pages_and_counts_tell_nothing(client, bob, worlds, sort):
    for name in ("conversion", "membership", "variable"):
        wanted = PAGED[name]
        told = []
        for world in worlds:
            body, found = {**wanted, **sort, "limit": 1, "count": "exact"}, []
            while True:
                answer = client.post(f"/v1/db/{world}/items/_query", body, as_=bob)
                assert SECRET not in answer.text
                found.append((answer.status_code, answer.json.get("documents"), answer.json.get("count")))
                if not answer.json.get("next"):
                    break
                body["after"] = answer.json["next"]
            told.append([json.dumps(each).replace(worlds[0], worlds[1]) for each in found])
        assert told[0] == told[1], name
        assert len(told[0]) == 3, name


# Each fails on documents beyond the rule, and on none of bob's.
PAGED: dict[str, dict[str, Any]] = {
    "conversion": {"filter": {"$expr": {"$gt": [{"$toInt": "$s"}, 0]}}},
    "membership": {"filter": {"$or": [{"$expr": {"$gt": [{"$toInt": "$s"}, 0]}}, {"zzz": 1}]}, "hint": {"$natural": 1}},
    "variable": {"filter": {"$expr": {"$gt": [{"$toInt": "$s"}, "$$least"]}}, "let": {"least": 1}},
}


def test_distinct_values_are_own(client, bob, worlds):
    for body in ({"field": "s"}, {"field": "s", "filter": MATCH_FAILS}, {"field": "_owner"}):
        here, alone = (ask(client, bob, world, "_distinct", body) for world in worlds)
        assert here == alone


def test_variables_cannot_rebind_what_the_rule_reads(client, bob, worlds):
    for name in ("CURRENT", "ROOT", "_owner", "NOW"):
        body = {"filter": {"$or": [{"$expr": FAILING}]}, "let": {name: {"_owner": {"$oid": bob.id}}}}
        answer = client.post("/v1/db/app/items/_query", body, as_=bob)
        assert_problem(answer, 400, "invalid_input", path=f"let.{name}")
    rebound = {"$expr": {"$let": {"vars": {"CURRENT": {"_owner": {"$oid": bob.id}}}, "in": {"$toInt": "$$ROOT.s"}}}}
    here, alone = (
        ask(client, bob, w, "_query", {"filter": {"$or": [rebound]}, "hint": {"$natural": 1}}) for w in worlds
    )
    assert here == alone


FORBIDDEN = {
    "another closed database": ([{"$out": {"db": "shop", "coll": "x"}}], 403, "pipeline[0].$out"),
    "out": ([{"$out": "parts"}], 403, "pipeline[0].$out"),
    "merge": ([{"$merge": "parts"}], 403, "pipeline[0].$merge"),
    "merge into": ([{"$merge": {"into": {"db": "app", "coll": "parts"}}}], 403, "pipeline[0].$merge.into"),
    "counts of all": ([{"$collStats": {"count": {}}}], 403, "pipeline[0].$collStats"),
    "index use": ([{"$indexStats": {}}], 403, "pipeline[0].$indexStats"),
    "counts of all elsewhere": (
        [{"$lookup": {"from": "parts", "pipeline": [{"$collStats": {"count": {}}}], "as": "x"}}],
        403,
        "pipeline[0].$lookup.pipeline[0].$collStats",
    ),
    "a system collection": (
        [{"$lookup": {"from": "system.views", "pipeline": [], "as": "x"}}],
        403,
        "pipeline[0].$lookup.from",
    ),
    "a collection of ours": ([{"$unionWith": "_rules"}], 403, "pipeline[0].$unionWith.coll"),
    "a pseudo collection": ([{"$unionWith": {"coll": "$cmd.aggregate"}}], 400, "pipeline[0].$unionWith.coll"),
    "another database": (
        [{"$lookup": {"from": {"db": "shop", "coll": "items"}, "pipeline": [], "as": "x"}}],
        400,
        "pipeline[0].$lookup.from",
    ),
    "no collection": ([{"$lookup": {"pipeline": [], "as": "x"}}], 400, "pipeline[0].$lookup.from"),
    "a graph elsewhere": (
        [{"$facet": {"f": [{"$graphLookup": {"from": "system.users"}}]}}],
        403,
        "pipeline[0].$facet.f[0].$graphLookup.from",
    ),
    "internal members": (
        [{"$lookup": {"from": "parts", "as": "x", "_internalUnwind": {}}}],
        400,
        "pipeline[0].$lookup._internalUnwind",
    ),
    "writing in a join": (
        [{"$lookup": {"from": "parts", "pipeline": [{"$out": "x"}], "as": "x"}}],
        400,
        "pipeline[0].$lookup.pipeline[0].$out",
    ),
}


def test_stages_beyond_the_rule_are_refused_with_their_path(client, bob, worlds):
    for pipeline, status, path in FORBIDDEN.values():
        answer = client.post("/v1/db/app/items/_aggregate", {"pipeline": pipeline}, as_=bob)
        assert_problem(answer, status, "forbidden" if status == 403 else "invalid_input", path=path)


def test_explaining_shows_no_counts_and_no_choice(client, bob, worlds):
    body = {"query": {"filter": {"s": SECRET, "n": {"$gt": 0}}}}
    here, alone = (ask(client, bob, world, "_explain", body) for world in worlds)
    assert here == alone
    assert here[1].keys() == {"plans"}
    assert "IXSCAN" in json.dumps(here)
    here, alone = (ask(client, bob, world, "_explain", {"pipeline": [{"$match": {"n": 2}}]}) for world in worlds)
    assert here == alone
    answer = client.post("/v1/db/app/items/_explain", {**body, "verbosity": "executionStats"}, as_=bob)
    assert_problem(answer, 403, "forbidden", path="verbosity")


values: st.SearchStrategy[Any] = st.sampled_from([0, 1, 2, None, "b1", "a1", "3", SECRET, "text", [], True])
names = st.sampled_from(["n", "s", "ref", "tags", "o", "_owner", "_id", "o.k", "missing"])
paths = st.one_of(names.map("${}".format), st.just("$$ROOT"), st.just("$$ROOT.s"))
one_operand = st.sampled_from(
    ["$toInt", "$toString", "$strLenCP", "$size", "$not", "$abs", "$type", "$isArray", "$sum"]
)
two_operands = st.sampled_from(["$divide", "$add", "$eq", "$gt", "$in", "$concat", "$and", "$or", "$ifNull", "$split"])


def larger_expressions(inner):
    return st.one_of(
        st.tuples(one_operand, inner).map(lambda p: {p[0]: p[1]}),
        st.tuples(two_operands, inner, inner).map(lambda p: {p[0]: [p[1], p[2]]}),
        st.tuples(inner, inner, inner).map(lambda p: {"$cond": list(p)}),
        st.tuples(inner, inner).map(lambda p: {"$map": {"input": p[0], "in": p[1]}}),
        st.tuples(inner, inner).map(lambda p: {"$let": {"vars": {"CURRENT": p[0]}, "in": p[1]}}),
    )


expressions = st.recursive(st.one_of(paths, values.filter(lambda v: v != [])), larger_expressions, max_leaves=5)
conditions = st.one_of(
    st.tuples(names, values).map(lambda p: {p[0]: p[1]}),
    st.tuples(names, st.sampled_from(["$ne", "$gt", "$lte", "$eq"]), values).map(lambda p: {p[0]: {p[1]: p[2]}}),
    st.tuples(names, st.sampled_from(["^lamp", "a", "."])).map(lambda p: {p[0]: {"$not": {"$regex": p[1]}}}),
    st.tuples(names, values).map(lambda p: {p[0]: {"$elemMatch": {"$ne": p[1]}}}),
    expressions.map(lambda e: {"$expr": e}),
)
filters = st.recursive(
    conditions,
    lambda inner: st.tuples(st.sampled_from(["$or", "$and", "$nor"]), st.lists(inner, min_size=1, max_size=3)).map(
        lambda p: {p[0]: p[1]}
    ),
    max_leaves=4,
)
plain_stages = st.one_of(
    filters.map(lambda f: {"$match": f}),
    expressions.map(lambda e: {"$project": {"x": e, "s": 1}}),
    expressions.map(lambda e: {"$addFields": {"n": e}}),
    expressions.map(lambda e: {"$group": {"_id": e, "all": {"$push": "$s"}, "n": {"$sum": 1}}}),
    names.map(lambda n: {"$sort": {n: 1, "_id": 1}}),
    names.map(lambda n: {"$unwind": f"${n}"}),
    names.map(lambda n: {"$sortByCount": f"${n}"}),
    names.map(lambda n: {"$unset": n}),
    names.map(lambda n: {"$replaceWith": {"a": f"${n}", "_id": "$_id", "s": "$s"}}),
    expressions.map(lambda e: {"$redact": {"$cond": [e, "$$KEEP", "$$PRUNE"]}}),
    st.just({"$count": "c"}),
    st.just({"$unionWith": "parts"}),
    st.tuples(names, names).map(
        lambda p: {"$lookup": {"from": "parts", "localField": p[0], "foreignField": p[1], "as": "o"}}
    ),
    st.tuples(names, names, names).map(
        lambda p: {
            "$graphLookup": {
                "from": "parts",
                "startWith": f"${p[0]}",
                "connectFromField": p[1],
                "connectToField": p[2],
                "as": "o",
            }
        }
    ),
)


def larger_pipelines(inner):
    return st.tuples(
        st.lists(plain_stages, max_size=2),
        st.one_of(
            inner.map(lambda p: {"$lookup": {"from": "parts", "let": {"v": "$s"}, "pipeline": p, "as": "o"}}),
            st.tuples(names, inner).map(
                lambda p: {
                    "$lookup": {
                        "from": "parts",
                        "localField": p[0],
                        "foreignField": "ref",
                        "pipeline": p[1],
                        "as": "o",
                    }
                }
            ),
            inner.map(lambda p: {"$unionWith": {"coll": "parts", "pipeline": p}}),
            inner.map(lambda p: {"$facet": {"f": p or [{"$match": {}}]}}),
        ),
        st.lists(plain_stages, max_size=2),
    ).map(lambda p: [*p[0], p[1], *p[2]])


pipelines = st.recursive(st.lists(plain_stages, max_size=4), larger_pipelines, max_leaves=3)
hints = st.sampled_from([{}, {"hint": {"$natural": 1}}, {"hint": {"_id": 1}}])
MANY = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.timeout(240)
def test_random_pipelines_answer_as_if_there_were_no_others(app, bob, worlds):
    client = Client(app)
    tried = {200: 0, 400: 0, 403: 0}

    @MANY
    @given(pipelines, hints)
    def check(pipeline, options):
        here, alone = pipeline_answers(client, bob, worlds, pipeline, **options)
        assert here == alone
        tried[here[0]] += 1

    check()
    assert tried[200] > 100, tried


@pytest.mark.timeout(240)
def test_random_filters_answer_as_if_there_were_no_others(app, bob, worlds):
    client = Client(app)

    @MANY
    @given(filters, hints, st.sampled_from(["_query", "_count"]))
    def check(wanted, options, action):
        here, alone = (ask(client, bob, world, action, {"filter": wanted, **options}) for world in worlds)
        assert here == alone

    check()


@pytest.mark.parametrize(
    "field", ["a\0bcde\0f", {"$literal": "a\0b"}, {"$concat": ["a", "b"]}, {"$code": "a"}, 5, None], ids=repr
)
def test_field_that_mongodb_would_take_for_raw_bson_is_refused(client: Client, ann: Actor, field: Any) -> None:
    """MongoDB 6.0 does not look for NUL in $setField's name: it told of its memory, or ended."""
    assert client.put("/v1/db/app/items/x", {"n": 1}, as_=ann).status_code == 201
    expression = {"$setField": {"field": field, "input": {}, "value": 1}}
    for answer in (
        client.patch("/v1/db/app/items/x", [{"$set": {"a": expression}}], as_=ann),
        client.post("/v1/db/app/items/_aggregate", {"pipeline": [{"$project": {"a": expression}}]}, as_=ann),
        client.post("/v1/db/app/items/_query", {"fields": {"a": expression}}, as_=ann),
        client.post("/v1/db/app/items/_query", {"filter": {"$expr": {"$eq": [expression, 1]}}}, as_=ann),
    ):
        assert_problem(answer, 400, "invalid_input")
        assert answer.json["errors"][0]["path"].endswith("$setField.field")


def test_rename_to_code_is_refused(client: Client, ann: Actor) -> None:
    assert_problem(
        client.patch("/v1/db/app/items/x", {"$rename": {"a": {"$code": "b"}}}, as_=ann), 400, "invalid_input"
    )
