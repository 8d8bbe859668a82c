"""How a run can fail."""

from __future__ import annotations

came: list[int] = []
"""The signals that asked to end."""


class Stopped(BaseException):
    """A signal asks to end."""


def end_if_stopped() -> None:
    """Raise again if a signal came, since an import may have swallowed the exception.

    Raises:
        Stopped: A signal came.
    """
    if came:
        raise Stopped


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
