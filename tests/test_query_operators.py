"""The allow list: every operator on it works against the database, everything else is refused where it stands."""

import json

import pytest

from document import operator
from tests.conftest import assert_problem

ITEMS = "/v1/db/app/items"
NOW = {"$date": "2026-01-31T12:00:00Z"}
DOCUMENTS = [
    {"_id": 1, "n": 4, "s": "Lamp", "l": [3, 1, 2], "o": {"k": 1}, "d": NOW, "at": [1, 1], "kind": "a"},
    {"_id": 2, "n": 9, "s": "Chair", "l": [], "o": {"k": 2}, "d": NOW, "at": [2, 2], "kind": "b"},
]


@pytest.fixture
def items(client, ann, mongo):
    """The collection of ann."""
    client.post(ITEMS, DOCUMENTS, as_=ann)
    mongo["app"]["items"].create_index([("s", "text")])
    mongo["app"]["items"].create_index([("at", "2d")])
    return ITEMS


FILTERS = [
    {"n": {"$eq": 4}, "s": {"$ne": "x"}, "l": {"$exists": True}},
    {"n": {"$gt": 3, "$gte": 4, "$lt": 5, "$lte": 4}},
    {"n": {"$in": [4], "$nin": [9]}},
    {"$and": [{"n": 4}], "$or": [{"n": 4}], "$nor": [{"n": 9}]},
    {"n": {"$not": {"$gt": 4}, "$type": "int", "$mod": [4, 0]}},
    {"s": {"$regex": "^l", "$options": "i"}},
    {"s": {"$regularExpression": {"pattern": "^l", "options": "i"}}},
    {"l": {"$all": [1], "$size": 3, "$elemMatch": {"$gte": 3}}},
    {"n": {"$bitsAllSet": 4, "$bitsAllClear": 1, "$bitsAnySet": 4, "$bitsAnyClear": 1}, "$comment": "why"},
    {"$text": {"$search": "lamp", "$language": "en", "$caseSensitive": False, "$diacriticSensitive": False}},
    {"at": {"$geoWithin": {"$box": [[0, 0], [1, 1]]}}},
    {"at": {"$geoWithin": {"$center": [[1, 1], 0.5]}}},
    {"at": {"$geoWithin": {"$centerSphere": [[1, 1], 0.001]}}},
    {"at": {"$geoWithin": {"$polygon": [[0, 0], [0, 3], [3, 0]]}}},
    {"at": {"$near": [1, 1], "$maxDistance": 0.5}},
    {"$expr": {"$lt": ["$n", {"$add": [3, 2]}]}},
    {"$jsonSchema": {"properties": {"kind": {"enum": ["a"]}, "$where": {}}}},
    {"n": 4, "$sampleRate": 1.0},
]


@pytest.mark.timeout(120)
def test_filter_operators_work(client, ann, items):
    for wanted in FILTERS:
        answer = client.post(f"{items}/_query", {"filter": wanted}, as_=ann)
        assert answer.status_code == 200, answer.text
        assert [each["_id"] for each in answer.json["documents"]] == [1], wanted


DATE_PARTS = (
    "year",
    "month",
    "week",
    "hour",
    "minute",
    "second",
    "millisecond",
    "dayOfMonth",
    "dayOfWeek",
    "dayOfYear",
)
EXPRESSIONS = {
    **{f"${name}": {f"${name}": 0.5} for name in ("abs", "ceil", "exp", "floor", "ln", "log10", "sqrt", "round")},
    **{f"${name}": {f"${name}": 0.5} for name in ("trunc", "sin", "cos", "tan", "asin", "acos", "atan", "sinh")},
    **{f"${name}": {f"${name}": 1.5} for name in ("cosh", "tanh", "asinh", "acosh", "toInt", "toLong", "toDouble")},
    **{f"${name}": {f"${name}": 0.5} for name in ("atanh", "degreesToRadians", "radiansToDegrees")},
    **{f"${name}": {f"${name}": ["$n", 2]} for name in ("add", "divide", "log", "mod", "multiply", "pow", "subtract")},
    **{
        f"${name}": {f"${name}": ["$n", 2]} for name in ("atan2", "eq", "ne", "gt", "gte", "lt", "lte", "cmp", "ifNull")
    },
    **{f"${name}": {f"${name}": ["$n", True]} for name in ("and", "or")},
    **{f"${name}": {f"${name}": "$n"} for name in ("not", "type", "isNumber", "toBool", "toDecimal", "toString")},
    **{f"${name}": {f"${name}": ["$l", [1]]} for name in ("setDifference", "setEquals", "setIntersection", "setUnion")},
    **{f"${name}": {f"${name}": ["$l", [1]]} for name in ("setIsSubset", "concatArrays")},
    **{f"${name}": {f"${name}": "$l"} for name in ("avg", "max", "min", "sum", "stdDevPop", "stdDevSamp", "first")},
    **{f"${name}": {f"${name}": {"n": 1, "input": "$l"}} for name in ("firstN", "lastN", "maxN", "minN")},
    **{f"${name}": {f"${name}": "$l"} for name in ("last", "size", "reverseArray")},
    **{f"${name}": {f"${name}": ["$l"]} for name in ("allElementsTrue", "anyElementTrue", "isArray")},
    **{f"${name}": {f"${name}": "$d"} for name in (*DATE_PARTS, "isoDayOfWeek", "isoWeek", "isoWeekYear", "toDate")},
    **{f"${name}": {f"${name}": {"input": "$s"}} for name in ("trim", "ltrim", "rtrim")},
    **{f"${name}": {f"${name}": {"input": "$s", "regex": "a"}} for name in ("regexFind", "regexFindAll", "regexMatch")},
    **{
        f"${name}": {f"${name}": {"input": "$s", "find": "a", "replacement": "b"}}
        for name in ("replaceAll", "replaceOne")
    },
    **{f"${name}": {f"${name}": ["$s", 0, 2]} for name in ("substr", "substrBytes", "substrCP")},
    **{f"${name}": {f"${name}": "$s"} for name in ("strLenBytes", "strLenCP", "toLower", "toUpper", "binarySize")},
    **{
        f"${name}": {f"${name}": ["$s", "a"]} for name in ("indexOfBytes", "indexOfCP", "split", "strcasecmp", "concat")
    },
    **{
        f"${name}": {f"${name}": {"startDate": "$d", "unit": "day", "amount": 1}}
        for name in ("dateAdd", "dateSubtract")
    },
    **{f"${name}": {f"${name}": {"$timestamp": {"t": 1, "i": 1}}} for name in ("tsSecond", "tsIncrement")},
    "$dateDiff": {"$dateDiff": {"startDate": "$d", "endDate": "$$NOW", "unit": "day"}},
    "$dateFromParts": {"$dateFromParts": {"year": 2026}},
    "$dateFromString": {"$dateFromString": {"dateString": "2026-01-31"}},
    "$dateToParts": {"$dateToParts": {"date": "$d"}},
    "$dateToString": {"$dateToString": {"date": "$d", "format": "%Y"}},
    "$dateTrunc": {"$dateTrunc": {"date": "$d", "unit": "day"}},
    "$arrayElemAt": {"$arrayElemAt": ["$l", 0]},
    "$arrayToObject": {"$arrayToObject": [[["a", 1]]]},
    "$objectToArray": {"$objectToArray": "$o"},
    "$bsonSize": {"$bsonSize": "$$ROOT"},
    "$cond": {"$cond": {"if": True, "then": 1, "else": "$$REMOVE"}},
    "$convert": {"$convert": {"input": "$s", "to": "int", "onError": 0}},
    "$filter": {"$filter": {"input": "$l", "as": "each", "cond": {"$gt": ["$$each", 1]}}},
    "$getField": {"$getField": {"field": "s", "input": "$$CURRENT"}},
    "$setField": {"$setField": {"field": "s", "input": "$$ROOT", "value": 1}},
    "$unsetField": {"$unsetField": {"field": "s", "input": "$$ROOT"}},
    "$in": {"$in": [1, "$l"]},
    "$indexOfArray": {"$indexOfArray": ["$l", 1]},
    "$let": {"$let": {"vars": {"a": 1}, "in": "$$a"}},
    "$literal": {"$literal": {"$where": "$$nothing", "$function": [{"$accumulator": 1}]}},
    "$map": {"$map": {"input": "$l", "in": {"$add": ["$$this", 1]}}},
    "$reduce": {"$reduce": {"input": "$l", "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}}},
    "$mergeObjects": {"$mergeObjects": ["$o", {"z": 1}]},
    "$meta": {"$meta": "indexKey"},
    "$rand": {"$rand": {}},
    "$range": {"$range": [0, "$n"]},
    "$slice": {"$slice": ["$l", 1]},
    "$sortArray": {"$sortArray": {"input": "$l", "sortBy": 1}},
    "$switch": {"$switch": {"branches": [{"case": {"$eq": ["$n", 4]}, "then": "four"}], "default": 0}},
    "$toObjectId": {"$toObjectId": "655f00aa1b2c3d4e5f607182"},
    "$zip": {"$zip": {"inputs": ["$l", ["a"]]}},
}
# They came with MongoDB 7.
NEWER = {"$bitAnd", "$bitNot", "$bitOr", "$bitXor", "$median", "$percentile"}


def test_every_expression_is_tried() -> None:
    assert EXPRESSIONS.keys() == operator.EXPRESSIONS - NEWER


@pytest.mark.timeout(120)
def test_expressions_work(client, ann, items):
    for name, expression in EXPRESSIONS.items():
        answer = client.post(f"{items}/_aggregate", {"pipeline": [{"$project": {"x": expression}}]}, as_=ann)
        assert answer.status_code == 200, f"{name}: {answer.text}"
        assert len(answer.json["documents"]) == 2, name
        answer = client.post(f"{items}/_query", {"fields": {"x": expression}}, as_=ann)
        assert answer.status_code == 200, f"{name}: {answer.text}"


ACCUMULATORS = {
    **{f"${name}": {f"${name}": "$n"} for name in ("addToSet", "avg", "first", "last", "max", "min", "push", "sum")},
    **{f"${name}": {f"${name}": "$n"} for name in ("stdDevPop", "stdDevSamp")},
    **{f"${name}": {f"${name}": {"n": 1, "input": "$n"}} for name in ("firstN", "lastN", "maxN", "minN")},
    **{f"${name}": {f"${name}": {"sortBy": {"n": 1}, "output": "$n"}} for name in ("top", "bottom")},
    **{f"${name}": {f"${name}": {"n": 1, "sortBy": {"n": 1}, "output": "$n"}} for name in ("topN", "bottomN")},
    "$count": {"$count": {}},
    "$mergeObjects": {"$mergeObjects": "$o"},
}
WINDOWS = {
    **{name: spec for name, spec in ACCUMULATORS.items() if name != "$mergeObjects"},
    **{f"${name}": {f"${name}": {}} for name in ("rank", "denseRank", "documentNumber")},
    **{f"${name}": {f"${name}": ["$n", "$_id"]} for name in ("covariancePop", "covarianceSamp")},
    **{
        f"${name}": {f"${name}": {"input": "$n"}, "window": {"documents": [-1, 0]}}
        for name in ("derivative", "integral")
    },
    **{f"${name}": {f"${name}": "$n"} for name in ("linearFill", "locf")},
    "$expMovingAvg": {"$expMovingAvg": {"input": "$n", "N": 2}},
    "$shift": {"$shift": {"output": "$n", "by": 1}},
}


def test_every_accumulator_and_window_operator_is_tried() -> None:
    assert ACCUMULATORS.keys() == operator.ACCUMULATORS - NEWER
    assert WINDOWS.keys() == operator.WINDOW_OPERATORS - NEWER - {"$mergeObjects"}


@pytest.mark.timeout(120)
def test_accumulators_and_window_operators_work(client, ann, items):
    groups = [(1, {"$group": {"_id": None, "x": spec}}) for spec in ACCUMULATORS.values()]
    windows = [(2, {"$setWindowFields": {"sortBy": {"n": 1}, "output": {"x": spec}}}) for spec in WINDOWS.values()]
    for expected, stage in groups + windows:
        answer = client.post(f"{items}/_aggregate", {"pipeline": [stage]}, as_=ann)
        assert answer.status_code == 200, f"{stage}: {answer.text}"
        assert len(answer.json["documents"]) == expected


JOIN = {"from": "items", "localField": "_id", "foreignField": "_id", "as": "x"}
SEARCH = {"from": "items", "startWith": "$_id", "connectFromField": "_id", "connectToField": "_id", "as": "x"}
STAGES = {
    "$addFields": [{"$addFields": {"x.y": {"$add": ["$n", 1]}}}],
    "$bucket": [{"$bucket": {"groupBy": "$n", "boundaries": [0, 5, 10], "output": {"x": {"$sum": 1}}}}],
    "$bucketAuto": [{"$bucketAuto": {"groupBy": "$n", "buckets": 2, "output": {"x": {"$push": "$s"}}}}],
    "$count": [{"$count": "x"}],
    "$densify": [{"$densify": {"field": "n", "range": {"step": 1, "bounds": "full"}}}],
    "$documents": [{"$lookup": {"pipeline": [{"$documents": [{"a": 1}]}], "as": "x"}}],
    "$facet": [{"$facet": {"a": [{"$match": {"n": 4}}], "b": [{"$sort": {"n": -1}}, {"$limit": 1}]}}],
    "$fill": [{"$fill": {"sortBy": {"n": 1}, "output": {"z": {"method": "linear"}, "y": {"value": "$n"}}}}],
    "$geoNear": [{"$geoNear": {"near": [1, 1], "distanceField": "x", "key": "at", "query": {"n": {"$gt": 0}}}}],
    "$graphLookup": [{"$graphLookup": {**SEARCH, "maxDepth": 1, "restrictSearchWithMatch": {"n": 4}}}],
    "$group": [{"$group": {"_id": {"kind": "$kind"}, "x": {"$sum": "$n"}}}],
    "$limit": [{"$limit": 1}],
    "$lookup": [{"$lookup": JOIN}, {"$lookup": {**JOIN, "pipeline": [{"$match": {"n": 4}}], "let": {"a": "$n"}}}],
    "$match": [{"$match": {"n": 4}}, {"$match": {"$expr": {"$eq": [{"$toInt": "$n"}, 4]}}}],
    "$project": [{"$project": {"n": 1, "x": "$s", "o": {"k": 1}}}],
    "$redact": [{"$redact": {"$cond": [{"$eq": ["$k", 9]}, "$$PRUNE", "$$DESCEND"]}}],
    "$replaceRoot": [{"$replaceRoot": {"newRoot": "$o"}}],
    "$replaceWith": [{"$replaceWith": {"a": "$o"}}],
    "$sample": [{"$sample": {"size": 1}}],
    "$set": [{"$set": {"x": 1}}],
    "$setWindowFields": [{"$setWindowFields": {"partitionBy": "$kind", "output": {"x": {"$sum": "$n"}}}}],
    "$skip": [{"$skip": 1}],
    "$sort": [{"$match": {"$text": {"$search": "lamp"}}}, {"$sort": {"score": {"$meta": "textScore"}, "n": 1}}],
    "$sortByCount": [{"$sortByCount": "$kind"}],
    "$unionWith": [{"$unionWith": "items"}, {"$unionWith": {"coll": "items", "pipeline": [{"$match": {"n": 4}}]}}],
    "$unset": [{"$unset": ["n", "o.k"]}],
    "$unwind": [{"$unwind": {"path": "$l", "preserveNullAndEmptyArrays": True, "includeArrayIndex": "i"}}],
}


def test_every_stage_is_tried() -> None:
    admins = operator.WRITING_STAGES | operator.WHOLE_COLLECTION_STAGES
    assert STAGES.keys() == operator.STAGES - admins


@pytest.mark.timeout(120)
def test_stages_work(client, ann, admin, items):
    for name, pipeline in STAGES.items():
        for actor in (ann, admin):
            answer = client.post(f"{items}/_aggregate", {"pipeline": pipeline}, as_=actor)
            assert answer.status_code == 200, f"{name}: {answer.text}"
            assert answer.json["documents"], name


CODE = {"$function": {"body": "function() {}", "args": [], "lang": "js"}}
REFUSED_FILTERS = {
    "filter.$where": {"$where": "1"},
    "filter.$or[0].$where": {"$or": [{"$where": "1"}]},
    "filter.$expr.$function": {"$expr": CODE},
    "filter.$expr.$and[1].$cond.if.$function": {"$expr": {"$and": [1, {"$cond": {"if": CODE}}]}},
    "filter.a.$elemMatch.$expr": {"a": {"$elemMatch": {"$expr": 1}}},
    "filter.a.$not.$where": {"a": {"$not": {"$where": 1}}},
    "filter.a.$in[0].$where": {"a": {"$in": [{"$where": 1}]}},
    "filter.$text.$foo": {"$text": {"$search": "x", "$foo": 1}},
    "filter.$jsonSchema": {"$jsonSchema": 1},
    "filter.$and": {"$and": {}},
    "filter.$expr.$eq[0]": {"$expr": {"$eq": ["$$USER_ROLES", 1]}},
    "filter.$_internalSchemaEq": {"$_internalSchemaEq": 1},
    "filter.$expr.$const": {"$expr": {"$const": 1}},
}


@pytest.mark.timeout(120)
def test_filters_that_are_not_on_the_list_are_refused_everywhere(client, admin):
    for path, wanted in REFUSED_FILTERS.items():
        for action, body in (
            ("_query", {"filter": wanted}),
            ("_count", {"filter": wanted}),
            ("_distinct", {"filter": wanted, "field": "a"}),
            ("_explain", {"query": {"filter": wanted}}),
        ):
            assert_problem(client.post(f"{ITEMS}/{action}", body, as_=admin), 400, "invalid_input", path=path)
        answer = client.get(ITEMS, query={"filter": json.dumps(wanted)}, as_=admin)
        assert_problem(answer, 400, "invalid_input", path=path)
        answer = client.post(f"{ITEMS}/_aggregate", {"pipeline": [{"$match": wanted}]}, as_=admin)
        assert_problem(answer, 400, "invalid_input", path=path.replace("filter", "pipeline[0].$match"))


DEEP = {"$lookup": {"from": "x", "pipeline": [{"$facet": {"f": [{"$project": {"a": CODE}}]}}], "as": "y"}}
REFUSED_PIPELINES = {
    "pipeline": {"$match": {}},
    "pipeline[0]": ["$match"],
    "pipeline[1]": [{"$match": {}}, {"$match": {}, "$limit": 1}],
    "pipeline[0].$currentOp": [{"$currentOp": {}}],
    "pipeline[0].$listSessions": [{"$listSessions": {}}],
    "pipeline[0].$listLocalSessions": [{"$listLocalSessions": {}}],
    "pipeline[0].$planCacheStats": [{"$planCacheStats": {}}],
    "pipeline[0].$changeStream": [{"$changeStream": {}}],
    "pipeline[0].$search": [{"$search": {}}],
    "pipeline[0].$_internalInhibitOptimization": [{"$_internalInhibitOptimization": {}}],
    "pipeline[0].$collStats.latencyStats": [{"$collStats": {"latencyStats": {}}}],
    "pipeline[0].$documents": [{"$documents": [{"a": 1}]}],
    "pipeline[1].$geoNear": [{"$match": {}}, {"$geoNear": {"near": [1, 1]}}],
    "pipeline[0].$out": [{"$out": "x"}, {"$match": {}}],
    "pipeline[0].$facet.a[0].$out": [{"$facet": {"a": [{"$out": "x"}]}}],
    "pipeline[0].$project.a.$function": [{"$project": {"a": CODE}}],
    "pipeline[0].$project.$where": [{"$project": {"$where": 1}}],
    "pipeline[0].$set.a.b.$map.in.$function": [{"$set": {"a": {"b": {"$map": {"input": [], "in": CODE}}}}}],
    "pipeline[0].$set.a.$reduce.in.$function": [{"$set": {"a": {"$reduce": {"in": CODE}}}}],
    "pipeline[0].$set.a.$let.vars.v.$function": [{"$set": {"a": {"$let": {"vars": {"v": CODE}}}}}],
    "pipeline[0].$set.a.$switch.branches[0].case.$function": [
        {"$set": {"a": {"$switch": {"branches": [{"case": CODE}]}}}}
    ],
    "pipeline[0].$set.a.$add": [{"$set": {"a": {"$add": [1], "b": 1}}}],
    "pipeline[0].$group._id.$function": [{"$group": {"_id": CODE}}],
    "pipeline[0].$group.a.$accumulator": [{"$group": {"_id": 1, "a": {"$accumulator": {}}}}],
    "pipeline[0].$group.a.$push.$function": [{"$group": {"_id": 1, "a": {"$push": CODE}}}],
    "pipeline[0].$bucket.output.a.$accumulator": [{"$bucket": {"output": {"a": {"$accumulator": {}}}}}],
    "pipeline[0].$setWindowFields.output.a.$function": [{"$setWindowFields": {"output": {"a": CODE}}}],
    "pipeline[0].$lookup.pipeline[0].$facet.f[0].$project.a.$function": [DEEP],
    "pipeline[0].$lookup.let.v.$function": [{"$lookup": {"from": "x", "let": {"v": CODE}, "pipeline": [], "as": "y"}}],
    "pipeline[0].$lookup.let.Big": [{"$lookup": {"from": "x", "let": {"Big": 1}, "pipeline": [], "as": "y"}}],
    "pipeline[0].$unionWith.pipeline[0].$match.$where": [
        {"$unionWith": {"coll": "x", "pipeline": [{"$match": {"$where": "1"}}]}}
    ],
    "pipeline[0].$graphLookup.restrictSearchWithMatch.$where": [
        {"$graphLookup": {**SEARCH, "restrictSearchWithMatch": {"$where": "1"}}}
    ],
    "pipeline[0].$graphLookup.startWith.$function": [{"$graphLookup": {**SEARCH, "startWith": CODE}}],
    "pipeline[0].$geoNear.query.$where": [{"$geoNear": {"query": {"$where": "1"}}}],
    "pipeline[0].$redact.$function": [{"$redact": CODE}],
    "pipeline[0].$replaceRoot.newRoot.$function": [{"$replaceRoot": {"newRoot": CODE}}],
    "pipeline[0].$sortByCount.$function": [{"$sortByCount": CODE}],
    "pipeline[0].$limit.$function": [{"$limit": CODE}],
    "pipeline[0].$sort.$where": [{"$sort": {"$where": 1}}],
    "pipeline[0].$merge.whenMatched[0].$set.a.$function": [
        {"$merge": {"into": "x", "whenMatched": [{"$set": {"a": CODE}}]}}
    ],
    "pipeline[0].$merge.whenMatched[0].$match": [{"$merge": {"into": "x", "whenMatched": [{"$match": {}}]}}],
    "pipeline[0].$merge.let.v.$function": [{"$merge": {"into": "x", "let": {"v": CODE}}}],
    "pipeline[0].$set.a": [{"$set": {"a": "$$CLUSTER_TIME"}}],
}


@pytest.mark.timeout(120)
def test_stages_that_are_not_on_the_list_are_refused(client, admin):
    for path, pipeline in REFUSED_PIPELINES.items():
        answer = client.post(f"{ITEMS}/_aggregate", {"pipeline": pipeline}, as_=admin)
        assert_problem(answer, 400, "invalid_input", path=path)
        assert client.post(f"{ITEMS}/_explain", {"pipeline": pipeline}, as_=admin).status_code == 400, path


def test_pipelines_of_too_many_stages_are_refused(client, admin):
    half = [{"$limit": 1}] * 60
    assert client.post(f"{ITEMS}/_aggregate", {"pipeline": half}, as_=admin).status_code == 200
    body = {"pipeline": [*half, {"$lookup": {"from": "x", "pipeline": half, "as": "y"}}]}
    answer = client.post(f"{ITEMS}/_aggregate", body, as_=admin)
    assert_problem(answer, 400, "invalid_input", path="pipeline[60].$lookup.pipeline")


def test_names_and_text_that_look_like_operators_are_data(client, ann, items):
    pipeline = [
        {"$match": {"kind": {"$in": ["a", "$where"]}, "function": {"$exists": False}}},
        {"$project": {"where": "$s", "function": "text", "l": {"$literal": "$$USER_ROLES"}}},
    ]
    answer = client.post(f"{items}/_aggregate", {"pipeline": pipeline}, as_=ann)
    assert answer.json["documents"] == [{"_id": 1, "where": "Lamp", "function": "text", "l": "$$USER_ROLES"}]
