"""Measure syncs under rate limits, with organizations that fail permanently, and over large accounts.

python -m benchmarks.field                # everything, about nine minutes
python -m benchmarks.field limits memory  # some parts of: limits, unchanged, failing, memory
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
from rich.table import Table

from benchmarks.runs import CONSOLE, LOWCODE, OURS, OURS_INCREMENTAL, Contender, Run, attempt, run
from benchmarks.server import Service, serving
from sandbox import Sandbox, TokenBucket, generated
from sandbox import serving as serving_sandbox

REQUESTS = 600
"""Requests and limits are ten times those of Cal.com, 120 a minute, so that a run takes half a minute."""

FULL = 200
WINDOWS = 6
MAX_RATIO = 4
"""A run is stopped after this many times the ideal time, in addition to its imports."""

IMPORTS = 15.0
"""An upper bound for the seconds of a contender's imports."""


@dataclass(frozen=True)
class Limited:
    """A rate limit, and the ideal time of a number of requests in seconds: none is refused, and none waits too long."""

    name: str
    limit: str
    arguments: dict[str, Any]
    ideal: Callable[[int], float]


def _bucket(capacity: int, per_second: int) -> Limited:
    return Limited(
        f"bucket of {capacity}, {per_second}/s",
        "TokenBucket",
        {"capacity": capacity, "per_second": per_second},
        lambda requests: (requests - capacity) / per_second,
    )


def _window(count: int, seconds: int) -> Limited:
    return Limited(
        f"{count} in each {seconds} s",
        "FixedWindow",
        {"requests": count, "seconds": seconds},
        lambda requests: (requests - 1) // count * float(seconds),
    )


LIMITS = (_bucket(20, 20), _bucket(2, 20), _window(400, 30))


@dataclass(frozen=True)
class Reader:
    """A contender, and its number of requests for an organization with full windows."""

    name: str
    contender: Contender
    requests: int


READERS = (Reader("this connector", OURS, WINDOWS), Reader("low-code manifest", LOWCODE, 1))


def under(limited: Limited, retry_after: str, reader: Reader) -> list[str]:
    """Run a contender under a limit, and return its row of the table."""
    organizations = REQUESTS // reader.requests
    ideal = limited.ideal(REQUESTS)
    arguments = {**limited.arguments, "retry_after": retry_after}
    with serving(Service(FULL, limit=limited.limit, limits=arguments)) as url:
        done = attempt(reader.contender, url, organizations, timeout=IMPORTS + ideal * MAX_RATIO)
        counts = requests.get(f"{url}/counts", timeout=10).json()
    return [
        reader.name,
        f"{done.wall / ideal:.2f}" if done.code >= 0 else f"over {MAX_RATIO}",
        f"{organizations - done.organizations} of {organizations}",
        f"{counts['refused'] / counts['allowed']:.2f}",
    ]


def limits() -> None:
    """Measure each limit with and without Retry-After, with the same number of requests for each contender."""
    table = Table(title=f"{REQUESTS} requests under a rate limit")
    for name in ("limit", "Retry-After", ""):
        table.add_column(name)
    for name in ("time / ideal time", "organizations failed", "429s / allowed"):
        table.add_column(name, justify="right")
    with ThreadPoolExecutor(len(READERS)) as side_by_side:  # they mostly wait, and each has its own limit
        for limited in LIMITS:
            for retry_after in ("seconds", "none"):
                rows = side_by_side.map(under, *zip(*((limited, retry_after, each) for each in READERS), strict=True))
                first, *others = rows
                table.add_row(limited.name, "yes" if retry_after == "seconds" else "no", *first)
                for other in others:
                    table.add_row("", "", *other)
                table.add_section()
    CONSOLE.print(table)


def unchanged() -> None:
    """Measure a sync of unchanged large organizations under a limit, compared with the first sync."""
    organizations, bookings, limited = 60, 500, LIMITS[0]
    sandbox = Sandbox()
    sandbox.tokens = {"benchmark"}
    sandbox.clock.set(sandbox.clock.now())
    for number in range(1, organizations + 1):
        sandbox.put(generated(f"{number:036}", bookings, number, sandbox.clock.now()))
    with serving_sandbox(sandbox) as url:
        sandbox.limit = TokenBucket(**limited.arguments)
        first = attempt(OURS_INCREMENTAL, url, organizations)
        sandbox.limit = None  # the second sync proves that the unconfirmed bookings are among the upcoming ones
        state = attempt(OURS_INCREMENTAL, url, organizations, state=first.last_state).last_state
        sandbox.requests.clear()
        sandbox.limit = TokenBucket(**limited.arguments)
        done = attempt(OURS_INCREMENTAL, url, organizations, state=state)
    if first.code or done.code or done.rows:
        raise RuntimeError(f"The sync ended with exit code {done.code} and printed {done.rows} rows: {done.end}")
    CONSOLE.print(
        f"Unchanged: {organizations} organizations of {bookings} bookings, {limited.name}: "
        f"{sandbox.requests.total() / organizations:.1f} requests each, "
        f"{done.wall / first.wall:.2f} of the time of the first sync with {WINDOWS} each"
    )


def failing() -> None:
    """Measure 1,000 organizations of which 2 % respond with 502 to every request; the same without failures; and only
    the failing ones."""
    organizations, every, rows, delay = 1000, 50, 20, 0.05

    def seconds(count: int, failing_every: int) -> float:
        with serving(Service(rows, delay, failing_every)) as url:
            done = attempt(OURS, url, count)
        expected = count - (count // failing_every if failing_every else 0)
        if done.organizations != expected:
            raise RuntimeError(f"{done.organizations} organizations were read instead of {expected}: {done.end}")
        return done.wall

    # The last run has the same number of failing organizations, on which the longest random backoff depends.
    without, with_them, alone = (
        seconds(count, nth) for count, nth in ((organizations, 0), (organizations, every), (organizations // every, 1))
    )
    table = Table(title=f"{organizations} organizations, {delay * 1000:.0f} ms per request, 10 workers")
    table.add_column("")
    table.add_column("s", justify="right")
    table.add_column("s / s without failures", justify="right")
    for name, spent in (
        ("no failures", without),
        ("2 % respond with 502 to every request", with_them),
        ("only the failing ones: the retries of the last one", alone),
        ("2 %, without those retries", with_them - alone),
    ):
        table.add_row(name, f"{spent:.1f}", f"{spent / without:.2f}")
    CONSOLE.print(table)


def memory(organizations: int = 1000) -> None:
    """Measure peak memory and printed state of an unchanged sync over organizations with six full windows."""
    rows = FULL * WINDOWS
    with serving(Service(FULL)) as url:
        first = run(OURS_INCREMENTAL, url, organizations, rows)
        second = attempt(OURS_INCREMENTAL, url, organizations, state=first.last_state)
    if second.code or second.rows:
        raise RuntimeError(f"The unchanged sync sent {second.rows} rows: {second.end}")
    table = Table(title=f"{organizations} organizations with {rows} rows, incremental")
    table.add_column("")
    for name in ("s", "peak MB", "states", "MB of state", "bytes of state per row"):
        table.add_column(name, justify="right")
    for name, done in (("first sync", first), ("unchanged", second)):
        table.add_row(name, *_cells(done, organizations * rows))
    CONSOLE.print(table)


def _cells(done: Run, rows: int) -> list[str]:
    weight = len(done.last_state) / rows
    return [f"{done.wall:.0f}", f"{done.memory:.0f}", str(done.states), f"{done.state / 1e6:.1f}", f"{weight:.1f}"]


PARTS = {part.__name__: part for part in (limits, unchanged, failing, memory)}


def main(names: Iterable[str] = PARTS) -> None:
    """Measure the named parts and print their tables."""
    for name in names:
        PARTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:] or PARTS)
