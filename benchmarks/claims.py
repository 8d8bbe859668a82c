"""Count false claims of coverage over simulated accounts with many kinds of changes.

python -m benchmarks.claims --syncs 300000     # about 20 minutes
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from source_ravan_calcom.bookings.coverage import UNKNOWN
from unit_tests.simulation import INTERVALS, SITUATIONS, world_of


def simulate(syncs: int, seed: int) -> dict[str, Counter[str]]:
    """Count syncs, requests, claims, new beginnings, gaps and false claims, by the change before each sync."""
    rng, done = random.Random(seed), 0
    counts: dict[str, Counter[str]] = {situation: Counter() for situation in SITUATIONS}
    while done < syncs:
        number = rng.getrandbits(48)
        each = random.Random(number)
        world = world_of(each)
        for step in range(each.randrange(2, 8)):
            situation = each.choice([*SITUATIONS]) if step else "nothing"
            SITUATIONS[situation](world)
            crashes = each.random() < 0.1
            claim = world.sync(crashes=crashes)
            done += 1
            found = counts[situation]
            found["syncs"] += 1
            found["requests"] += world.requests
            if not crashes:
                false = world.false_statements(claim)
                found["claims"] += claim.coverage != UNKNOWN
                found["restarted"] += bool(claim.reason)
                found["gaps"] += claim.gap is not None
                found["false"] += bool(false)
                if false:
                    print(f"False claim: world {number}, step {step}, after {situation}: {len(false)}, {false[0]}")
            world.live(timedelta(minutes=each.choice(INTERVALS)))
    return counts


def main(syncs: int, seed: int) -> None:
    """Run the simulation and print the table."""
    counts = simulate(syncs, seed)
    columns = ("syncs", "claims", "false", "restarted", "gaps", "requests")
    table = Table(title="Claims of coverage, by the change before the sync", show_footer=True)
    table.add_column("change", footer="all")
    for column in columns:
        table.add_column(column, justify="right", footer=f"{sum(found[column] for found in counts.values()):,}")
    for situation, found in counts.items():
        table.add_row(situation, *(f"{found[column]:,}" for column in columns))
    Console(width=110).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.claims")
    parser.add_argument("--syncs", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    main(arguments.syncs, arguments.seed)
