from __future__ import annotations

import errno
import gc
import io
import logging
import sys

import pytest

from source_ravan_calcom import entrypoint, run, stopping


class Left(BaseException):
    """The process ended at once, with this code."""


@pytest.fixture
def command(monkeypatch):
    """Run the command, whose verb ends in that way; returns its exit code, negative where it ended at once."""
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(sys, "argv", ["source-ravan-calcom", "read", "--debug"])
    monkeypatch.setattr(sys, "excepthook", lambda _, error, __: sys.stdout.write(f"hook: {error}\n"))
    heard: list[str] = []
    monkeypatch.setattr(stopping, "on_signals", lambda: heard.append("signals"))

    def leave(code):
        raise Left(-code)

    def command(ending):
        def launch(args):
            assert heard == ["signals"], "signals are heard before anything is done"
            assert args == ["read", "--debug"]
            assert not logging.raiseExceptions, "a log line that can't be printed is no stack trace"
            if isinstance(ending, Exception):
                raise ending
            return ending

        monkeypatch.setattr(entrypoint, "launch", launch)
        monkeypatch.setattr(stopping, "leave", leave)
        with pytest.raises((SystemExit, Left)) as ended:
            run.run()
        return ended.value.args[0]

    return command


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_verbs_code_is_the_commands(command, code):
    assert command(code) == code


def test_a_reader_that_is_gone_ends_it_at_once(command, capsys):
    assert command(BrokenPipeError()) == -141
    assert capsys.readouterr() == ("", "")


def test_an_error_nobody_foresaw_is_told_by_the_cdk_and_ends_it_at_once(command, capsys):
    assert command(ZeroDivisionError("by zero")) == -1
    assert capsys.readouterr().out == "hook: by zero\n"


class Full(io.StringIO):
    """A file on a full disk."""

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_is_told_on_standard_error(command, monkeypatch):
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "__stderr__", errors)
    assert command(0) == -1
    assert errors.getvalue() == (
        "The output could not be written: [Errno 28] No space left on device. It began with: OSError.\n"
    )


def test_it_ends_even_where_nothing_at_all_can_be_written(command, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "__stderr__", Full())
    assert command(0) == -1
