"""What the connector is measured against. Each is a process that reads the same endpoint and prints records.

Each says on standard error what CPU and what time it took once everything was imported, because what importing takes
varies by more than what a row does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def measured(main: Callable[[], object]) -> None:
    """Run a contender, and say what CPU time and what wall time it took, whether it fails or not."""
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        main()
    finally:
        print("measured", time.process_time() - cpu, time.perf_counter() - wall, file=sys.stderr)
