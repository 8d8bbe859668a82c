"""How a run can fail."""

from __future__ import annotations


class Failed(Exception):
    """The sync failed; the message says why, and what became of the database.

    Attributes:
        stopped: The sentence to print instead when a signal was the cause.
    """

    def __init__(self, reason: str, left: str) -> None:
        super().__init__(f"The sync failed; {left}\n{reason}")
        self.stopped = f"Stopped; {left}"


class Refused(Failed):
    """The sync could not start; the message says why."""

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)
        self.stopped = "Stopped."
