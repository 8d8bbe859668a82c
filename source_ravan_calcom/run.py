"""The console command ``source-ravan-calcom``."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.logger import PRINT_BUFFER
from airbyte_cdk.models import ConnectorSpecification

from source_ravan_calcom.config import Config
from source_ravan_calcom.errors import Failure
from source_ravan_calcom.source import SourceRavanCalcom

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

USAGE_ERROR = 2
"""Exit code of a call without a verb; argparse's own for any other wrong call."""

_SECONDS_TO_PRINT = 5.0
"""How long a stop waits for the message that is being printed; a reader that is gone takes none."""


class Entrypoint(AirbyteEntrypoint):
    """The CDK's entrypoint, with the settings refused in our words: the CDK's name no field."""

    @staticmethod
    def validate_connection(source_spec: ConnectorSpecification, config: Mapping[str, Any]) -> None:
        """Refuse unusable settings.

        Raises:
            Failure: A config error that names each of them.
        """
        Config.parse(config)


def run() -> None:
    """Run one verb and end the process: 0 when it worked, 1 when it failed, 2 for a wrong call, 128 + n on signal n."""
    _end_cleanly_on_signals()
    # What the imports left behind stays until the end; the collector need not look at it again and again.
    gc.freeze()
    try:
        code = _launch(sys.argv[1:])
    except BrokenPipeError:
        _leave(128 + signal.SIGPIPE)  # whoever read our output is gone
    except Exception:
        sys.excepthook(*sys.exc_info())  # the CDK's: a log line and an error trace, secrets masked
        sys.stdout.flush()
        _leave(1)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """End the process without its threads, which wait for room that nobody makes any more."""
    os._exit(code)


def _launch(args: list[str]) -> int:
    entrypoint = Entrypoint(SourceRavanCalcom())
    parsed_args = entrypoint.parse_args(args)
    if not parsed_args.command:
        with suppress(SystemExit):
            entrypoint.parse_args(["--help"])
        return USAGE_ERROR
    with PRINT_BUFFER:
        try:
            for message in entrypoint.run(parsed_args):
                # One write for each message, as the CDK's own launcher does it: threads print too.
                sys.stdout.write(f"{message}\n")
        except Failure as failure:
            failure.emit_message()
            return 1
    return 0


def _end_cleanly_on_signals() -> None:
    """Let a thread of its own wait for the signals.

    A signal handler would run in the middle of whatever the main thread prints; a thread can wait for the line
    to be whole. Blocked signals also reach a process that is a container's first, whose default is to ignore them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    threading.Thread(target=_wait_for_stop, name="stop", daemon=True).start()


def _wait_for_stop() -> None:
    number = signal.sigwait(_STOP_SIGNALS)
    if PRINT_BUFFER.lock.acquire(timeout=_SECONDS_TO_PRINT):
        PRINT_BUFFER.flush()
    if number == signal.SIGTERM:
        # Die of the signal, as a parent process expects it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        os.kill(os.getpid(), number)
    os._exit(128 + number)  # a container's first process survives its own signal
