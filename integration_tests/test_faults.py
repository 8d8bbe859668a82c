"""Each documented failure, met by the installed command in check and in read.

One read and one check meet all faults at once, each in an organization of its own: that is what failing alone
means, and the waiting for retries is shared.
"""

from __future__ import annotations

import jwt
import pytest

from integration_tests.faults import CONFIG, HEALTHY_ROWS, MATRIX, ONCE, PASSING, TRANSIENT, Background
from sandbox import FAULTS, generated
from sandbox.faults import today
from source_ravan_calcom.api import IMPATIENT, PATIENT

TOKEN_FAULTS = {"unauthorized", "unauthorized-grpc", "unauthorized-code"}

CDK_WORDS = (
    "Rate limit exceeded",
    "Exhausted available request attempts",
    "Something went wrong",
    "During the sync, the following streams",
    "Retries exhausted",
    "AirbyteTracedException(",
    "<Response [",
    "Traceback",
    "object at 0x",
)


@pytest.fixture(scope="module")
def fault_runs(tmp_path_factory):
    """The matrix's runs of the command, by verb, side by side."""
    return {verb: Background(verb, tmp_path_factory.mktemp(verb)) for verb in ("read", "check")}


def test_the_matrix_holds_every_fault():
    assert set(MATRIX) | TOKEN_FAULTS == set(FAULTS)


def sentence_of(name: str, run: Background) -> str:
    lines = run.output.check["message"].split("\n") if run.output.of("CONNECTION_STATUS") else []
    lines = lines or [error["message"] for error in run.output.errors[:-1]]
    [line] = [line for line in lines if f"organization {name} " in line.lower()]
    return line


@pytest.mark.parametrize("verb", ["check", "read"])
@pytest.mark.parametrize("name", MATRIX)
def test_a_fault_has_its_own_sentence(fault_runs, verb, name):
    run, expected = fault_runs[verb], MATRIX[name]
    sentence = sentence_of(name, run)
    patience = IMPATIENT if verb == "check" else PATIENT
    asked = run.sandbox.requests_for(name)
    assert expected.sentence.format(org=name, host=run.host, tries=asked) in sentence
    if expected.asked == ONCE:
        assert asked == 1
    else:
        assert 2 <= asked <= patience.retries + 1


@pytest.mark.parametrize("name", MATRIX)
def test_a_fault_has_the_right_kind(fault_runs, name):
    output = fault_runs["read"].output
    [error] = [each for each in output.errors[:-1] if f"organization {name} " in each["message"].lower()]
    assert error["failure_type"] == MATRIX[name].failure_type
    assert error["stream_descriptor"] == {"name": "appointments"}
    assert f"organization {name}" in error["internal_message"]


def test_check_names_the_broken_organizations_and_only_those(fault_runs):
    output = fault_runs["check"].output
    assert output.code == 0
    assert output.check["status"] == "FAILED"
    assert len(output.check["message"].split("\n")) == len(MATRIX)


def test_read_delivers_and_checkpoints_every_healthy_organization(fault_runs):
    output = fault_runs["read"].output
    healthy = {"healthy-1", "healthy-2", *(f"passing-{name}" for name in PASSING)}
    assert {row["organization_id"] for row in output.rows} == healthy
    assert len(output.rows) == HEALTHY_ROWS * len(healthy)
    assert set(output.states[-1]["stream"]["stream_state"]["organizations"]) == healthy


def test_read_ends_incomplete_with_a_summary_in_words(fault_runs):
    output = fault_runs["read"].output
    assert output.code == 1
    assert output.statuses[-1] == "INCOMPLETE"
    assert len(output.errors) == len(MATRIX) + 1
    summary = output.errors[-1]
    assert summary["message"].startswith(
        f"{len(MATRIX)} of {len(fault_runs['read'].sandbox.accounts)} organizations failed: "
    )
    assert summary["failure_type"] == CONFIG


def test_a_rate_limit_is_a_stream_status(fault_runs):
    reasons = [
        reason["type"]
        for trace in fault_runs["read"].output.of("TRACE")
        if trace["type"] == "STREAM_STATUS"
        for reason in trace["stream_status"].get("reasons") or []
    ]
    assert set(reasons) == {"RATE_LIMITED"}


@pytest.mark.parametrize("verb", ["check", "read"])
def test_nothing_that_is_printed_is_the_cdks_own_wording(fault_runs, verb):
    output = fault_runs[verb].output
    printed = output.stdout + output.stderr
    assert [words for words in CDK_WORDS if words in printed] == []
    assert all("rate limit" not in line.lower() for line in output.logs("INFO") if "HTTP 50" in line)


def test_every_retry_is_said(fault_runs):
    said = fault_runs["read"].output.logs("INFO")
    assert any(
        line.startswith("Organization internal-error: INTERNAL_ERROR, HTTP 500. Asking again in") for line in said
    )


@pytest.mark.parametrize("name", sorted(TOKEN_FAULTS))
def test_a_refused_token_is_one_sentence_for_the_whole_read(connector, sandbox, name):
    org_ids = [f"org-{number}" for number in range(40)]
    sandbox.faults = dict.fromkeys(org_ids, FAULTS[name])
    output = connector.run("read", connector.config(*org_ids, num_workers=4), mode="incremental")
    assert output.code == 1
    [error] = output.errors
    assert error["failure_type"] == CONFIG
    assert error["message"].startswith("Ravan refused the Access Token (")
    assert output.statuses[-1] == "INCOMPLETE"
    assert sandbox.requests.total() <= 4, "no more than the requests in flight"


def test_a_refused_token_is_one_sentence_for_the_whole_check(connector, sandbox):
    expired = jwt.encode({"exp": 1700000000}, "k" * 32)
    output = connector.run("check", connector.config(*map(str, range(30)), access_token=expired, num_workers=3))
    assert output.check["status"] == "FAILED"
    assert output.check["message"].startswith("Ravan refused the Access Token (HTTP 401, asked for organization ")
    assert (
        ": it expired on 2023-11-14 at 22:13:20 UTC. Paste a valid token into Access Token." in output.check["message"]
    )
    assert "\n" not in output.check["message"]
    assert sandbox.requests.total() <= 3


def test_a_token_that_expires_in_the_middle_keeps_what_was_read(connector, sandbox):
    org_ids = [f"org-{number}" for number in range(12)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, HEALTHY_ROWS, number, sandbox.clock.now()))
    sandbox.token_requests = 5
    output = connector.run("read", connector.config(*org_ids, num_workers=1), mode="incremental")
    assert len(output.rows) == 5 * HEALTHY_ROWS
    assert len(output.states[-1]["stream"]["stream_state"]["organizations"]) == 5
    [error] = output.errors
    assert error["failure_type"] == CONFIG
    assert sandbox.requests.total() == 6


def test_all_transient_causes_make_a_transient_summary(connector, sandbox):
    sandbox.put(generated("a", 1, 1, sandbox.clock.now()))
    sandbox.faults = {"a": today(500, "INTERNAL_ERROR")}
    output = connector.run("read", connector.config("a"))
    assert [error["failure_type"] for error in output.errors] == [TRANSIENT, TRANSIENT]


@pytest.mark.parametrize("verb", ["check", "read"])
def test_an_address_where_nobody_answers_is_named(connector, verb):
    config = connector.config("a", api_url="http://127.0.0.1:9")
    output = connector.run(verb, config)
    said = output.check["message"] if verb == "check" else output.errors[0]["message"]
    assert "Could not read organization a from 127.0.0.1:9" in said
    assert "the connection was refused" in said


def test_a_server_that_speaks_no_tls_is_named(connector):
    config = connector.config("a", api_url=connector.url.replace("http://", "https://"))
    output = connector.run("check", config)
    assert "the TLS connection could not be made" in output.check["message"]


def test_a_dozen_dead_organizations_do_not_keep_a_person_waiting(fault_runs):
    # Measured in requests, not in seconds: no organization is asked more than twice.
    sandbox = fault_runs["check"].sandbox
    assert fault_runs["check"].output.code == 0
    assert max(map(sandbox.requests_for, sandbox.accounts)) <= IMPATIENT.retries + 1
    assert (IMPATIENT.retries + 1) * IMPATIENT.answer + IMPATIENT.longest_wait < 60 / 2, "a dozen, ten at a time"
