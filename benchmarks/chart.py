"""The chart of the coverage benchmark, as SVG that follows the reader's light or dark setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 800, 290
TOP, BOTTOM = 62, 236
"""Where 100 % and 0 % are, in pixels from above."""

TICKS = (0, 25, 50, 75, 100)


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        kind: Its CSS class.
        label: What it shows; a second line follows a line break.
        shares: Shares from 0 to 1, by bookings a day.
        label_at: Where the label stands, in bookings a day and per cent.
        label_ends: Whether the label ends there instead of beginning.
    """

    kind: str
    label: str
    shares: Mapping[int, float]
    label_at: tuple[int, int]
    label_ends: bool = False


@dataclass(frozen=True)
class Panel:
    """One of the charts side by side: its title, its place from left to right in pixels, and its lines."""

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
.landed { stroke: #0969da; } .point.landed, .label.landed { fill: #0969da; }
.true { stroke: #1a7f37; } .point.true, .label.true { fill: #1a7f37; }
.plain { stroke: #818b98; } .point.plain, .label.plain { fill: #59636e; }
.warned { stroke: #bc4c00; } .point.warned, .label.warned { fill: #bc4c00; }
.label { stroke: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .tick, .axis { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .landed { stroke: #4493f8; } .point.landed, .label.landed { fill: #4493f8; }
  .true { stroke: #3fb950; } .point.true, .label.true { fill: #3fb950; }
  .plain { stroke: #818b98; } .point.plain, .label.plain { fill: #9198a1; }
  .warned { stroke: #db6d28; } .point.warned, .label.warned { fill: #db6d28; }
  .label { stroke: none; }
}"""


def coverage_chart(
    landed: Mapping[int, float], true: Mapping[int, float], plain: Mapping[int, float], warned: Mapping[int, float]
) -> str:
    """Draw what landed and which syncs warned, in two charts, because up is good in one of them and bad in the other.

    Args:
        landed: The share of bookings that landed, from 0 to 1, by bookings a day.
        true: The share that landed with the true last status.
        plain: The share that one unfiltered request lands.
        warned: The share of syncs that warned.
    """
    panels = (
        Panel(
            "Share of a month's bookings that landed",
            50,
            430,
            (
                Line("plain", "one unfiltered request", plain, (20, 5)),
                Line("landed", "this connector", landed, (300, 104), label_ends=True),
                Line("true", "this connector,\nwith the true last status", true, (20, 87)),
            ),
        ),
        Panel(
            "Share of syncs that warned",
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
