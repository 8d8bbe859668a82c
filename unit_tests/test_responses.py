from __future__ import annotations

import json

import orjson
import pytest
from airbyte_cdk.models import AirbyteMessage, AirbyteMessageSerializer, AirbyteRecordMessage, Type

from source_ravan_calcom.ravan import failures, responses
from source_ravan_calcom.ravan.failures import Facts, OrganizationFailure
from source_ravan_calcom.ravan.responses import Rows, is_foreign, judge
from unit_tests.syncs import ORG

CODES = {
    failures.INVALID_REQUEST: ["INVALID_REQUEST", 3],
    failures.NOT_CONNECTED: ["NOT_CONNECTED", " NOT_CONNECTED\n"],
    failures.CALCOM_FAILED: ["CALCOM_API_ERROR"],
    failures.SERVER_FAILED: ["INTERNAL_ERROR", 4, 13, 14],
    failures.NOT_FOUND: ["NOT_FOUND", 5],
    failures.REQUEST_REFUSED: ["CONFLICT"],
    failures.TOKEN_REFUSED: ["UNAUTHORIZED", "UNAUTHENTICATED", "INVALID_TOKEN", "TOKEN_EXPIRED", 16],
    failures.FORBIDDEN: ["FORBIDDEN", "PERMISSION_DENIED", 7],
    failures.RATE_LIMITED: ["RATE_LIMITED", "TOO_MANY_REQUESTS", 8],
}

STATUSES = {
    failures.REDIRECTED: [300, 302, 399],
    failures.INVALID_REQUEST: [400, 422],
    failures.TOKEN_REFUSED: [401],
    failures.FORBIDDEN: [403],
    failures.NOT_FOUND: [404],
    failures.REQUEST_REFUSED: [402, 409, 418, 499],
    failures.RATE_LIMITED: [429],
    failures.SERVER_FAILED: [100, 408, 425, 500, 502, 503, 599],
}


def cases(kinds: dict) -> list:
    return [(sign, kind) for kind, signs in kinds.items() for sign in signs]


def response(*rows, **data) -> bytes:
    return json.dumps({"success": True, "data": {"appointments": list(rows), **data}}).encode()


def read(status: int, content: bytes | bytearray) -> Rows | tuple[failures.Kind, Facts]:
    """The rows of a response, or the kind and the facts of its failure."""
    try:
        return responses.read(status, content, Facts(ORG))
    except OrganizationFailure as failure:
        return failure.kind, failure.facts


def problem(kind: failures.Kind, code: str, detail: str = "", said: str = "") -> tuple[failures.Kind, Facts]:
    return kind, Facts(ORG, code, detail, said, status=int(code[-3:]))


@pytest.mark.parametrize(("code", "kind"), cases(CODES))
@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_a_known_code_decides_with_any_status(status, code, kind):
    assert judge(status, {"success": False, "code": code})[0] is kind
    assert judge(status, {"success": False, "error": {"code": code}})[0] is kind


@pytest.mark.parametrize(("status", "kind"), cases(STATUSES))
@pytest.mark.parametrize("body", [None, [], "text", {}, {"code": "NEVER_SEEN"}, {"code": 99}, {"success": True}])
def test_the_status_decides_without_a_known_code(status, kind, body):
    assert judge(status, body)[0] is kind


@pytest.mark.parametrize("body", [{"code": "NOT_CONNECTED"}, {"code": 16}, {"success": True, "data": {}}, None])
def test_a_429_is_a_rate_limit_with_any_body(body):
    assert judge(429, body)[0] is failures.RATE_LIMITED


@pytest.mark.parametrize(
    "body",
    [
        {"success": False},
        {"success": "yes"},
        {"success": 1},
        {"success": None, "data": {}},
        {"success": False, "code": "NEVER_SEEN"},
        {"code": "NEVER_SEEN"},
        {"error": {"code": 99}},
    ],
)
@pytest.mark.parametrize("status", [200, 299])
def test_a_body_that_reports_a_failure_is_a_failure_even_with_a_success_status(status, body):
    assert judge(status, body)[0] is failures.SERVER_FAILED


@pytest.mark.parametrize(
    "body",
    [{"success": True, "data": {}}, {"data": {}}, {"data": {}, "code": "OK"}, {"success": True, "code": 7}, None],
)
@pytest.mark.parametrize("status", [200, 299])
def test_a_body_that_reports_success_is_not_a_failure(status, body):
    assert judge(status, body)[0] is None


@pytest.mark.parametrize(
    ("body", "seen", "said"),
    [
        ({"code": "NOT_CONNECTED", "message": "m"}, "NOT_CONNECTED, HTTP 400", "m"),
        ({"error": {"code": "NOT_CONNECTED", "message": "m"}}, "NOT_CONNECTED, HTTP 400", "m"),
        ({"code": "A", "error": {"code": "B", "message": "b"}, "message": "a"}, "A, HTTP 400", "a"),
        ({"code": " ", "error": {"code": " B "}}, "B, HTTP 400", ""),
        ({"code": 0, "error": {"code": 5}}, "code 5, HTTP 400", ""),
        ({"code": 3, "message": "m"}, "code 3, HTTP 400", "m"),
        ({"error": "m"}, "HTTP 400", "m"),
        ({"code": {"a": 1}, "message": []}, "HTTP 400", ""),
        ({"code": True}, "HTTP 400", ""),
        ({"code": True, "error": {"code": "B"}}, "B, HTTP 400", ""),
        ({"code": "A\x1b[31m\nB"}, "A [31m B, HTTP 400", ""),
        ({"code": "C" * 61}, "C" * 59 + "…, HTTP 400", ""),
        ("text", "HTTP 400", ""),
    ],
)
def test_all_error_bodies_are_understood(body, seen, said):
    assert judge(400, body)[1:] == (seen, said)


def test_every_code_of_the_contract_is_known():
    assert {"INVALID_REQUEST", "NOT_CONNECTED", "CALCOM_API_ERROR", "INTERNAL_ERROR"} <= set(responses.BY_CODE)


def test_rows_are_returned_unchanged():
    rows: list[dict] = [{"id": "2", "organization_id": ORG, "new": [{"x": None}]}, {"id": "1"}]
    assert read(200, response(*rows, count=7)) == Rows(rows, 7)
    assert read(200, bytearray(response(*rows))) == Rows(rows)


@pytest.mark.parametrize("rows", [None, []])
def test_missing_appointments_are_an_empty_account(rows):
    body = {"success": True, "data": {"appointments": rows, "count": 0}}
    assert read(200, json.dumps(body).encode()) == Rows([], 0)


def test_a_failure_has_its_kind_its_code_and_ravans_message():
    content = b'{"success": false, "code": "NOT_CONNECTED", "message": "no\\naccount"}'
    assert read(502, content) == problem(failures.NOT_CONNECTED, "NOT_CONNECTED, HTTP 502", said="no account")
    assert read(503, b"<html>") == problem(failures.SERVER_FAILED, "HTTP 503")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "it is a list, not an object"),
        (None, "it is null, not an object"),
        (True, "it is true or false, not an object"),
        (1.5, "it is a number, not an object"),
        ({"success": True}, "“data” is missing"),
        ({"success": True, "data": None}, "“data” is null, not an object"),
        ({"success": True, "data": {}}, "“appointments” is missing"),
        ({"success": True, "data": {"appointments": "x"}}, "“appointments” is text, not a list"),
        ({"success": True, "data": {"appointments": {}}}, "“appointments” is an object, not a list"),
        ({"success": True, "data": {"appointments": [{}, 7]}}, "row 2 is a number, not an object"),
    ],
)
def test_a_response_of_another_shape_is_described(body, detail):
    assert read(200, json.dumps(body).encode()) == problem(failures.WRONG_SHAPE, "HTTP 200", detail)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"\n<!DOCTYPE html><p>attendee@example.com", "it is an HTML page"),
        (b"<HTML>", "it is an HTML page"),
        (b'{"success": true, "data": {"appo', "it is cut short or broken JSON"),
        (b"[1,", "it is cut short or broken JSON"),
        (b'{"a": NaN}', "it is cut short or broken JSON"),
        (b'{"a": -Infinity}', "it is cut short or broken JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "it is cut short or broken JSON"),
        (b"attendee@example.com", "it is some other text"),
        (b"\xff\xfe\x00", "it is some other text"),
    ],
)
def test_a_response_that_is_not_json_is_described_and_not_quoted(content, detail):
    assert read(200, content) == problem(failures.NOT_JSON, "HTTP 200", detail)


def test_a_lone_surrogate_is_replaced_and_the_rows_are_marked_as_repaired():
    content = response({"id": "1", "attendee_name": "A \ud83d, \ude00 \ud83d\ude00 é"}, count=1)
    assert read(200, content) == Rows([{"id": "1", "attendee_name": "A �, � 😀 é"}], 1, repaired=True)
    assert read(200, response({"id": "\ud83d"})) == Rows([{"id": "�"}], repaired=True)


ROW = b'{"success": true, "data": {"appointments": [{"id": "1", "odd": %s, "good": [1.5, 7, "\xc3\xa9"]}]}}'


@pytest.mark.parametrize(
    ("sent", "delivered"),
    [
        (b'"J\xfcrgen \xff\xfe"', "J�rgen ��"),
        (b'"half \xc3"', "half �"),
        (b"1e400", "1e400"),
        (b"-1.5E+400", "-1.5E+400"),
        (b"9" * 400, "9" * 400),
        (b"-" + b"9" * 5000, "-" + "9" * 5000),
        (b'["\xff", 1e999, "\\ud800"]', ["�", "1e999", "�"]),
    ],
)
def test_invalid_utf_8_and_numbers_out_of_range_affect_only_their_own_values(sent, delivered):
    good = {"id": "1", "odd": delivered, "good": [1.5, 7, "é"]}
    assert read(200, ROW % sent) == Rows([good], repaired=True)
    assert read(200, bytearray(b"\xef\xbb\xbf" + ROW % sent)) == Rows([good], repaired=True)


@pytest.mark.parametrize("sent", [b"1e-400", b"12345678901234567890123", b'"\xc3\xa9"'])
def test_a_number_within_range_is_not_a_repair(sent):
    found = read(200, ROW % sent)
    assert isinstance(found, Rows)
    assert not found.repaired


@pytest.mark.parametrize(
    "content", [(ROW % b'"\xff"')[:-1], (ROW % b"1e400")[:-2], ROW % b"NaN, \xff", b"\xff\xff", b"\xff{}"]
)
def test_a_response_that_can_not_be_repaired_counts_as_not_json(content):
    found = read(200, content)
    assert isinstance(found, tuple)
    assert found[0] is failures.NOT_JSON


def test_an_error_in_another_encoding_keeps_its_code():
    content = b'{"success": false, "code": "NOT_CONNECTED", "message": "n\xe4chstes Mal"}'
    assert read(502, content) == problem(failures.NOT_CONNECTED, "NOT_CONNECTED, HTTP 502", said="n�chstes Mal")


def test_a_byte_order_mark_is_no_hindrance():
    assert read(200, response({"id": "1"}).decode().encode("utf-8-sig")) == Rows([{"id": "1"}])


@pytest.mark.parametrize("levels", [*range(245, 258), 600])
def test_a_row_nested_too_deep_to_be_printed_is_reported(levels):
    row = json.loads('{"a":' * levels + "1" + "}" * levels)
    found = read(200, b'{"success":true,"data":{"appointments":[%s]}}' % json.dumps(row).encode())
    record = AirbyteRecordMessage(stream="appointments", data=row, emitted_at=1)
    message = AirbyteMessageSerializer.dump(AirbyteMessage(type=Type.RECORD, record=record))
    try:
        orjson.dumps(message)
    except orjson.JSONEncodeError:
        assert found == problem(failures.WRONG_SHAPE, "HTTP 200", "a row is nested too deep to be passed on")
    else:
        assert found == Rows([row])


@pytest.mark.parametrize("echo", ["another", 7, [], {"a": 1}, False])
def test_a_response_that_names_another_organization_is_refused(echo):
    found = read(200, response({"id": "1"}, org_id=echo))
    assert found == problem(failures.OTHER_TENANT, "HTTP 200", "the bookings of another organization")


@pytest.mark.parametrize("owner", ["another", 7, False, f"{ORG}0"])
def test_a_row_of_another_organization_is_refused(owner):
    found = read(200, response({}, {"id": "1", "organization_id": owner}))
    assert found == problem(failures.OTHER_TENANT, "HTTP 200", "a booking of another organization in row 2")


@pytest.mark.parametrize("own", [None, "", ORG, ORG.upper(), f" {ORG}\n"])
def test_a_row_with_no_or_the_requested_organization_is_accepted(own):
    rows = [{"id": "1", "organization_id": own}]
    assert read(200, response(*rows, org_id=own)) == Rows(rows)


@pytest.mark.parametrize(
    ("owner", "foreign"),
    [
        ("ab-c", False),
        ("AB-C ", False),
        ("", False),
        (None, False),
        ("abc", True),
        (5, True),
        (False, True),
        ([], True),
    ],
)
def test_the_case_of_an_id_is_ignored(owner, foreign):
    assert is_foreign(owner, "Ab-C") is foreign


def test_a_number_is_never_the_id_of_the_requested_organization():
    assert is_foreign(7, "7")
