"""The connector and its contenders. Each is a process that reads the same endpoint and prints records.

Each prints on standard error its CPU time and its wall time after imports, because the time of imports varies more
than the time of a row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def measured(main: Callable[[], object]) -> None:
    """Run a contender, and print its CPU time and its wall time, even if it fails."""
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        main()
    finally:
        print("measured", time.process_time() - cpu, time.perf_counter() - wall, file=sys.stderr)
