"""``python -m quickstart``: sync appointments into a DuckDB file and print a summary.

A failure or a signal prints one message and sets the exit code that a shell expects.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from quickstart.failures import Failed, Stopped, received

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Parse the command line and sync.

    Returns:
        The exit code: 0; 1 if the sync failed; 128 + n on signal n.
    """
    parser = argparse.ArgumentParser(prog="quickstart", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, help="file with the connector's settings (default: read the sandbox)")
    parser.add_argument("--database", type=Path, help="DuckDB file (default: one for each API)")
    arguments = parser.parse_args()

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # a second signal must not interrupt the cleanup
        received.append(number)
        raise Stopped

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    try:
        # Imported here, because it takes a second in which signals must be handled.
        from quickstart.run import run  # noqa: PLC0415

        try:
            run(arguments.config, arguments.database)
            sys.stdout.flush()
        except Failed as failure:
            # A library may have replaced the exception of a signal by another error.
            print(failure.stopped if received else failure, file=sys.stderr)
            return 128 + received[0] if received else 1
        except BrokenPipeError:
            # The output pipe is closed; the interpreter's last flush must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
    except Stopped:
        print("Stopped.", file=sys.stderr)
        return 128 + received[0]
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # an ordinary exit takes a second to tear down PyAirbyte's modules
