"""The one allow list: which operators, stages and variables of MongoDB a caller may send. What is not here is refused.

Nothing that runs JavaScript (`$where`, `$function`, `$accumulator`), that looks at the server instead of documents
(`$currentOp`, `$listSessions`, ...) or that is MongoDB's own (`$_internal...`, `$const`) may ever be added.
"""

# https://www.mongodb.com/docs/manual/reference/operator/query/
LOGICAL_OPERATORS = frozenset({"$and", "$or", "$nor"})
# Those that stand for a whole document, beside fields; `$expr` and `$jsonSchema` may not stand deeper.
WHOLE_FILTER_OPERATORS = frozenset({"$expr", "$jsonSchema", "$text", "$comment", "$sampleRate"})
PREDICATE_OPERATORS = LOGICAL_OPERATORS | frozenset(
    # comparison, elements
    {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$not", "$exists", "$type"}
    # values, arrays, bits
    | {"$mod", "$regex", "$options", "$all", "$elemMatch", "$size", "$comment"}
    | {"$bitsAllClear", "$bitsAllSet", "$bitsAnyClear", "$bitsAnySet"}
    # places, with their parameters
    | {"$geoWithin", "$geoIntersects", "$near", "$nearSphere", "$geometry", "$maxDistance", "$minDistance"}
    | {"$box", "$center", "$centerSphere", "$polygon", "$uniqueDocs"}
)
TEXT_PARAMETERS = frozenset({"$search", "$language", "$caseSensitive", "$diacriticSensitive"})
# Members of a DBRef are data, not operators: https://www.mongodb.com/docs/manual/reference/database-references/
REFERENCE_FIELDS = frozenset({"$ref", "$id", "$db"})

# https://www.mongodb.com/docs/manual/reference/operator/aggregation/
# They fail on no value whatever, so it does not matter for which documents MongoDB computes them.
TOTAL_EXPRESSIONS = frozenset(
    {"$and", "$or", "$not", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$cmp", "$cond", "$ifNull", "$literal"}
    | {"$type", "$isNumber", "$isArray", "$rand"}
)
EXPRESSIONS = TOTAL_EXPRESSIONS | frozenset(
    # numbers
    {"$abs", "$add", "$ceil", "$divide", "$exp", "$floor", "$ln", "$log", "$log10", "$mod", "$multiply", "$pow"}
    | {"$round", "$sqrt", "$subtract", "$trunc", "$bitAnd", "$bitNot", "$bitOr", "$bitXor"}
    | {"$sin", "$cos", "$tan", "$asin", "$acos", "$atan", "$atan2", "$sinh", "$cosh", "$tanh"}
    | {"$asinh", "$acosh", "$atanh", "$degreesToRadians", "$radiansToDegrees"}
    # arrays and sets
    | {"$arrayElemAt", "$arrayToObject", "$concatArrays", "$filter", "$first", "$firstN", "$in", "$indexOfArray"}
    | {"$last", "$lastN", "$map", "$maxN", "$minN", "$objectToArray", "$range", "$reduce", "$reverseArray", "$size"}
    | {"$slice", "$sortArray", "$zip", "$allElementsTrue", "$anyElementTrue", "$setDifference", "$setEquals"}
    | {"$setIntersection", "$setIsSubset", "$setUnion"}
    # sums over a list
    | {"$avg", "$max", "$median", "$min", "$percentile", "$stdDevPop", "$stdDevSamp", "$sum"}
    # dates
    | {"$dateAdd", "$dateDiff", "$dateFromParts", "$dateFromString", "$dateSubtract", "$dateToParts", "$dateToString"}
    | {"$dateTrunc", "$dayOfMonth", "$dayOfWeek", "$dayOfYear", "$hour", "$isoDayOfWeek", "$isoWeek", "$isoWeekYear"}
    | {"$millisecond", "$minute", "$month", "$second", "$week", "$year", "$tsIncrement", "$tsSecond"}
    # text
    | {"$concat", "$indexOfBytes", "$indexOfCP", "$ltrim", "$regexFind", "$regexFindAll", "$regexMatch"}
    | {"$replaceAll", "$replaceOne", "$rtrim", "$split", "$strLenBytes", "$strLenCP", "$strcasecmp", "$substr"}
    | {"$substrBytes", "$substrCP", "$toLower", "$toUpper", "$trim"}
    # types, objects, control
    | {"$convert", "$toBool", "$toDate", "$toDecimal", "$toDouble", "$toInt", "$toLong", "$toObjectId", "$toString"}
    | {"$getField", "$mergeObjects", "$setField", "$unsetField", "$binarySize", "$bsonSize", "$meta"}
    | {"$let", "$switch"}
)
# `$$name`: names of the caller's own begin with a small letter, those of MongoDB with a capital. `$$USER_ROLES` tells
# of the service's database user, `$$CLUSTER_TIME` when anybody last wrote; both stay out.
SYSTEM_VARIABLES = frozenset({"ROOT", "CURRENT", "NOW", "REMOVE", "DESCEND", "PRUNE", "KEEP"})

ACCUMULATORS = frozenset(
    {"$addToSet", "$avg", "$bottom", "$bottomN", "$count", "$first", "$firstN", "$last", "$lastN", "$max", "$maxN"}
    | {"$median", "$mergeObjects", "$min", "$minN", "$percentile", "$push", "$stdDevPop", "$stdDevSamp", "$sum"}
    | {"$top", "$topN"}
)
WINDOW_OPERATORS = ACCUMULATORS | frozenset(
    {"$covariancePop", "$covarianceSamp", "$denseRank", "$derivative", "$documentNumber", "$expMovingAvg"}
    | {"$integral", "$linearFill", "$locf", "$rank", "$shift"}
)

# https://www.mongodb.com/docs/manual/reference/operator/aggregation-pipeline/
# Stages whose value is an object, with the members it may have.
STAGE_MEMBERS: dict[str, frozenset[str]] = {
    "$bucket": frozenset({"groupBy", "boundaries", "default", "output"}),
    "$bucketAuto": frozenset({"groupBy", "buckets", "output", "granularity"}),
    "$collStats": frozenset({"count"}),
    "$densify": frozenset({"field", "partitionByFields", "range"}),
    "$fill": frozenset({"partitionBy", "partitionByFields", "sortBy", "output"}),
    "$geoNear": frozenset(
        {"near", "distanceField", "spherical", "maxDistance", "minDistance", "query", "distanceMultiplier"}
        | {"includeLocs", "key"}
    ),
    "$graphLookup": frozenset(
        {"from", "startWith", "connectFromField", "connectToField", "as", "maxDepth", "depthField"}
        | {"restrictSearchWithMatch"}
    ),
    "$indexStats": frozenset(),
    "$lookup": frozenset({"from", "localField", "foreignField", "let", "pipeline", "as"}),
    "$merge": frozenset({"into", "on", "let", "whenMatched", "whenNotMatched"}),
    "$replaceRoot": frozenset({"newRoot"}),
    "$sample": frozenset({"size"}),
    "$setWindowFields": frozenset({"partitionBy", "sortBy", "output"}),
}
# Stages whose value is nothing but expressions, fields and numbers.
PLAIN_STAGES = frozenset(
    {"$addFields", "$count", "$documents", "$limit", "$project", "$redact", "$replaceWith", "$set", "$skip", "$sort"}
    | {"$sortByCount", "$unset", "$unwind"}
)
STAGES = PLAIN_STAGES | STAGE_MEMBERS.keys() | {"$facet", "$group", "$match", "$out", "$unionWith"}
# They tell of a whole collection, so only callers from whom no rule keeps a part of it may use them.
WHOLE_COLLECTION_STAGES = frozenset({"$collStats", "$indexStats"})
FIRST_STAGES = WHOLE_COLLECTION_STAGES | {"$geoNear", "$documents"}
WRITING_STAGES = frozenset({"$out", "$merge"})
UPDATE_STAGES = frozenset({"$addFields", "$project", "$replaceRoot", "$replaceWith", "$set", "$unset"})
