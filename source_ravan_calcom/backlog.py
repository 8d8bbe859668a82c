"""What waits to be printed: the engine's queue, bounded by organization instead of by row."""

from __future__ import annotations

import time
from queue import SimpleQueue

from airbyte_cdk.sources.streams.concurrent.partitions.types import QueueItem

LIMIT = 2_000
"""Messages waiting, from which on no further organization is asked for: some 50 ms of printing, a few megabytes."""

_POLL_SECONDS = 0.02


class Backlog(SimpleQueue[QueueItem]):
    """A queue for ``ConcurrentSource``, which takes any.

    The engine's default locks, and wakes a thread, for every row that is put into it when it is full; that is a
    fifth of what a row costs. This one does neither. Its bound is kept by the organizations, which wait for room
    before they are read: at most ``LIMIT`` messages and what is being read (1,200 rows a worker) are ever held.
    """

    def wait_for_room(self) -> None:
        """Block while too much waits to be printed."""
        while self.qsize() > LIMIT:
            time.sleep(_POLL_SECONDS)
