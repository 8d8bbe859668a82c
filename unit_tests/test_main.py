"""Tests of the command's exit codes and messages in this process; integration tests run it in a separate process."""

from __future__ import annotations

import errno
import gc
import io
import json
import logging
import os
import signal
import sys
from importlib.metadata import version

import pytest

from source_ravan_calcom import main
from unit_tests.syncs import OVER, URL, response


@pytest.fixture(autouse=True)
def restored_process(monkeypatch):
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a JSON file and returns its path."""

    def file(name, content):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        return str(path)

    return file


@pytest.fixture
def printed(capsys):
    """Return a function that returns the messages printed since its last call, by type."""

    def printed():
        messages = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [(message["type"], message) for message in messages]

    return printed


def catalog(*names):
    streams = [
        {
            "stream": {"name": name, "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]},
            "sync_mode": "incremental",
            "destination_sync_mode": "append_dedup",
        }
        for name in names
    ]
    return {"streams": streams}


def test_version_prints_the_packages_version(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"source-ravan-calcom {version('airbyte-source-ravan-calcom')}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["check", "--help"], ["read", "-h"]])
def test_help_names_every_verb(arguments, capsys):
    assert main.main(arguments) == 0
    out = capsys.readouterr().out
    assert all(f"source-ravan-calcom {verb}" in out for verb in ("spec", "check", "discover", "read"))


def test_a_call_without_a_verb_prints_the_usage_on_standard_error(capsys):
    assert main.main([]) == main.USAGE_ERROR
    assert capsys.readouterr() == ("", main.HELP)


@pytest.mark.parametrize("arguments", [["sync"], ["read"], ["check"], ["read", "--config", "c.json"]])
def test_a_wrong_call_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)
    assert ended.value.code == main.USAGE_ERROR
    assert capsys.readouterr().err


def test_spec_prints_the_settings(printed):
    assert main.main(["spec"]) == 0
    [(kind, message)] = printed()
    assert kind == "SPEC"
    assert "org_ids" in message["spec"]["connectionSpecification"]["properties"]


def test_a_read_that_succeeds_ends_with_0(http, settings, file, printed):
    http.get(URL, json=response(OVER))
    code = main.main(
        ["read", "--config", file("config", settings), "--catalog", file("catalog", catalog("appointments"))]
    )
    assert code == 0
    kinds = [kind for kind, _ in printed()]
    assert kinds.count("RECORD") == kinds.count("STATE") == 1
    assert kinds.index("RECORD") < kinds.index("STATE")


def test_a_read_that_fails_ends_with_1_and_one_error_trace_as_its_last_message(http, settings, file, printed):
    http.get(URL, json=response(OVER))
    http.get(f"{URL}?org_id=b", status_code=403)
    config = file("config", {**settings, "org_ids": ["a", "b", "c"]})
    assert main.main(["read", "--config", config, "--catalog", file("catalog", catalog("appointments"))]) == 1
    messages = printed()
    errors = [message["trace"]["error"] for _, message in messages if message.get("trace", {}).get("type") == "ERROR"]
    assert len(errors) == 1
    assert messages[-1][1]["trace"]["error"] == errors[0]
    assert errors[0]["message"].startswith("1 of 3 organizations failed: 1 forbidden. ")
    assert (errors[0]["failure_type"], errors[0]["stream_descriptor"]["name"]) == ("config_error", "appointments")
    assert errors[0].get("stack_trace") is None


def test_a_check_that_fails_prints_a_status_and_ends_with_0_as_the_protocol_requires(http, settings, file, printed):
    http.get(URL, status_code=403)
    assert main.main(["check", "--config", file("config", settings)]) == 0
    [status] = [message["connectionStatus"] for kind, message in printed() if kind == "CONNECTION_STATUS"]
    assert status["status"] == "FAILED"
    assert status["message"].startswith("1 of 1 organization failed: 1 forbidden. ")


@pytest.mark.parametrize("config", [None, {"org_ids": []}])
def test_a_check_prints_a_status_even_if_its_settings_are_invalid(file, tmp_path, printed, config):
    path = str(tmp_path / "nowhere.json") if config is None else file("config", config)
    assert main.main(["check", "--config", path]) == 0
    [(kind, message)] = printed()
    assert kind == "CONNECTION_STATUS"
    assert message["connectionStatus"]["status"] == "FAILED"
    assert ("can't be read" if config is None else "is missing") in message["connectionStatus"]["message"]


@pytest.mark.parametrize("verb", ["discover", "read"])
def test_invalid_settings_end_with_1_and_one_error_trace(file, printed, verb):
    more = ["--catalog", file("catalog", catalog("appointments"))] if verb == "read" else []
    assert main.main([verb, "--config", file("config", {"org_ids": []}), *more]) == 1
    [(_, message)] = printed()
    assert message["trace"]["error"]["message"].startswith("Access Token (access_token) is missing.")
    assert message["trace"]["error"].get("stack_trace") is None


def test_an_unexpected_error_prints_one_error_trace_with_its_stack_trace_and_ends_with_1(
    monkeypatch, file, settings, printed
):
    monkeypatch.setattr("source_ravan_calcom.source.catalog", lambda: 1 / 0)
    assert main.main(["discover", "--config", file("config", settings)]) == 1
    [error] = [message["trace"]["error"] for kind, message in printed() if kind == "TRACE"]
    assert error["failure_type"] == "system_error"
    assert "ZeroDivisionError" in error["stack_trace"]


def test_no_message_shows_the_token(http, settings, file, capsys):
    http.get(URL, status_code=403, json={"success": False, "message": "bad some.jwt.token"})
    config = file("config", {**settings, "org_ids": ["a", "b"]})
    main.main(["read", "--config", config, "--catalog", file("catalog", catalog("appointments", "organizations"))])
    main.main(["check", "--config", config])
    assert "some.jwt.token" not in "".join(capsys.readouterr())


# The end of the process.


class Left(BaseException):
    """Raised in place of ending the process at once, with the exit code."""


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs the command with this ending of its verb, and returns the exit code and whether the
    process ended at once."""
    heard: dict[int, object] = {}
    monkeypatch.setattr(signal, "signal", heard.__setitem__)
    monkeypatch.setattr(os, "set_blocking", lambda *_: None)

    def leave(code):
        raise Left(code)

    monkeypatch.setattr(os, "_exit", leave)

    def run(ending):
        def ends(arguments):
            assert {signal.SIGTERM, signal.SIGINT} <= heard.keys(), "signal handlers are installed first"
            if isinstance(ending, Exception):
                raise ending
            if callable(ending):
                return ending(heard)
            return ending

        monkeypatch.setattr(main, "main", ends)
        with pytest.raises((SystemExit, Left)) as ended:
            main.run()
        return ended.value.args[0], ended.type is Left

    return run


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_verbs_code_is_the_commands(run, code):
    assert run(code) == (code, False)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_process_at_once_with_its_code(run, number, code):
    assert run(lambda heard: heard[number](number, None)) == (code, True)


def test_a_closed_output_pipe_ends_the_process_at_once_without_a_message(run, capsys):
    assert run(BrokenPipeError()) == (141, True)
    assert capsys.readouterr() == ("", "")


class FullDisk(io.StringIO):
    """A file on a full disk."""

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_reported_on_standard_error(run, monkeypatch):
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", FullDisk())
    monkeypatch.setattr(sys, "__stderr__", errors)
    assert run(0) == (1, True)
    assert errors.getvalue() == "The output could not be written: [Errno 28] No space left on device.\n"


def test_the_process_ends_even_if_nothing_can_be_written(run, monkeypatch):
    monkeypatch.setattr(sys, "stdout", FullDisk())
    monkeypatch.setattr(sys, "__stderr__", FullDisk())
    assert run(0) == (1, True)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_the_output_is_utf_8_in_any_environment(run, monkeypatch, name):
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="latin-1")
    monkeypatch.setattr(sys, name, stream)
    run(lambda _: print("“é” \ud800", file=stream) or 0)
    stream.flush()
    assert content.getvalue() == "“é” \\ud800\n".encode()
