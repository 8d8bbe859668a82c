from __future__ import annotations

import os
import signal
import sys
import threading
from types import SimpleNamespace

import pytest

from source_ravan_calcom import stopping


class Ended(BaseException):
    """The process would have ended with this code."""


class Buffer:
    """The CDK's collected output."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.flushed_under_lock: list[bool] = []

    def flush(self) -> None:
        self.flushed_under_lock.append(self.lock.locked())


@pytest.fixture
def buffer(monkeypatch):
    buffer = Buffer()
    monkeypatch.setitem(sys.modules, "airbyte_cdk.logger", SimpleNamespace(PRINT_BUFFER=buffer))
    return buffer


@pytest.fixture
def done(monkeypatch):
    """What was done to signals and to this process, in order, instead of doing it."""
    done: list[tuple] = []

    def leave(code):
        done.append(("exit", code))
        raise Ended

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(os, "kill", lambda process, number: done.append(("kill", process, number)))
    monkeypatch.setattr(signal, "pthread_sigmask", lambda how, signals: done.append((how, tuple(signals))))
    return done


def stop(monkeypatch, number) -> None:
    monkeypatch.setattr(signal, "sigwait", lambda signals: number if number in signals else 1 / 0)
    with pytest.raises(Ended):
        stopping._wait_for_stop()


STOPS = (signal.SIGTERM, signal.SIGINT)


def test_sigterm_prints_what_was_collected_and_dies_of_itself_if_it_can(monkeypatch, buffer, done):
    stop(monkeypatch, signal.SIGTERM)
    assert buffer.flushed_under_lock == [True]
    assert buffer.lock.locked(), "nothing may follow"
    assert done == [
        (signal.SIG_UNBLOCK, STOPS),
        ("kill", os.getpid(), signal.SIGTERM),
        ("exit", 143),  # a container's first process survives its own signal
    ]


def test_sigint_ends_without_a_trace_of_python(monkeypatch, buffer, done):
    stop(monkeypatch, signal.SIGINT)
    assert buffer.flushed_under_lock == [True]
    assert done == [("exit", 130)]


def test_a_message_that_nobody_takes_is_not_waited_for_for_ever(monkeypatch, buffer, done):
    monkeypatch.setattr(stopping, "SECONDS_TO_PRINT", 0.01)
    buffer.lock.acquire()
    stop(monkeypatch, signal.SIGINT)
    assert done == [("exit", 130)]
    assert buffer.flushed_under_lock == []
    buffer.lock.release()


def test_a_stop_while_the_cdk_is_imported_has_nothing_to_print(monkeypatch, done):
    monkeypatch.delitem(sys.modules, "airbyte_cdk.logger", raising=False)
    stop(monkeypatch, signal.SIGINT)
    assert done == [("exit", 130)]


def test_signals_wait_for_a_thread_of_their_own(monkeypatch, done):
    waited = threading.Event()
    monkeypatch.setattr(stopping, "_wait_for_stop", waited.set)
    stopping.on_signals()
    assert waited.wait(20)
    assert done == [(signal.SIG_BLOCK, STOPS)]


def test_a_stop_takes_less_than_ten_seconds():
    assert stopping.SECONDS_TO_PRINT < 10
