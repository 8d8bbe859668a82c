from __future__ import annotations

import time

import jwt
import pytest
import requests
import urllib3.exceptions
from airbyte_cdk.utils.airbyte_secrets_utils import update_secrets

from source_ravan_calcom import errors
from source_ravan_calcom.errors import Failure, clean, connection_words, judge, token_expiry


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"success": False, "message": "m"}, errors.TOKEN_REFUSED),
        (401, None, errors.TOKEN_REFUSED),
        (400, {"code": 16, "message": "m", "details": []}, errors.TOKEN_REFUSED),
        (200, {"code": 16, "message": "m", "details": []}, errors.TOKEN_REFUSED),
        (403, {"success": False}, errors.FORBIDDEN),
        (500, {"success": False, "code": "NOT_CONNECTED"}, errors.NOT_CONNECTED),
        (502, {"success": False, "error": {"code": "NOT_CONNECTED"}}, errors.NOT_CONNECTED),
        (200, {"success": False, "code": "NOT_CONNECTED"}, errors.NOT_CONNECTED),
        (400, {"success": False, "code": "INVALID_REQUEST"}, errors.INVALID_REQUEST),
        (400, {"success": False}, errors.INVALID_REQUEST),
        (404, None, errors.NOT_FOUND),
        (418, {"message": "m"}, errors.REQUEST_REFUSED),
        (409, {"success": False, "code": "CONFLICT"}, errors.REQUEST_REFUSED),
        (400, {"success": False, "code": "CALCOM_API_ERROR"}, errors.CALCOM_FAILED),
        (500, {"success": False, "code": "INTERNAL_ERROR"}, errors.SERVER_FAILED),
        (503, None, errors.SERVER_FAILED),
        (599, {"code": "NEVER_SEEN"}, errors.SERVER_FAILED),
        (429, {"success": False}, errors.RATE_LIMITED),
        (302, None, errors.REDIRECTED),
        (200, {"success": False}, errors.SERVER_FAILED),
        (200, {"success": "yes"}, errors.SERVER_FAILED),
        (200, {"success": False, "code": "NEVER_SEEN"}, errors.SERVER_FAILED),
        (200, {"success": True, "data": {}}, None),
        (200, {"data": {}}, None),
        (204, None, None),
    ],
)
def test_the_code_decides_first_and_the_status_where_there_is_none(status, body, kind):
    assert judge(status, body)[0] is kind


@pytest.mark.parametrize(
    ("body", "seen", "said"),
    [
        ({"code": "NOT_CONNECTED", "message": "m"}, "NOT_CONNECTED, HTTP 400", "m"),
        ({"error": {"code": "NOT_CONNECTED", "message": "m"}}, "NOT_CONNECTED, HTTP 400", "m"),
        ({"code": 3, "message": "m"}, "code 3, HTTP 400", "m"),
        ({"error": "m"}, "HTTP 400", "m"),
        ({"code": {}, "message": []}, "HTTP 400", ""),
        ({"code": True}, "HTTP 400", ""),
        ({"code": "A\x1b[31m\nB"}, "A [31m B, HTTP 400", ""),
        ("text", "HTTP 400", ""),
    ],
)
def test_all_error_bodies_are_understood(body, seen, said):
    assert judge(400, body)[1:] == (seen, said)


def test_foreign_text_is_cut_cleaned_and_masked():
    update_secrets(["t0ken"])
    assert clean("bad t0ken\r\n\x1b[1mnow\u2028" + "x" * 500, 20) == "bad **** [1mnow xxx…"


def test_every_kind_has_a_sentence_that_names_whom_it_concerns():
    fields = {"org_id": "ORG", "code": "CODE", "detail": "", "host": "HOST", "tries": "once", "said": ""}
    for kind in errors.KINDS:
        sentence = kind.sentence.format(**fields)
        assert "ORG" in sentence
        assert "CODE" in sentence or kind is errors.UNREACHABLE


def test_every_code_of_the_contract_is_known():
    assert {"INVALID_REQUEST", "NOT_CONNECTED", "CALCOM_API_ERROR", "INTERNAL_ERROR"} <= set(errors.BY_CODE)


def test_an_expired_token_says_when():
    assert token_expiry(jwt.encode({"exp": 1000000000}, "k" * 32)) == ": it expired on 2001-09-09 at 01:46:40 UTC"


@pytest.mark.parametrize(
    "token",
    ["opaque", "a.b.c", jwt.encode({}, "k" * 32), jwt.encode({"exp": int(time.time()) + 900}, "k" * 32)],
)
def test_a_token_that_has_not_expired_says_nothing(token):
    assert token_expiry(token) == ""


@pytest.mark.parametrize("claim", ["soon", None, [], 1e300])
def test_a_nonsensical_expiry_says_nothing(claim, monkeypatch):
    monkeypatch.setattr(jwt, "decode", lambda *_, **__: {"exp": claim})
    assert token_expiry("a.b.c") == ""


def chained(outer: Exception, cause: Exception) -> Exception:
    outer.__context__ = cause
    return outer


@pytest.mark.parametrize(
    ("exception", "words"),
    [
        (requests.exceptions.ConnectTimeout(), "no connection was made in time"),
        (requests.exceptions.ReadTimeout(), "no answer came in time"),
        (requests.exceptions.SSLError(), "the TLS connection could not be made or was broken"),
        (chained(requests.exceptions.ConnectionError(), ConnectionRefusedError()), "the connection was refused"),
        (requests.exceptions.ConnectionError(ConnectionResetError()), "the connection was reset"),
        (
            requests.exceptions.ConnectionError(
                urllib3.exceptions.MaxRetryError(
                    None, "/", urllib3.exceptions.NameResolutionError("h", None, OSError("x"))
                )
            ),
            "the host name could not be resolved",
        ),
        (urllib3.exceptions.IncompleteRead(1, 2), "the answer was cut short"),
        (TimeoutError(), "the answer did not end in time"),
        (requests.exceptions.InvalidURL(), "the request could not be made"),
    ],
)
def test_a_broken_connection_is_told_by_its_cause(exception, words):
    assert connection_words(exception) == words


def test_a_failure_carries_no_stack_trace_and_no_secret():
    update_secrets(["t0ken"])
    try:
        raise Failure(errors.NOT_JSON, "bad t0ken", "seen t0ken", "org") from ValueError("rows")
    except Failure as caught:
        error = caught.as_airbyte_message().trace.error
        assert (error.message, error.internal_message, error.stack_trace) == ("bad ****", "seen ****", None)
        assert error.stream_descriptor.name == "appointments"
        bare = caught.without_frames()
        assert bare.__traceback__ is bare.__cause__ is bare.__context__ is None
