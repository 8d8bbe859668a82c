"""The console command ``source-ravan-calcom``."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from source_ravan_calcom import stopping

STDOUT = 1


def run() -> None:
    """Run one verb and end the process: 0 when it worked, 1 when it failed, 2 for a wrong call, 128 + n on signal n."""
    stopping.on_signals()
    # A pipe that does not block, as some runners make them, would lose what does not fit, and without an error.
    with suppress(OSError):  # there may be no output at all
        os.set_blocking(STDOUT, True)
    # These imports take seconds, in which a signal must already be heard.
    from source_ravan_calcom import entrypoint  # noqa: PLC0415

    # A log line that can't be printed is not worth a stack trace: the next message says so, and ends the process.
    logging.raiseExceptions = False
    # What the imports left behind stays until the end; the collector need not look at it again and again.
    gc.freeze()
    try:
        code = entrypoint.launch(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        stopping.leave(128 + signal.SIGPIPE)  # whoever read our output is gone
    except Exception as error:
        _fail(error)
    sys.exit(code)


def _fail(error: Exception) -> NoReturn:
    """End on an error that nobody foresaw: in the protocol's words, or in plain ones where these can't be printed."""
    try:
        sys.excepthook(*sys.exc_info())  # the CDK's: a log line and an error trace, secrets masked
        sys.stdout.flush()
    except Exception as second:  # a full disk, most likely; standard error may be another file
        with suppress(Exception):
            text = f"The output could not be written: {second}. It began with: {type(error).__name__}."
            print(text, file=sys.__stderr__, flush=True)
    finally:
        stopping.leave(1)
