"""Fixtures that keep unit tests from opening sockets, sleeping or waiting for threads: a wait advances a clock."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty
from typing import Any

import hypothesis
import pytest
import requests_mock
from airbyte_cdk.utils import airbyte_secrets_utils

from source_ravan_calcom import check, report, workers
from source_ravan_calcom.ravan import client, throttle
from unit_tests.syncs import ORG

# The same examples in every run, and no deadline, because a busy machine must not fail a test.
hypothesis.settings.register_profile(
    "unit",
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unit")


class Clock:
    """A monotonic clock that advances only during waits, by the longest time that each would take.

    Attributes:
        now: The time in seconds.
        waits: The duration of each wait, in seconds.
        meanwhile: Called once in the next wait for the throttle, in place of another thread.
    """

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []
        self.meanwhile: Callable[[], None] | None = None

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Condition(threading.Condition):
    """A condition whose waits advance the clock unless it is notified."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._is_notified = False

    def wait(self, timeout: float | None = None) -> bool:
        self._is_notified = False
        meanwhile, self._clock.meanwhile = self._clock.meanwhile, None
        if meanwhile:
            self.release()
            meanwhile()
            self.acquire()
        if not self._is_notified:
            assert timeout is not None, "it waits for another thread, but there is none"
            self._clock.wait(timeout)
        return self._is_notified

    def notify_all(self) -> None:
        self._is_notified = True


class Queue(deque[Any]):
    """A queue whose waits advance the clock if it is empty."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def put(self, item: Any) -> None:
        self.append(item)

    def get(self, timeout: float) -> Any:
        if not self:
            self._clock.wait(timeout)
            raise Empty
        return self.popleft()


class InlineThreads:
    """A replacement for threads that runs each job in the call of ``run``."""

    def run(self, job: Callable[[], None], busy: int) -> None:
        job()

    def lose(self) -> None:
        """Do nothing, because no job can hang."""

    def end(self) -> None:
        """Do nothing, because no thread runs."""


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch):
    def refuse(*_):
        raise AssertionError("a unit test opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    def refuse(_):
        raise AssertionError("a unit test slept")

    monkeypatch.setattr(time, "sleep", refuse)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Replace the clock and all waits of the package, which then runs in one thread."""
    faked = Clock()
    for module in (check, client, report, throttle, workers):
        monkeypatch.setattr(module, "monotonic", faked)
    monkeypatch.setattr(throttle, "Condition", lambda: Condition(faked))
    monkeypatch.setattr(workers, "SimpleQueue", lambda: Queue(faked))
    monkeypatch.setattr(workers, "Threads", InlineThreads)
    return faked


@pytest.fixture
def jitter(monkeypatch):
    """Return a function that sets the random factor of every backoff, within its bounds; the initial factor is 1."""
    factor = [1.0]
    monkeypatch.setattr(random, "uniform", lambda least, most: min(max(factor[0], least), most))
    return lambda value: factor.__setitem__(0, value)


@pytest.fixture(autouse=True)
def no_secrets():
    """Start each test without masked secrets."""
    airbyte_secrets_utils.update_secrets([])
    yield
    airbyte_secrets_utils.update_secrets([])


@pytest.fixture
def settings():
    return {"access_token": "some.jwt.token", "org_ids": [ORG], "api_url": "http://127.0.0.1:9"}


@pytest.fixture
def http():
    """A mock of the API, which responds as the test configures it."""
    with requests_mock.Mocker() as mocker:
        yield mocker
