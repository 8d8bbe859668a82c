from __future__ import annotations

import time

from source_ravan_calcom.backlog import LIMIT, Backlog


def test_there_is_room_until_the_limit(sleeps):
    backlog = Backlog()
    for _ in range(LIMIT):
        backlog.put(None)
    backlog.wait_for_room()
    assert sleeps == []


def test_an_organization_waits_while_too_much_waits_to_be_printed(monkeypatch):
    backlog = Backlog()
    for _ in range(LIMIT + 3):
        backlog.put(None)
    monkeypatch.setattr(time, "sleep", lambda _: backlog.get())
    backlog.wait_for_room()
    assert backlog.qsize() == LIMIT
