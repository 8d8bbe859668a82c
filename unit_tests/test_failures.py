from __future__ import annotations

import re
import string

import pytest
from airbyte_cdk.models import FailureType, StreamDescriptor
from airbyte_cdk.utils.airbyte_secrets_utils import update_secrets

from source_ravan_calcom import errors
from source_ravan_calcom.ravan.failures import Facts, Failure, OrganizationFailure, clean

CONFIG, SYSTEM, TRANSIENT = FailureType.config_error, FailureType.system_error, FailureType.transient_error

WHO_ACTS = {
    CONFIG: [
        "token_refused",
        "token_expired",
        "token_refused_here",
        "forbidden",
        "not_connected",
        "invalid_request",
        "not_found",
        "redirected",
    ],
    SYSTEM: ["request_refused", "wrong_shape", "other_tenant", "unforeseen"],
    TRANSIENT: ["calcom_failed", "server_failed", "rate_limited", "not_json", "unreachable"],
}


def error_of(failure: Failure, stream: str | None = None):
    return failure.as_airbyte_message(StreamDescriptor(name=stream) if stream else None).trace.error


def test_every_kind_is_listed_once_the_most_actionable_first():
    assert tuple(WHO_ACTS) == errors.SEVERITY
    assert [(kind.failure_type, kind.name) for kind in errors.KINDS] == [
        (who, name) for who, names in WHO_ACTS.items() for name in names
    ]
    assert len({kind.label for kind in errors.KINDS}) == len(errors.KINDS)


@pytest.mark.parametrize("kind", errors.KINDS, ids=lambda kind: kind.name)
def test_every_sentence_names_the_organization_and_what_to_do(kind):
    fields = {field for _, field, _, _ in string.Formatter().parse(kind.sentence) if field}
    assert "org_id" in fields
    assert ("code" in fields) is (kind not in (errors.UNREACHABLE, errors.UNFORESEEN))
    facts = Facts("ORG", "CODE", ": seen", "the API's words", "host:1", 3)
    sentence = str(OrganizationFailure(kind, facts))
    assert "{" not in sentence
    assert "ORG" in sentence
    assert sentence.endswith(" Ravan says: “the API's words”") is ("said" in fields)
    assert re.search(r"\. (Paste|Use|Connect|Check|Report|Sync|The next sync tries again)\b", sentence)


def test_what_passes_by_itself_is_asked_again_and_nothing_else():
    assert [kind.name for kind in errors.KINDS if kind.ask_again] == WHO_ACTS[TRANSIENT]


def test_only_what_concerns_all_stops_the_sync():
    assert [kind.name for kind in errors.KINDS if kind.stops_sync] == ["token_refused", "token_expired", "rate_limited"]


@pytest.mark.parametrize(
    ("kind", "facts", "sentence", "internal"),
    [
        (
            errors.CALCOM_FAILED,
            Facts("a", "CALCOM_API_ERROR, HTTP 502", said="down", tries=5),
            "Cal.com failed while Ravan read organization a (CALCOM_API_ERROR, HTTP 502, tried 5 times). "
            "The next sync tries again; if it lasts, reconnect Cal.com in Ravan. Ravan says: “down”",
            "calcom_failed: CALCOM_API_ERROR, HTTP 502; organization a, try 5",
        ),
        (
            errors.UNREACHABLE,
            Facts("a", detail="the connection was reset", host="h:1", internal="Reset: by\npeer"),
            "Could not read organization a from h:1 (tried once): the connection was reset. The next sync tries "
            "again; if it lasts, check the network between Airbyte and h:1.",
            "unreachable: the connection was reset; organization a, try 1; Reset: by peer",
        ),
        (
            errors.TOKEN_EXPIRED,
            Facts("a", "HTTP 401", "2026-01-01 at 00:00:00 UTC"),
            "Ravan refused the Access Token (HTTP 401, asked for organization a): it expired on 2026-01-01 at 00:00:00 "
            "UTC. Paste a valid token into Access Token.",
            "token_expired: HTTP 401; organization a, try 1",
        ),
    ],
)
def test_a_failure_says_what_failed_for_whom_and_what_to_do(kind, facts, sentence, internal):
    failure = OrganizationFailure(kind, facts)
    assert (failure.message, failure.internal_message) == (sentence, internal)
    assert (failure.kind, failure.facts, failure.failure_type) == (kind, facts, kind.failure_type)


@pytest.mark.parametrize(
    ("facts", "seen"),
    [
        (Facts("a", "HTTP 502"), "HTTP 502"),
        (Facts("a", detail="the connection was reset"), "the connection was reset"),
        (Facts("a", "HTTP 200", "it is an HTML page"), "HTTP 200, it is an HTML page"),
    ],
)
def test_what_was_seen_fits_into_a_line_of_the_log(facts, seen):
    assert OrganizationFailure(errors.NOT_JSON, facts).seen == seen


def test_one_failure_may_be_final_though_its_kind_is_not():
    assert OrganizationFailure(errors.RATE_LIMITED, Facts("a")).ask_again
    assert not OrganizationFailure(errors.RATE_LIMITED, Facts("a"), ask_again=False).ask_again
    assert not OrganizationFailure(errors.FORBIDDEN, Facts("a")).ask_again


def test_a_failure_is_the_users_to_fix_unless_said_otherwise():
    failure = Failure("No such stream.")
    assert (failure.failure_type, failure.internal_message) == (CONFIG, "No such stream.")
    assert error_of(failure).stream_descriptor is None
    assert error_of(failure, "given").stream_descriptor.name == "given"
    other = Failure("It failed.", "why", TRANSIENT, stream="appointments")
    assert (error_of(other).failure_type, error_of(other).internal_message) == (TRANSIENT, "why")
    assert error_of(other).stream_descriptor.name == "appointments"


def test_a_foreseen_failure_carries_no_stack_trace_and_no_secret():
    update_secrets(["t0ken"])
    try:
        raise Failure("bad t0ken", "seen t0ken") from ValueError("rows")
    except Failure as caught:
        error = error_of(caught)
    assert (error.message, error.internal_message, error.stack_trace) == ("bad ****", "seen ****", None)


def test_an_error_nobody_foresaw_has_its_stack_trace_in_the_traces_own_field_alone():
    update_secrets(["t0ken"])
    try:
        raise ZeroDivisionError("t0ken\nby zero")
    except ZeroDivisionError as error:
        failure = OrganizationFailure.unforeseen(error, "a")
    assert failure.kind is errors.UNFORESEEN
    assert str(failure) == (
        "An error that nobody foresaw ended the reading of organization a (ZeroDivisionError). "
        "Report it to the connector's maintainers, with its stack trace."
    )
    assert failure.internal_message == "unforeseen: ZeroDivisionError; organization a, try 1; **** by zero"
    trace = error_of(failure).stack_trace
    assert trace.startswith("Traceback")
    assert "ZeroDivisionError: ****" in trace
    assert "t0ken" not in trace


def test_foreign_text_is_cut_cleaned_and_masked():
    update_secrets(["t0ken"])
    assert clean("bad t0ken\r\n\x1b[1mnow\u2028\ud800\x85" + "x" * 500, 20) == "bad **** [1mnow xxx…"
    assert clean("  a \t b ") == "a b"
    assert clean("x" * 300) == "x" * 300
    assert clean("x" * 301) == "x" * 299 + "…"


@pytest.mark.parametrize("value", [None, 7, [], {"a": 1}])
def test_what_is_no_text_is_not_repeated(value):
    assert clean(value) == ""
