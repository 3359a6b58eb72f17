"""Failures as callers meet them: one form everywhere, the right status and code, and nothing of the inside."""

import re
from typing import Any

import pytest
from flask import Flask
from mongoengine.errors import OperationError
from pymongo import errors as mongo
from werkzeug import exceptions as http

import errors
from settings import Settings
from tests.conftest import Actor, Client, assert_problem

ITEMS = "/v1/db/app/items"


def test_unknown_path_is_a_problem(client: Client) -> None:
    assert_problem(client.get("/nowhere"), 404, "not_found")


def test_unknown_path_tells_nothing_of_who_may(client: Client, admin: Actor) -> None:
    assert client.get("/v1/nowhere").json["detail"] == client.get("/v1/nowhere", as_=admin).json["detail"]


@pytest.mark.parametrize("path", [f"{ITEMS}/", "/v1/users/", "/docs/"])
def test_slash_at_the_end_is_no_redirect(client: Client, path: str) -> None:
    answer = client.post(path, {})
    assert 400 <= answer.status_code < 500
    assert "Location" not in answer.headers


@pytest.mark.parametrize(("method", "path"), [("PUT", ITEMS), ("DELETE", "/v1/sessions"), ("POST", "/docs")])
def test_wrong_method_lists_those_there_are(client: Client, method: str, path: str) -> None:
    answer = client.open(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"]
    assert method not in answer.headers["Allow"].split(", ")


def test_body_over_the_limit_is_413(client: Client, ann: Actor, app: Flask, config: Settings) -> None:
    body = b'{"text": "' + b"x" * config.max_body_bytes + b'"}'
    answer = client.post(ITEMS, data=body, headers={"Content-Type": "application/json"}, as_=ann)
    assert_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_body_that_is_not_json_is_415(client: Client, ann: Actor, content_type: str) -> None:
    answer = client.post(ITEMS, data=b"{}", headers={"Content-Type": content_type}, as_=ann)
    assert_problem(answer, 415, "unsupported_media_type")


def test_input_that_is_wrong_names_the_part(client: Client, ann: Actor) -> None:
    answer = client.get(ITEMS, query={"limit": "-1"}, as_=ann)
    assert_problem(answer, 400, "invalid_input", path="limit")


def test_fault_of_ours_is_500_and_says_nothing_of_it(
    client: Client, ann: Actor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("inner-words")

    monkeypatch.setattr("document.models.find", fail)
    answer = client.get(ITEMS, as_=ann)
    assert_problem(answer, 500, "internal_error")
    assert "inner-words" not in answer.text
    assert answer.json["request_id"] in caplog.text
    assert "inner-words" in caplog.text


def test_every_answer_has_a_request_id_and_fixed_headers(client: Client) -> None:
    for answer in (client.get("/health"), client.get("/nowhere"), client.get(ITEMS)):
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("sent", "is_kept"), [("trace-0123.abc_DEF", True), ("short", False), ("x" * 65, False), ("semi;colon", False)]
)
def test_request_id_of_a_proxy_is_kept_when_it_is_a_plain_token(client: Client, sent: str, is_kept: bool) -> None:
    answer = client.get("/nowhere", headers={"X-Request-Id": sent})
    assert (answer.headers["X-Request-Id"] == sent) is is_kept
    assert (answer.json["request_id"] == sent) is is_kept


def wrapped(failure: Exception) -> OperationError:
    """The failure as MongoEngine hands it on."""
    wrapping = OperationError("could not save")
    wrapping.__context__ = failure
    return wrapping


SELECTION = mongo.ServerSelectionTimeoutError("mongo.internal:27017: timed out")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (mongo.DuplicateKeyError("E11000 dup key", 11000, {"keyPattern": {"email": 1}}), errors.DuplicateKey),
        (mongo.WriteError("Document failed validation", 121), errors.ValidationFailed),
        (mongo.WriteError("Cannot apply $inc to a string", 14, {"errmsg": "Cannot apply"}), errors.RefusedByDatabase),
        (mongo.OperationFailure("some check failed", 40353, {"errmsg": "bad"}), errors.RefusedByDatabase),
        (mongo.OperationFailure("not authorized", 13), errors.Forbidden),
        (mongo.OperationFailure("who knows", 8), errors.InternalError),
        (mongo.OperationFailure("no code"), errors.InternalError),
        (mongo.ExecutionTimeout("operation exceeded time limit", 50), errors.TimeLimitExceeded),
        (mongo.OperationFailure("exceeded", 50), errors.TimeLimitExceeded),
        (mongo.WTimeoutError("waiting for replication", 64), errors.TimeLimitExceeded),
        (mongo.NotPrimaryError("stepped down"), errors.DatabaseUnavailable),
        (mongo.AutoReconnect("mongo.internal: closed"), errors.DatabaseUnavailable),
        (mongo.OperationFailure("shutting down", 91), errors.DatabaseUnavailable),
        (SELECTION, errors.DatabaseUnavailable),
        (mongo.DocumentTooLarge("too large"), errors.BodyTooLarge),
        (mongo.OperationFailure("too large", 10334), errors.BodyTooLarge),
        (mongo.BulkWriteError({"writeErrors": [{"index": 0, "code": 11000}]}), errors.DuplicateKey),
        (mongo.BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 91}]}), errors.DatabaseUnavailable),
        (mongo.ConfigurationError("bad option"), errors.InternalError),
        (http.BadRequest(), errors.BadRequest),
        (http.NotFound(), errors.NotFound),
        (http.RequestEntityTooLarge(), errors.BodyTooLarge),
        (http.UnsupportedMediaType(), errors.UnsupportedMediaType),
        (http.ImATeapot(), errors.InternalError),
        (wrapped(mongo.ExecutionTimeout("exceeded", 50)), errors.TimeLimitExceeded),
        (wrapped(mongo.OperationFailure("shutting down", 91)), errors.DatabaseUnavailable),
        (OperationError("by itself"), errors.InternalError),
        (ValueError("inside"), errors.InternalError),
        (errors.Conflict("taken"), errors.Conflict),
    ],
    ids=repr,
)
def test_failures_are_translated(failure: Exception, expected: type[errors.ApiError]) -> None:
    found = errors.translate(failure)
    assert type(found) is expected
    if found.status >= 500:
        assert str(failure) not in found.detail


def test_duplicate_names_the_fields_and_not_their_values() -> None:
    details = {"keyPattern": {"email": 1}, "keyValue": {"email": "ann@example.org"}}
    found = errors.translate(mongo.DuplicateKeyError("E11000 ann@example.org", 11000, details))
    assert found.errors == [{"path": "email", "message": "must be unique"}]
    assert "ann@" not in str(found.to_problem("id"))


@pytest.mark.parametrize(
    ("failure", "header"),
    [
        (errors.Unauthorized("Sign in."), "WWW-Authenticate"),
        (errors.TooManyRequests("Wait.", 30), "Retry-After"),
        (errors.DatabaseUnavailable(), "Retry-After"),
        (http.MethodNotAllowed(["GET"]), "Allow"),
    ],
)
def test_headers_that_belong_to_a_failure_are_sent(failure: Exception, header: str) -> None:
    _, headers, _ = errors.answer(failure, "request-id")
    assert headers[header]
    assert headers["Content-Type"] == "application/problem+json"


def test_database_that_takes_the_connection_and_closes_it_is_503(
    client: Client, ann: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise mongo.AutoReconnect("mongo.internal:27017: connection closed")

    monkeypatch.setattr("document.models.find", refuse)
    answer = client.get(ITEMS, as_=ann)
    assert_problem(answer, 503, "database_unavailable")
    assert answer.headers["Retry-After"] == "2"
    assert "internal:27017" not in answer.text
