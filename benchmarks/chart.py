"""Draws the chart of the coverage benchmark as SVG with a light and a dark theme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 800, 290
TOP, BOTTOM = 62, 236
"""The position of 100 % and of 0 %, in pixels from the top."""

TICKS = (0, 25, 50, 75, 100)


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        kind: Its CSS class.
        label: The label, of one or two lines.
        shares: Shares from 0 to 1, by bookings a day.
        label_at: The position of the label, in bookings a day and per cent.
        label_ends: Whether the label ends there instead of starting there.
    """

    kind: str
    label: str
    shares: Mapping[int, float]
    label_at: tuple[int, int]
    label_ends: bool = False


@dataclass(frozen=True)
class Panel:
    """One of the adjacent charts: title, left and right edge in pixels, and lines."""

    title: str
    left: int
    right: int
    lines: Sequence[Line]


_STYLE = """\
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 14px; }
.tick, .axis { fill: #59636e; font-size: 12px; }
.number { text-anchor: end; }
.day { text-anchor: middle; }
.ends { text-anchor: end; }
.grid { stroke: #d1d9e0; }
.line { fill: none; stroke-width: 2; }
.delivered { stroke: #0969da; } .point.delivered, .label.delivered { fill: #0969da; }
.true { stroke: #1a7f37; } .point.true, .label.true { fill: #1a7f37; }
.plain { stroke: #818b98; } .point.plain, .label.plain { fill: #59636e; }
.warned { stroke: #bc4c00; } .point.warned, .label.warned { fill: #bc4c00; }
.label { stroke: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .tick, .axis { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .delivered { stroke: #4493f8; } .point.delivered, .label.delivered { fill: #4493f8; }
  .true { stroke: #3fb950; } .point.true, .label.true { fill: #3fb950; }
  .plain { stroke: #818b98; } .point.plain, .label.plain { fill: #9198a1; }
  .warned { stroke: #db6d28; } .point.warned, .label.warned { fill: #db6d28; }
  .label { stroke: none; }
}"""


def coverage_chart(
    delivered: Mapping[int, float], true: Mapping[int, float], plain: Mapping[int, float], warned: Mapping[int, float]
) -> str:
    """Draw the delivered bookings and the syncs with warnings. They are two charts, because high is good only in one.

    Args:
        delivered: The share of bookings that were delivered, from 0 to 1, by bookings a day.
        true: The share delivered with their latest status.
        plain: The share that one unfiltered request delivers.
        warned: The share of syncs with a warning.
    """
    panels = (
        Panel(
            "Share of a month's bookings delivered",
            50,
            430,
            (
                Line("plain", "one unfiltered request", plain, (20, 5)),
                Line("delivered", "this connector", delivered, (300, 104), label_ends=True),
                Line("true", "this connector,\nwith the final status", true, (20, 87)),
            ),
        ),
        Panel(
            "Share of syncs with a warning",
            520,
            780,
            (Line("warned", "this connector", warned, (270, 62), True),),
        ),
    )
    title = "A simulated month of hourly syncs, by bookings a day"
    parts = "\n".join(part for panel in panels for part in _panel(panel))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'  # ignore-https-check
        f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n{parts}\n</svg>\n"
    )


def _panel(panel: Panel) -> Iterator[str]:
    most = max(max(line.shares) for line in panel.lines)

    def x(size: float) -> float:
        return panel.left + (panel.right - panel.left) * size / most

    def y(percent: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * percent / 100

    yield f'<text class="title" x="{panel.left}" y="22">{panel.title}</text>'
    for percent in TICKS:
        yield f'<path class="grid" d="M{panel.left} {y(percent):.1f}H{panel.right}"/>'
        yield f'<text class="tick number" x="{panel.left - 8}" y="{y(percent) + 4:.1f}">{percent} %</text>'
    for size in range(0, most + 1, 100):
        yield f'<text class="tick day" x="{x(size):.1f}" y="{BOTTOM + 20}">{size}</text>'
    yield f'<text class="axis day" x="{(panel.left + panel.right) / 2}" y="{BOTTOM + 42}">bookings a day</text>'
    for line in panel.lines:
        points = [(x(size), y(share * 100)) for size, share in sorted(line.shares.items())]
        drawn = "L".join(f"{at:.1f} {height:.1f}" for at, height in points)
        yield f'<path class="line {line.kind}" d="M{drawn}"/>'
        for at, height in points:
            yield f'<circle class="point {line.kind}" cx="{at:.1f}" cy="{height:.1f}" r="3"/>'
        ends = " ends" if line.label_ends else ""
        for number, words in enumerate(line.label.split("\n")):
            at, height = x(line.label_at[0]), y(line.label_at[1]) + 17 * number
            yield f'<text class="label {line.kind}{ends}" x="{at:.1f}" y="{height:.1f}">{words}</text>'
