"""``python -m quickstart``: sync appointments into a DuckDB file and show what is there.

However it ends, it says so in a sentence, with the exit code that a shell expects.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from quickstart.failures import Failed, Stopped, came

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Parse the command line and sync.

    Returns:
        The exit code: 0; 1 where the sync failed; 128 + n on signal n.
    """
    parser = argparse.ArgumentParser(prog="quickstart", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, help="the connector's settings; without it, the sandbox is read")
    parser.add_argument("--database", type=Path, help="the DuckDB file; by default, one for each API")
    asked = parser.parse_args()

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # a second one must not interrupt the tidying up
        came.append(number)
        raise Stopped

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    try:
        # Imported only now, because it takes a second in which a signal may come.
        from quickstart.run import run  # noqa: PLC0415

        try:
            run(asked.config, asked.database)
            sys.stdout.flush()
        except Failed as failure:
            # The exception that a signal raised may have been turned into another error.
            print(failure.stopped if came else failure, file=sys.stderr)
            return 128 + came[0] if came else 1
        except BrokenPipeError:
            # Nobody reads what we print; the interpreter flushes the rest into nothing.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
    except Stopped:
        print("Stopped.", file=sys.stderr)
        return 128 + came[0]
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # taking apart what PyAirbyte has imported takes a second
