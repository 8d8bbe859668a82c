"""The failures of a run."""

from __future__ import annotations

received: list[int] = []
"""The received signals."""


class Stopped(BaseException):
    """A signal was received."""


def end_if_stopped() -> None:
    """Raise the exception again after a signal, because an import may have swallowed it.

    Raises:
        Stopped: A signal was received.
    """
    if received:
        raise Stopped


class Failed(Exception):
    """The sync failed. The message gives the reason and the condition of the database.

    Attributes:
        stopped: The message for a run that was stopped by a signal.
    """

    def __init__(self, reason: str, left: str) -> None:
        super().__init__(f"The sync failed; {left}\n{reason}")
        self.stopped = f"Stopped; {left}"


class Refused(Failed):
    """The sync could not start. The message gives the reason."""

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)
        self.stopped = "Stopped."
