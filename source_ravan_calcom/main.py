"""The console command ``source-ravan-calcom``: arguments, signals, exit codes, and output that can't be written."""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import sys
from contextlib import suppress
from importlib.metadata import version
from typing import Any, NoReturn

NAME = "source-ravan-calcom"
USAGE_ERROR = 2  # exit code of a wrong call; argparse's own

HELP = f"""\
usage: {NAME} VERB [OPTIONS]

  {NAME} spec                                                   print the settings
  {NAME} check    --config FILE                                 try to read every organization
  {NAME} discover --config FILE                                 print the streams
  {NAME} read     --config FILE --catalog FILE [--state FILE]   print records and states
  {NAME} --version

Each printed line is one message of the Airbyte protocol. --debug prints more of them.
"""


def run() -> None:
    """Run one verb and end the process: 0 if it worked, 1 if it failed, 2 for a wrong call, 128 + n on signal n."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    with suppress(OSError):  # there may be no output at all
        os.set_blocking(1, True)  # some runners leave the pipe non-blocking, which would lose output once it is full
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # whatever the environment says
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        _leave(signal.SIGPIPE)  # the reader of our output is gone
    except OSError as error:  # a full disk, most likely; standard error may still work
        with suppress(OSError):
            # Not sys.stderr, which the CDK replaces.
            print(f"The output could not be written: {error}.", file=sys.__stderr__, flush=True)
        os._exit(1)
    sys.exit(code)


def main(arguments: list[str]) -> int:
    """Run one verb and return the exit code."""
    if arguments[:1] == ["--version"]:
        print(f"{NAME} {version('airbyte-source-ravan-calcom')}")  # noqa: T201
        return 0
    if not arguments or {"-h", "--help"} & {*arguments}:  # also after a verb, as the CDK's help lists low-code options
        print(HELP, end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else USAGE_ERROR
    # These imports take seconds.
    from airbyte_cdk.entrypoint import AirbyteEntrypoint, launch  # noqa: PLC0415
    from airbyte_cdk.utils import AirbyteTracedException  # noqa: PLC0415

    from source_ravan_calcom.source import SourceRavanCalcom  # noqa: PLC0415

    # A log line that can't be printed needs no stack trace: the next message fails as well.
    logging.raiseExceptions = False
    # Hide the first line of the CDK's memory monitor, but not its warnings.
    logging.getLogger("airbyte").addFilter(lambda line: line.module != "memory_monitor" or line.levelno > logging.INFO)
    # Exclude imported objects from garbage collection.
    gc.freeze()
    try:
        launch(SourceRavanCalcom(), arguments)
    except BrokenPipeError:
        raise
    except AirbyteTracedException as error:
        message = error.as_sanitized_airbyte_message()
        if arguments[0] == "check":  # must end with a connection status
            message = error.as_connection_status_message() or message
        elif message.trace and message.trace.error:
            message.trace.error.stack_trace = None  # the message already states the cause
        print(AirbyteEntrypoint.airbyte_message_to_string(message))  # noqa: T201
        return 0 if message.connectionStatus else 1
    except Exception:
        sys.excepthook(*sys.exc_info())  # the CDK's: a log line and an error trace, secrets masked
        return 1
    return 0


def _leave(number: int, frame: Any = None) -> NoReturn:
    """End at once. Raising here could interrupt any line, and the exit could then block on a stalled reader."""
    os._exit(128 + number)
