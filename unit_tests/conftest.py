"""No unit test opens a socket or waits; one that tries fails."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest
import requests_mock
from airbyte_cdk.utils import airbyte_secrets_utils

from source_ravan_calcom import api, check, line, pace, report

ORG = "11111111-2222-4333-8444-aaaaaaaaaaaa"
LOGGER = logging.getLogger("airbyte.source-ravan-calcom")
URL = "http://127.0.0.1:9/api/v1/calcom/appointments"

HANG_SECONDS = 20


class Clock:
    """The monotonic clock: its time passes only where the code waits for it.

    A wait that has an end is over at once, and the clock is put forward to it. So only one thread may wait in a test
    that looks at times: the waits of two would add up.
    """

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def condition(self) -> threading.Condition:
        return _Condition(self)

    def wait(self, seconds: float) -> None:
        with self._lock:
            self.waits.append(seconds)
            self.now += seconds


class _Condition(threading.Condition):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is None:
            # Another thread's turn; it comes at once, or never.
            assert super().wait(HANG_SECONDS), "waits for what never comes"
            return True
        self._clock.wait(timeout)
        self.release()
        self.acquire()
        return False


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch):
    def refuse(*_):
        raise AssertionError("a unit test opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


@pytest.fixture(autouse=True)
def sleeps(monkeypatch):
    """The seconds that the code wanted to sleep, in order."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: slept.append(seconds) if seconds else None)
    return slept


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The clock of everything that waits."""
    faked = Clock()
    for module in (api, check, line, pace, report):
        monkeypatch.setattr(module, "monotonic", faked)
    for module in (line, pace):
        monkeypatch.setattr(module, "Condition", faked.condition)
    return faked


@pytest.fixture(autouse=True)
def no_secrets():
    """Each test starts with nothing masked."""
    airbyte_secrets_utils.update_secrets([])
    yield
    airbyte_secrets_utils.update_secrets([])


@pytest.fixture
def settings():
    return {"access_token": "some.jwt.token", "org_ids": [ORG], "api_url": "http://127.0.0.1:9"}


@pytest.fixture
def http():
    """The API, as far as a test says what it answers."""
    with requests_mock.Mocker() as mocker:
        yield mocker
