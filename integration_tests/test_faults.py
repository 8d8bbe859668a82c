"""Tests each documented failure in check and read.

One read and one check meet all faults at once, each in its own organization. This shows that organizations fail alone,
and saves time, because all retries wait at the same time.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta

import jwt
import pytest

from integration_tests.conftest import BOTH
from integration_tests.faults import (
    CONFIG,
    ELSEWHERE,
    HEALTHY,
    HEALTHY_ROWS,
    LASTING,
    LIMITED,
    ODD,
    ONCE,
    PASSING,
    RETRIED,
    TRANSIENT,
    TWICE,
    Background,
)
from sandbox import FAULTS, generated
from source_ravan_calcom import workers
from source_ravan_calcom.ravan.failures import KINDS

CDK_WORDS = (
    "Rate limit exceeded",
    "Exhausted available request attempts",
    "Something went wrong",
    "During the sync, the following streams",
    "Retries exhausted",
    "Giving up",
    "AirbyteTracedException(",
    "<Response [",
    "Traceback",
    "object at 0x",
)


@pytest.fixture(scope="module", autouse=True)
def fault_runs(tmp_path_factory):
    """The runs of the fault matrix by verb. They start before the other tests of this module and run in parallel."""
    return {verb: Background(verb, tmp_path_factory.mktemp(verb)) for verb in ("read", "check")}


@pytest.mark.parametrize("name", sorted(name for name in ELSEWHERE if name.startswith("unauthorized")))
def test_a_refused_token_ends_a_read_with_one_error(connector, sandbox, name):
    org_ids = [f"org-{number}" for number in range(40)]
    sandbox.faults = dict.fromkeys(org_ids, FAULTS[name])
    output = connector.run("read", connector.config(*org_ids, num_workers=4), mode="incremental", streams=BOTH)
    assert output.code == 1
    [error] = output.errors
    assert error["failure_type"] == CONFIG
    assert error["message"].startswith("Ravan refused the Access Token (")
    assert output.ended("appointments") == "INCOMPLETE"
    # Three refusals are needed; the requests in progress may add one per worker.
    assert 3 <= sandbox.requests.total() <= 3 + 4
    attempted = {row["organization_id"] for row in output.results.values() if row["outcome"] == "failed"}
    assert len(attempted) == sandbox.requests.total()
    assert {row["error_kind"] for row in output.results.values()} == {"token_refused"}
    not_attempted = [row for row in output.results.values() if row["organization_id"] not in attempted]
    assert {(row["outcome"], row["requests"], row["error"]) for row in not_attempted} == {
        ("not_asked", 0, error["message"])
    }
    [closing] = [line for line in output.logs("INFO") if line.startswith("Done: ")]
    assert f"0 of 40 organizations read, {len(attempted)} failed, {40 - len(attempted)} not attempted;" in closing


def test_a_refused_token_ends_a_check_with_one_error(connector, sandbox):
    output = connector.run("check", connector.config(*map(str, range(30)), access_token="another", num_workers=3))
    assert output.check["status"] == "FAILED"
    assert output.check["message"].startswith("Ravan refused the Access Token (HTTP 401, requested for organization ")
    assert "\n" not in output.check["message"]
    assert sandbox.requests.total() <= 3 + 3


def test_a_401_after_a_success_fails_only_its_organization(connector, sandbox):
    org_ids = [f"org-{number:02}" for number in range(8)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, HEALTHY_ROWS, number, sandbox.clock.now()))
    refused = org_ids[3:7]
    sandbox.faults = dict.fromkeys(refused, FAULTS["unauthorized"])
    config = connector.config(*org_ids, num_workers=1)
    output = connector.run("read", config, mode="incremental", streams=BOTH)
    assert output.code == 1
    assert {row["organization_id"] for row in output.rows} == {*org_ids} - {*refused}
    assert set(output.last_state()["organizations"]) == {*org_ids} - {*refused}
    assert {org_id: row["error_kind"] for org_id, row in output.results.items() if row["error_kind"]} == dict.fromkeys(
        refused, "token_refused_here"
    )
    summary = (
        "4 of 8 organizations failed: 4 token refused for one organization. To sync the others meanwhile, set Failing "
        "Organizations (failing_organizations) to skip instead of fail. "
        "(1) Ravan refused the Access Token for organization org-03 (HTTP 401), but not for others. "
    )
    [error] = output.errors
    assert error["message"].startswith(summary)
    assert connector.run("check", config).check["message"].startswith(summary)


def test_a_first_401_fails_only_its_organization_unless_two_more_follow(connector, sandbox):
    org_ids = ["a", "b", "c", "d"]
    for org_id in org_ids:
        sandbox.put(generated(org_id, HEALTHY_ROWS, 1, sandbox.clock.now()))
    sandbox.faults = {"a": FAULTS["unauthorized"], "b": FAULTS["unauthorized"], "c": FAULTS["not-found"]}
    output = connector.run("read", connector.config(*org_ids, num_workers=1), mode="incremental", streams=BOTH)
    assert {row["organization_id"] for row in output.rows} == {"d"}
    assert {org_id: row["error_kind"] for org_id, row in output.results.items()} == {
        "a": "token_refused_here",
        "b": "token_refused_here",
        "c": "not_found",
        "d": None,
    }


def test_organizations_read_before_the_token_expires_are_kept(connector, sandbox):
    ends = sandbox.clock.now() - timedelta(minutes=1)  # an expired token is still tried, because clocks may differ
    token = jwt.encode({"exp": int(ends.timestamp())}, "k" * 32)
    sandbox.tokens = {token}
    org_ids = [f"org-{number}" for number in range(12)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, HEALTHY_ROWS, number, sandbox.clock.now()))
    sandbox.token_requests = 5
    config = connector.config(*org_ids, num_workers=1, access_token=token)
    output = connector.run("read", config, mode="incremental", streams=BOTH)
    assert len(output.rows) == 5 * HEALTHY_ROWS
    assert len(output.last_state()["organizations"]) == 5
    [error] = output.errors
    assert error["failure_type"] == CONFIG
    assert (
        f"(HTTP 401, requested for organization org-5): it expired on {ends:%Y-%m-%d at %H:%M:%S} UTC. "
        "Paste a valid token into Access Token (access_token)." in error["message"]
    )
    assert sandbox.requests.total() == 6
    assert [row["outcome"] for row in output.results.values()] == ["read"] * 5 + ["failed"] + ["not_asked"] * 6


@pytest.mark.parametrize("verb", ["check", "read"])
def test_a_rate_limit_of_a_day_ends_the_command_at_once(connector, sandbox, verb):
    org_ids = [f"org-{number}" for number in range(20)]
    for number, org_id in enumerate(org_ids):
        sandbox.put(generated(org_id, HEALTHY_ROWS, number, sandbox.clock.now()))
    sandbox.faults["org-5"] = FAULTS["rate-limited-day"]
    sandbox.delay = 0.05  # so that the other worker sends at most one more request
    config = connector.config(*org_ids, num_workers=2, failing_organizations="skip")
    output = connector.run(verb, config, mode="incremental", streams=BOTH)
    assert sandbox.requests.total() <= 5 + 2 + 2, "only requests in progress may follow"
    until = re.compile(
        r"Ravan limits the rate of requests, so organization org-5 was not read \(HTTP 429\): "
        r"Ravan asks to wait until \d{4}-\d\d-\d\d at \d\d:\d\d:\d\d UTC\. "
    )
    if verb == "check":
        assert output.check == {"status": "SUCCEEDED"}, "others could be read, and the failure is temporary"
        warnings = output.logs("WARN")
        assert any(map(until.match, warnings))
        assert any("organizations were not checked" in line for line in warnings)
        return
    assert output.code == 1
    [error] = output.errors
    assert error["failure_type"] == TRANSIENT
    assert until.match(error["message"])
    outcomes = Counter(row["outcome"] for row in output.results.values())
    assert (outcomes["read"], outcomes["failed"]) == (sandbox.requests.total() - 1, 1)
    assert outcomes["not_asked"] == 20 - sandbox.requests.total()


def test_an_unreachable_address_is_named_and_counts_as_a_temporary_failure(connector):
    config = connector.config("a", "b", api_url="http://127.0.0.1:9")
    read, check = connector.run("read", config), connector.run("check", config)
    for message in (read.errors[-1]["message"], check.check["message"]):
        assert message.startswith("2 of 2 organizations failed: 2 unreachable. (1) Could not read organization ")
        assert "Could not read organization a from 127.0.0.1:9 (tried " in message
        assert "the connection was refused" in message
    assert [error["failure_type"] for error in read.errors] == [TRANSIENT]
    assert check.check["status"] == "FAILED", "no organization could be read"
    assert "To sync the others" not in check.check["message"], "skip would not help"


def test_a_check_with_temporary_failures_succeeds_if_another_organization_can_be_read(connector, sandbox):
    for number, name in enumerate(("well", "html", "calcom-error", "reset")):
        sandbox.put(generated(name, HEALTHY_ROWS, number, sandbox.clock.now()))
    sandbox.faults = {name: FAULTS[name] for name in ("html", "calcom-error", "reset")}
    output = connector.run("check", connector.config(*sandbox.faults, "well"))
    assert output.check == {"status": "SUCCEEDED"}
    assert sorted(line[: line.index("(")] for line in output.logs("WARN")) == [
        "Cal.com failed while Ravan read organization calcom-error ",
        "Could not read organization reset from 127.0.0.1:" + connector.url.rpartition(":")[2] + " ",
        "Ravan's response for organization html is not the documented JSON ",
    ]
    sandbox.faults["well"] = FAULTS["forbidden"]
    message = connector.run("check", connector.config(*sandbox.faults)).check["message"]
    assert message.startswith(
        "4 of 4 organizations failed: 1 forbidden, 1 Cal.com failed, 1 not JSON, 1 unreachable. "
        "(1) The Access Token is not allowed to read organization well"
    )


def test_a_server_without_tls_is_named_in_the_error(connector):
    config = connector.config("a", api_url=connector.url.replace("http://", "https://"))
    output = connector.run("check", config)
    assert "the TLS connection failed" in output.check["message"]


def test_the_matrix_contains_every_fault():
    assert {*LASTING, *LIMITED, *PASSING, *ODD, *ELSEWHERE} == set(FAULTS)


def sentence_of(name: str, verb: str, run: Background) -> str:
    lines = run.output.logs("WARN" if verb == "check" else "ERROR")
    [line] = [line for line in lines if f"organization {name} " in line.lower()]
    return line


@pytest.mark.parametrize("verb", ["check", "read"])
@pytest.mark.parametrize("name", LASTING)
def test_each_fault_has_its_own_sentence(fault_runs, verb, name):
    run, expected = fault_runs[verb], LASTING[name]
    sentence = sentence_of(name, verb, run)
    retries = (workers.CHECK if verb == "check" else workers.READ).most
    requests = run.sandbox.requests_for(name)
    # After a reset, each try sends the request again on a new connection, in case the old one was idle. After
    # calcom-error-as-400, one more request has the lower limit.
    tries = requests // (2 if name == "reset" else 1) - (name == "calcom-error-as-400")
    assert (
        expected.sentence.format(org=name, host=run.host, tries=tries).replace("tried 1 times", "tried once")
        in sentence
    )
    if expected.requests == RETRIED:
        # On a busy machine, the time limit of a check may end before its retry.
        assert (2 if verb == "read" else 1) <= tries <= retries + 1
        assert f"tried {tries} times" in sentence or (tries == 1 and "tried once" in sentence)
    else:
        assert requests == {ONCE: 1, TWICE: 2}[expected.requests]


@pytest.mark.parametrize("name", LASTING)
def test_each_fault_has_the_expected_kind(fault_runs, name):
    output, expected = fault_runs["read"].output, LASTING[name]
    row = output.results[name]
    [kind] = [kind for kind in KINDS if kind.name == row["error_kind"]]
    assert (kind.name, kind.failure_type) == (expected.kind, expected.failure_type)
    assert (row["outcome"], row["error"]) == ("failed", sentence_of(name, "read", fault_runs["read"]))
    assert (row["last_read_at"], row["bookings_read"], row["coverage"]) == (None, None, None)


def test_check_counts_failures_by_kind_and_quotes_the_most_actionable_ones(fault_runs):
    output = fault_runs["check"].output
    assert output.code == 0
    assert output.check["status"] == "FAILED"
    message = output.check["message"]
    assert message.startswith(
        f"{len(LASTING)} of {len(fault_runs['check'].sandbox.accounts)} organizations failed: 1 forbidden, "
        "3 not connected, 2 invalid request, 1 not found, 1 redirected, 1 request refused, "
        "6 responded in another shape, 2 responded for another organization, "
        "2 Cal.com failed, 3 Ravan failed, 3 not JSON, 7 unreachable. To sync the others meanwhile, set Failing "
        "Organizations (failing_organizations) to skip instead of fail. "
        "(1) The Access Token is not allowed to read organization forbidden"
    )
    assert "\n" not in message
    assert message.count("Check Organization IDs") == 2
    assert "(20) " in message
    assert message.endswith(f" And {len(LASTING) - 20} more. The log names each.")


def test_read_delivers_every_healthy_organization_and_keeps_it_in_the_state(fault_runs):
    output = fault_runs["read"].output
    assert {row["organization_id"] for row in output.rows} == {*HEALTHY, *ODD}
    assert len(output.rows) == HEALTHY_ROWS * len(HEALTHY) + len(ODD)
    assert set(output.last_state()["organizations"]) == {*HEALTHY, *ODD}
    assert set(output.last_state("organizations")["organizations"]) == {*HEALTHY, *ODD}
    assert {name for name, row in output.results.items() if row["outcome"] == "read"} == {*HEALTHY, *ODD}
    assert set(output.results) == set(fault_runs["read"].sandbox.accounts)


def test_read_ends_incomplete_with_a_summary_of_the_failures(fault_runs):
    output = fault_runs["read"].output
    assert output.code == 1
    assert (output.ended("appointments"), output.ended("organizations")) == ("INCOMPLETE", "COMPLETE")
    [summary] = output.errors
    assert summary["message"].startswith(
        f"{len(LASTING)} of {len(fault_runs['read'].sandbox.accounts)} organizations failed: 1 forbidden, 3 not conn"
    )
    assert summary["message"].endswith(
        f" And {len(LASTING) - 20} more. The organizations stream and the log name each."
    )
    assert "\n" not in summary["message"]
    assert summary["failure_type"] == CONFIG
    assert summary["stream_descriptor"] == {"name": "appointments"}
    assert "stack_trace" not in summary


def test_a_lone_surrogate_is_replaced_with_a_warning(fault_runs):
    output = fault_runs["read"].output
    [row] = [row for row in output.rows if row["organization_id"] == "lone-surrogate"]
    assert row["attendee_name"] == "Ann \ufffd Lee"
    warning, doubt = output.logs("WARN")
    assert warning == (
        "Organization lone-surrogate: Ravan's response held invalid characters or a number out of range. "
        "The characters are delivered as \ufffd, the number as text."
    )
    assert doubt.startswith("Organization lone-surrogate: coverage is unknown"), "the row has no end time"


def test_a_rate_limit_fails_no_organization_and_sets_the_stream_status(fault_runs):
    output = fault_runs["read"].output
    for name in LIMITED:
        assert output.results[name]["requests"] == fault_runs["read"].sandbox.requests_for(name) == 3
    reasons = [reason["type"] for status in output.stream_statuses for reason in status.get("reasons") or []]
    begins = [line for line in output.logs("INFO") if line.startswith("Ravan limits the rate of requests (HTTP 429)")]
    assert begins
    assert reasons == ["RATE_LIMITED"] * len(begins)
    [last] = [index for index, status in enumerate(output.stream_statuses) if status.get("reasons")][-1:]
    assert output.stream_statuses[last + 1]["status"] == "RUNNING", "a status without a reason clears it"


@pytest.mark.parametrize("verb", ["check", "read"])
def test_the_start_and_the_end_of_a_rate_limit_pause_are_logged(fault_runs, verb):
    lines = [line.split()[0] for line in fault_runs[verb].output.logs("INFO")]
    told = [word for word in lines if word in ("Ravan", "Requests")]
    assert told
    assert told == (["Ravan", "Requests"] * len(told))[: len(told)]
    assert verb == "check" or len(told) % 2 == 0, "only a check may end during a pause"


@pytest.mark.parametrize("verb", ["check", "read"])
def test_no_error_message_of_the_cdk_is_printed(fault_runs, verb):
    output = fault_runs[verb].output
    assert [words for words in CDK_WORDS if words in output.text] == []
    assert not any("Max retries exceeded" in line for level in ("INFO", "WARN", "ERROR") for line in output.logs(level))


def test_every_retry_is_logged(fault_runs):
    lines = fault_runs["read"].output.logs("INFO")
    again = re.compile(r"Organization internal-error: INTERNAL_ERROR, HTTP 500\. Retrying in \d+ s \(try (\d) of 5\)\.")
    assert [found[1] for found in map(again.fullmatch, lines) if found] == ["2", "3", "4", "5"]
    # The detail is logged if the HTTP status alone explains nothing.
    assert any(line.startswith("Organization html: HTTP 200, it is an HTML page. Retrying") for line in lines)
