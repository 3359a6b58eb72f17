"""Every failure a caller can meet, and their one translation into HTTP (RFC 9457 problem details).

Models raise an `ApiError`; nothing else decides a status. Each class says when it is answered; docs/errors.md lists
them all, and a test holds the two together.
"""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from bson.errors import InvalidDocument
from mongoengine.errors import OperationError
from pymongo import errors as mongo
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed

logger = logging.getLogger("sheaf.errors")

DOCUMENT_TOO_LARGE = "A document is larger than MongoDB's limit of 16 MB."
PROBLEM_TYPE = "application/problem+json"


class ApiError(Exception):
    """A failure with a status, a stable code and words for the caller."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self, detail: str, errors: list[dict[str, str]] | None = None, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.extra: dict[str, Any] = {}
        """Extension members of the problem document (RFC 9457, section 3.2)."""

    def to_problem(self, request_id: str) -> dict[str, Any]:
        """The members of the problem document (RFC 9457, section 3)."""
        problem: dict[str, Any] = {
            "type": f"/docs#error-{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.errors:
            problem["errors"] = self.errors
        return {**problem, **self.extra}


class InvalidInput(ApiError):
    """The request was understood but part of it is wrong; `errors` names each part."""

    status, code, title = 400, "invalid_input", "Invalid input"


class Unauthorized(ApiError):
    """No credential was sent, or it is unknown, expired or revoked. Sign in, or refresh the access token."""

    status, code, title = 401, "unauthorized", "Not signed in"

    def __init__(self, detail: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(detail, errors, headers={"WWW-Authenticate": 'Bearer realm="sheaf"'})


class RefreshTokenReused(Unauthorized):
    """A refresh token came a second time. It may have been stolen, so its whole session was ended: sign in again."""

    code, title = "refresh_token_reused", "Refresh token used twice"


class Forbidden(ApiError):
    """The caller is known, and may not do this."""

    status, code, title = 403, "forbidden", "Not allowed"


class EmailNotVerified(ApiError):
    """The server wants a confirmed e-mail address before sign-in; ask for a new link with POST /v1/users/verify."""

    status, code, title = 403, "email_not_verified", "E-mail address not confirmed"


class NotFound(ApiError):
    """There is no such thing, or none that the caller may see."""

    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(ApiError):
    """The path exists, the method does not; `Allow` lists those that do."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class Conflict(ApiError):
    """The change collides with what is stored, for instance a name that is taken."""

    status, code, title = 409, "conflict", "Conflict"


class DuplicateKey(Conflict):
    """A document with the same `_id`, or the same values of a unique index, is already stored."""

    code, title = "duplicate_key", "Duplicate key"


class BodyTooLarge(ApiError):
    """The body, its inflated form or a document in it is over the limit."""

    status, code, title = 413, "body_too_large", "Body too large"


class UriTooLong(ApiError):
    """The URL is over the server's limit; send long filters in a body."""

    status, code, title = 414, "uri_too_long", "URL too long"


class UnsupportedMediaType(ApiError):
    """The body is of a type, character set or encoding that the route does not read."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class ValidationFailed(ApiError):
    """The collection's own validator refused the document."""

    status, code, title = 422, "validation_failed", "Document failed validation"


class TooManyRequests(ApiError):
    """Too many attempts; `Retry-After` says after how many seconds to try again."""

    status, code, title = 429, "too_many_requests", "Too many requests"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class BadRequest(ApiError):
    """The request could not be read as HTTP, or for a reason that has no code of its own."""

    status, code, title = 400, "bad_request", "Bad request"


class RefusedByDatabase(ApiError):
    """MongoDB refused the operation as it stands, for instance `$inc` on a string; the detail gives its reason."""

    status, code, title = 400, "refused_by_database", "Refused by the database"


class InternalError(ApiError):
    """A fault of the service. The log has it under the request id."""

    status, code, title = 500, "internal_error", "Internal error"


class NotImplementedHere(ApiError):
    """This server is not set up for it; the detail says what is needed."""

    status, code, title = 501, "not_available", "Not available here"


class ServerBusy(ApiError):
    """Too many slow requests are under way in this process; `Retry-After` says when to try again."""

    status, code, title = 503, "server_busy", "Server busy"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "1"})


class DatabaseUnavailable(ApiError):
    """The database cannot be reached, or lost its primary during the operation. A write may or may not have happened:
    read before repeating it."""

    status, code, title = 503, "database_unavailable", "Database unavailable"

    def __init__(self, detail: str = "The database cannot be reached just now; try again shortly.") -> None:
        super().__init__(detail, headers={"Retry-After": "2"})


class TimeLimitExceeded(ApiError):
    """The database stopped the operation at the server's time limit; narrow the filter or add an index. A write may
    have happened: read before repeating it."""

    status, code, title = 504, "time_limit_exceeded", "Time limit exceeded"

    def __init__(self) -> None:
        super().__init__(
            "The operation was stopped at the time limit: narrow the filter, or add an index for it. A write may have "
            "happened; read before repeating it."
        )


# Server error codes that the caller caused and can mend; MongoDB's own words go with them.
# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
CALLER_ERRORS = frozenset(
    {2, 4, 9, 14, 15, 16, 17, 20, 26, 27, 28, 34, 40, 48, 52, 53, 54, 55, 56, 57, 66, 67, 72, 73, 85, 86, 96, 115, 128}
    | {146, 166, 167, 168, 197, 224, 241, 291, 292}
)
# Its message quotes mongod's memory.
CORRUPT_BSON = 10320
# From here on a number stands for one place in MongoDB's source that checks what was sent to it.
FIRST_UNNAMED_CODE = 10_000
OVERLOADED = frozenset({6, 7, 89, 91, 112, 133, 189, 262, 9001, 10107, 11600, 11601, 11602, 13435, 13436, 14031})


def translate(failure: Exception) -> ApiError:
    """The ApiError to answer for any exception; what nobody foresaw becomes InternalError."""
    if isinstance(failure, ApiError):
        return failure
    if isinstance(failure, HTTPException):
        return _translate_http(failure)
    if isinstance(failure, mongo.DocumentTooLarge):
        return BodyTooLarge(DOCUMENT_TOO_LARGE)
    if isinstance(failure, InvalidDocument):
        return InvalidInput("Something in the request cannot be stored or asked for in MongoDB.")
    # MongoEngine replaces some failures of the driver by its own.
    cause = failure.__context__ if isinstance(failure, OperationError) else failure
    if isinstance(cause, mongo.PyMongoError):
        return translate_database_error(cause)
    return InternalError("Something went wrong on our side; the log has it under this request id.")


def translate_database_error(failure: mongo.PyMongoError) -> ApiError:
    """The ApiError for a failure of the driver or of MongoDB, with its text only where the caller is at fault."""
    if isinstance(failure, mongo.BulkWriteError):
        return _translate_code(*_first_bulk_error(failure))
    if isinstance(failure, (mongo.ExecutionTimeout, mongo.WTimeoutError)):
        return TimeLimitExceeded()
    if isinstance(failure, mongo.ConnectionFailure):
        return _translate_connection_failure(failure)
    if isinstance(failure, mongo.OperationFailure):
        return _translate_code(failure.code or 0, failure.details or {})
    return InternalError("The database answered in a way we did not expect; the log has it under this request id.")


def _translate_connection_failure(failure: mongo.ConnectionFailure) -> ApiError:
    # A network time-out in the middle of an operation is the time limit's other face: the client stopped waiting.
    if (
        isinstance(failure, mongo.NetworkTimeout)
        and failure.timeout
        and not isinstance(failure, mongo.ServerSelectionTimeoutError)
    ):
        return TimeLimitExceeded()
    return DatabaseUnavailable()


def _first_bulk_error(failure: mongo.BulkWriteError) -> tuple[int, dict[str, Any]]:
    details = failure.details or {}
    found = details.get("writeErrors") or details.get("writeConcernErrors") or [{}]
    return int(found[0].get("code", 0)), dict(found[0])


def _translate_code(code: int, details: Mapping[str, Any]) -> ApiError:
    if code in (11000, 11001, 12582):
        return _duplicate_key(details)
    if code == 121:
        return ValidationFailed("The collection's validator refused the document.")
    if code in (50, 202):
        return TimeLimitExceeded()
    if code in (10334, 17280):
        return BodyTooLarge(DOCUMENT_TOO_LARGE)
    if code in OVERLOADED:
        return DatabaseUnavailable()
    if code == CORRUPT_BSON:
        return InternalError("A stored document is damaged; the log has it under this request id.")
    if code in CALLER_ERRORS or code >= FIRST_UNNAMED_CODE:
        return RefusedByDatabase(f"MongoDB refused this: {details.get('errmsg', 'no reason given')}")
    if code in (13, 18, 8000):
        return Forbidden("The database user of this service may not do that.")
    return InternalError("The database answered in a way we did not expect; the log has it under this request id.")


def _duplicate_key(details: Mapping[str, Any]) -> DuplicateKey:
    names = [str(name) for name in details.get("keyPattern", {"_id": 1})]
    sentence = f"A document with the same {', '.join(names)} is already stored."
    return DuplicateKey(sentence, [{"path": name, "message": "must be unique"} for name in names])


_HTTP_ERRORS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    414: UriTooLong,
    415: UnsupportedMediaType,
}


def _translate_http(failure: HTTPException) -> ApiError:
    kind = _HTTP_ERRORS.get(failure.code or 500)
    if kind is None:
        return InternalError("Something went wrong on our side; the log has it under this request id.")
    translated = kind(failure.description or kind.title)
    if failure.code == 404:
        translated.detail = (
            "There is nothing at this path; /docs lists the routes. Segments that begin with _ are routes, too: find a "
            "document whose _id begins so with POST /v1/db/{database}/{collection}/_query."
        )
    if failure.code == 413:
        translated.detail = "The body is over the limit for this route."
    if isinstance(failure, WerkzeugMethodNotAllowed) and failure.valid_methods:
        allowed = ", ".join(sorted(failure.valid_methods))
        translated.detail = f"This path takes {allowed}."
        translated.headers = {"Allow": allowed}
    return translated


def answer(failure: Exception, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body to answer `failure` with: problem details as JSON.

    What was not foreseen is logged with its traceback, never sent.
    """
    problem = translate(failure)
    if isinstance(problem, InternalError):
        logger.error("unexpected failure in request %s", request_id, exc_info=failure)
    elif problem.status >= 500:
        logger.warning("request %s: %s: %s", request_id, type(failure).__name__, failure)
    headers = {"Content-Type": PROBLEM_TYPE, **problem.headers}
    return problem.status, headers, orjson.dumps(problem.to_problem(request_id))
