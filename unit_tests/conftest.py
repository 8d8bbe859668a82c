"""No unit test opens a socket or sleeps; one that tries fails."""

from __future__ import annotations

import logging
import socket
import time

import pytest
from airbyte_cdk.utils import airbyte_secrets_utils

ORG = "11111111-2222-4333-8444-555555555555"
LOGGER = logging.getLogger("airbyte.source-ravan-calcom")


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch):
    def refuse(*_):
        raise AssertionError("a unit test opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def sleeps(monkeypatch):
    """The seconds that the code wanted to sleep, in order."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: slept.append(seconds) if seconds else None)
    return slept


@pytest.fixture(autouse=True)
def no_secrets():
    """Each test starts with nothing masked."""
    airbyte_secrets_utils.update_secrets([])
    yield
    airbyte_secrets_utils.update_secrets([])


@pytest.fixture
def settings():
    return {"access_token": "some.jwt.token", "org_ids": [ORG], "api_url": "http://127.0.0.1:9"}
