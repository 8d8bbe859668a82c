"""The benchmarks measure what they say: contenders read every row, and the connector what can be reached."""

from __future__ import annotations

import pytest

from benchmarks import coverage, speed
from benchmarks.server import serving


@pytest.mark.parametrize(
    "contender",
    [speed.OURS, speed.OURS_INCREMENTAL, speed.LOWCODE, speed.LOWCODE_INCREMENTAL, speed.FLOOR, speed.BARE],
    ids=lambda contender: contender.name,
)
def test_every_contender_reads_every_row(contender):
    with serving(7) as url:
        run = speed.run(contender, url, organizations=3, rows=7)
    assert run.rows == 21
    assert run.cpu > 0


def test_a_contender_that_loses_rows_is_not_measured():
    with serving(7) as url, pytest.raises(RuntimeError, match="printed 7 rows, not 8"):
        speed.run(speed.OURS, url, organizations=1, rows=8)


def test_the_connector_reaches_what_the_filters_reach(monkeypatch):
    monkeypatch.setattr(coverage, "DAYS", 4)
    ours, plain = coverage.measured(150)
    assert ours == coverage.reachable(150)
    assert (ours.landed, ours.true) == (1, 1)
    assert (plain.landed, plain.true, plain.visible) == (0, 0, 0)
