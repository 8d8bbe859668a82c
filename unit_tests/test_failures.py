"""Tests of the kinds of failure and their sentences, and that each kind is complete."""

from __future__ import annotations

import re
import string

import pytest

from integration_tests import faults
from sandbox.faults import FAULTS, Fault
from source_ravan_calcom.ravan import client, failures, responses
from source_ravan_calcom.ravan.failures import KINDS, SENTENCES, Facts, Kind, OrganizationFailure, clean

CONFIG, SYSTEM, TRANSIENT = failures.CONFIG, failures.SYSTEM, failures.TRANSIENT

MADE_ELSEWHERE = {
    failures.TOKEN_EXPIRED: "ravan/client.py: a refused token that has expired",
    failures.TOKEN_REFUSED_HERE: "report.py: a refused token that was accepted for other organizations",
    failures.UNEXPECTED: "workers.py: an error that is in no table",
    failures.NOT_JSON: "ravan/responses.py: a body that is not JSON",
    failures.WRONG_SHAPE: "ravan/responses.py: JSON of another shape",
    failures.OTHER_TENANT: "ravan/responses.py: another organization's rows",
}
"""The kinds that are in no table, and their causes."""

WITHOUT_FAULT = {
    "token_refused": "it ends the whole sync, and has its own tests",
    "token_expired": "the token decides, not the response",
    "token_refused_here": "the order of the responses decides",
    "rate_limited": "it ends the whole sync, and has its own tests",
    "network_settings": "the connection fails, so there is no response",
    "unforeseen": "no known response causes it",
}
"""The kinds that no fault of the sandbox causes in one organization, and the reasons."""


def is_decided_by_its_body(fault: Fault) -> bool:
    """Whether the kind depends on the response only, not on its transfer, which the integration tests cover."""
    return fault.manner == "response" and "Content-Encoding" not in fault.headers


def kind_of(fault: Fault) -> Kind | None:
    """The kind of failure that a response leads to, if any."""
    try:
        responses.read(fault.status, fault.content, Facts("org"))
    except OrganizationFailure as failure:
        return failure.kind
    return None


def test_every_kind_of_the_module_is_in_kinds_once():
    of_the_module = {name: each for name, each in vars(failures).items() if isinstance(each, Kind)}
    missing = [name for name, kind in of_the_module.items() if kind not in KINDS]
    assert missing == [], "add them to KINDS in ravan/failures.py, ordered by how much a user can do about them"
    assert len(KINDS) == len(of_the_module)
    assert len({kind.name for kind in KINDS}) == len({kind.label for kind in KINDS}) == len(KINDS)


def test_kinds_are_ordered_with_the_most_actionable_first():
    types = [kind.failure_type for kind in KINDS]
    assert types == sorted(types, key=[CONFIG, SYSTEM, TRANSIENT].index), "KINDS: the most actionable first"


def test_every_kind_has_a_cause():
    by_table = {*responses.BY_CODE.values(), *responses.BY_STATUS.values(), *responses.BY_STATUS_CLASS.values()}
    by_table |= {responses.UNEXPLAINED, *(kind for _, _, kind, _ in client._NETWORK)}
    without = [kind.name for kind in KINDS if kind not in by_table | MADE_ELSEWHERE.keys()]
    assert without == [], (
        "add the codes or HTTP statuses that lead to them to a table in ravan/responses.py, or the exceptions to the "
        "one in ravan/client.py; a kind that is made elsewhere is listed in MADE_ELSEWHERE above"
    )


def test_every_kind_has_a_fault_of_the_sandbox_in_the_fault_matrix():
    in_matrix = {expected.kind for expected in faults.LASTING.values()}
    without = [kind.name for kind in KINDS if kind.name not in in_matrix | WITHOUT_FAULT.keys()]
    assert without == [], (
        "add a response that causes them to FAULTS in sandbox/faults.py, and a line for it to LASTING in "
        "integration_tests/faults.py; a kind that no response causes is listed in WITHOUT_FAULT above"
    )


def test_every_fault_of_the_sandbox_is_in_the_fault_matrix():
    expected = {*faults.LASTING, *faults.LIMITED, *faults.ODD, *faults.ELSEWHERE}
    assert sorted(FAULTS.keys() - expected) == [], "add a line for them to LASTING in integration_tests/faults.py"
    assert sorted(expected - FAULTS.keys()) == [], "add them to FAULTS in sandbox/faults.py"


@pytest.mark.parametrize("name", faults.LASTING)
def test_every_line_of_the_fault_matrix_matches_its_kind(name):
    expected = faults.LASTING[name]
    [kind] = [kind for kind in KINDS if kind.name == expected.kind] or [None]
    assert kind, f"{name} in integration_tests/faults.py names a kind that is not in KINDS of ravan/failures.py"
    assert expected.failure_type == kind.failure_type, f"{name} in integration_tests/faults.py: failure type"
    assert (expected.requests == faults.RETRIED) == kind.is_retryable, (
        f"{name} in integration_tests/faults.py: whether it is retried"
    )


@pytest.mark.parametrize("name", [name for name in faults.LASTING if is_decided_by_its_body(FAULTS[name])])
def test_the_response_of_every_fault_leads_to_the_kind_that_the_fault_matrix_expects(name):
    fault, expected = FAULTS[name], faults.LASTING[name]
    kind = kind_of(fault)
    assert kind and kind.name == expected.kind, (
        f"sandbox/faults.py: the response of {name} leads to {kind and kind.name}; add its code or HTTP status to a "
        f"table in ravan/responses.py, or correct integration_tests/faults.py"
    )


def test_every_code_has_a_fault_of_the_sandbox_or_is_a_synonym():
    """Each kind that a code leads to is caused by a fault with one of its codes or statuses."""
    by_fault = {kind_of(fault) for fault in FAULTS.values() if is_decided_by_its_body(fault)}
    without = sorted(str(code) for code, kind in responses.BY_CODE.items() if kind not in by_fault)
    assert without == [], "add a response with one of these codes to FAULTS in sandbox/faults.py"


# Sentences.

REMEDY = re.compile(
    r"\b(Paste|Use|Connect|Check|Report|Sync|Put|Set|Remove|Split|Choose|Wait) \w|The next sync tries again"
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_sentence_names_the_organization_and_the_remedy(kind):
    fields = {field for _, field, _, _ in string.Formatter().parse(SENTENCES[kind]) if field}
    assert "org_id" in fields, f"{kind.name}: the sentence does not say which organization"
    assert fields & {"code", "detail"}, f"{kind.name}: the sentence does not say what was seen"
    facts = Facts("ORG", "CODE", "seen", "the API's words", "host:1", 3)
    sentence = str(OrganizationFailure(kind, facts))
    assert sentence.endswith("Ravan says: “the API's words”." if "said" in fields else "."), f"{kind.name}: full stop"
    if kind is not failures.NETWORK_SETTINGS:  # its detail says what to do
        assert REMEDY.search(SENTENCES[kind]), (
            f"{kind.name}: the sentence does not say what to do. It may begin with another verb than "
            f"{REMEDY.pattern}; add it there"
        )


def test_only_transient_kinds_are_retried():
    assert [kind.name for kind in KINDS if kind.is_retryable and kind.failure_type != TRANSIENT] == []
    # After a rate limit, the client waits and sends the request again.
    assert [kind.name for kind in KINDS if kind.failure_type == TRANSIENT and not kind.is_retryable] == ["rate_limited"]


def test_only_kinds_that_concern_all_organizations_stop_the_sync():
    assert {kind.name: kind.alone.name if kind.alone else None for kind in KINDS if kind.stops_sync} == {
        "token_refused": "token_refused_here",
        "token_expired": None,
        "network_settings": "unreachable",
        "rate_limited": None,
    }


@pytest.mark.parametrize(
    ("kind", "facts", "sentence", "internal"),
    [
        (
            failures.CALCOM_FAILED,
            Facts("a", "CALCOM_API_ERROR, HTTP 502", said="down", tries=5),
            "Cal.com failed while Ravan read organization a (CALCOM_API_ERROR, HTTP 502, tried 5 times). "
            "The next sync tries again; if this persists, reconnect Cal.com in Ravan. Ravan says: “down”.",
            "calcom_failed: CALCOM_API_ERROR, HTTP 502; organization a, try 5",
        ),
        (
            failures.UNREACHABLE,
            Facts("a", detail="the connection was reset", host="h:1", internal="Reset: by\npeer"),
            "Could not read organization a from h:1 (tried once): the connection was reset. The next sync tries "
            "again; if this persists, check the network between the connector and h:1.",
            "unreachable: the connection was reset; organization a, try 1; Reset: by peer",
        ),
        (
            failures.TOKEN_EXPIRED,
            Facts("a", "HTTP 401", "2026-01-01 at 00:00:00 UTC"),
            "Ravan refused the Access Token (HTTP 401, requested for organization a): it expired on 2026-01-01 at "
            "00:00:00 UTC. Paste a valid token into Access Token (access_token).",
            "token_expired: HTTP 401; organization a, try 1",
        ),
    ],
)
def test_a_failure_names_its_organization_its_cause_and_its_remedy(kind, facts, sentence, internal):
    failure = OrganizationFailure(kind, facts)
    assert (str(failure), failure.internal_message) == (sentence, internal)
    assert (failure.kind, failure.facts, failure.stack_trace) == (kind, facts, None)


@pytest.mark.parametrize(
    ("facts", "seen"),
    [
        (Facts("a", "HTTP 502"), "HTTP 502"),
        (Facts("a", detail="the connection was reset"), "the connection was reset"),
        (Facts("a", "HTTP 200", "it is an HTML page"), "HTTP 200, it is an HTML page"),
    ],
)
def test_the_line_of_a_retry_gives_its_reason(facts, seen):
    assert OrganizationFailure(failures.NOT_JSON, facts).seen == seen


def test_an_unexpected_error_becomes_a_failure_with_its_stack_trace():
    try:
        raise ZeroDivisionError("by\nzero")
    except ZeroDivisionError as error:
        failure = OrganizationFailure.unexpected(error, "a")
    assert failure.kind is failures.UNEXPECTED
    assert str(failure) == (
        "Unexpected error while reading organization a (ZeroDivisionError). "
        "Report it to the connector's maintainers, with its stack trace."
    )
    assert failure.internal_message == "unforeseen: ZeroDivisionError; organization a, try 1; by zero"
    assert failure.stack_trace.startswith("Traceback")
    assert "ZeroDivisionError: by" in failure.stack_trace


def test_quoted_text_is_put_on_one_line_and_shortened():
    assert clean("bad\r\n\x1b[1mnow\u2028\ud800\x85" + "x" * 500, 15) == "bad [1mnow xxx…"
    assert clean("  a \t b ") == "a b"
    assert clean("x" * 300) == "x" * 300
    assert clean("x" * 301) == "x" * 299 + "…"


@pytest.mark.parametrize("value", [None, 7, [], {"a": 1}])
def test_a_value_that_is_not_text_is_not_quoted(value):
    assert clean(value) == ""
