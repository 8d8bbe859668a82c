"""Rows with the size and format of real ones, for the server and for one of the contenders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone


@dataclass(frozen=True)
class Window:
    """The rows of one status: number of the first one, status, first start, and time between starts."""

    first: int
    status: str
    start: datetime
    step: timedelta


def _window(first: int, status: str, year: int, hours: int) -> Window:
    return Window(first, status, datetime(year, 1, 1, tzinfo=timezone.utc), timedelta(hours=hours))


WINDOWS = {
    b"": _window(0, "accepted", 2015, 1),
    b"unconfirmed": _window(200, "pending", 2091, 1),
    b"recurring": _window(400, "accepted", 2092, 1),
    b"upcoming": _window(600, "accepted", 2090, 1),
    b"past": _window(800, "accepted", 2025, -1),
    b"cancelled": _window(1000, "cancelled", 2025, -1),
}
"""The windows by the requested status. They share no row, and each could be Cal.com's response for some account."""


def row(number: int, org_id: str, window: Window = WINDOWS[b""]) -> dict[str, object]:
    """Make a row with the size and format of a real one."""
    start = window.start + number * window.step
    number += window.first
    return {
        "id": f"{number:022}",
        "organization_id": org_id,
        "agent_id": "",
        "attendee_name": f"Attendee {number:05}",
        "attendee_email": f"attendee{number:05}@example.com",
        "attendee_phone": f"+1555{number:07}",
        "attendee_timezone": "Europe/Berlin",
        "start_time": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "end_time": f"{start + timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}",
        "duration_minutes": 30,
        "status": window.status,
    }
