"""What the connector is measured against. Each is a process that reads the same endpoint and prints records.

Each says on standard error what CPU time it took once everything was imported, because what importing takes varies by
more than what a row does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def measured(main: Callable[[], object]) -> None:
    """Run a contender, and say what CPU time it took."""
    began = time.process_time()
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
    print(f"CPU {time.process_time() - began}", file=sys.stderr)
