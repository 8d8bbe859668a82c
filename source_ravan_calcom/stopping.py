"""How the process ends: on a signal, with whole messages if at all possible, and always.

Only the standard library is imported here, so that a signal is heard while everything else is still being imported.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any, NoReturn

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

SECONDS_TO_PRINT = 5.0
"""How long a stop waits for the message that is being printed; a reader that has stalled may take none."""


def on_signals() -> None:
    """Let a thread of its own wait for the signals.

    A signal handler would run in the middle of whatever the main thread prints; a thread can wait for the line
    to be whole. Blocked signals also reach a process that is a container's first, whose default is to ignore them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(target=_wait_for_stop, name="stop", daemon=True).start()


def leave(code: int) -> NoReturn:
    """End the process without its threads, which wait for room that nobody makes any more."""
    os._exit(code)


def _wait_for_stop() -> None:
    number = signal.sigwait(STOP_SIGNALS)
    # What is flushed may block for ever where the reader has stalled, so it is not this thread that does it.
    printing = threading.Thread(target=_finish_printing, daemon=True)
    printing.start()
    printing.join(SECONDS_TO_PRINT)
    if number == signal.SIGTERM:
        # Die of the signal, as a parent process expects it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        os.kill(os.getpid(), number)
    leave(128 + number)  # a container's first process survives its own signal


def _finish_printing() -> None:
    """Print what the CDK has collected, and keep its lock, so that nothing follows."""
    logger: Any = sys.modules.get("airbyte_cdk.logger")
    if logger:
        logger.PRINT_BUFFER.lock.acquire()
        logger.PRINT_BUFFER.flush()
