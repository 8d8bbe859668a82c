"""Draw the pictures of README and the documentation: ``.venv/bin/python docs/pictures.py``.

``sync.svg`` is an excerpt of what ``make sync`` prints when it is run for the second time; ``windows.svg`` shows which
bookings Cal.com's filters reach, over one of the sandbox's accounts. Both follow the reader's light or dark setting.
The third picture, ``coverage.svg``, is drawn by ``python -m benchmarks.coverage --chart docs/coverage.svg``.
"""

from __future__ import annotations

import io
import os
import random
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from html import escape
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sandbox import Account, Booking  # noqa: E402  found by the line above

COLUMNS = 80


def main() -> None:
    """Write both."""
    documents = ROOT / "docs"
    (documents / "windows.svg").write_text(windows(), encoding="utf-8")
    (documents / "sync.svg").write_text(terminal("make sync", excerpt(second_sync())), encoding="utf-8")


def second_sync() -> str:
    """What ``make sync`` prints to somebody who has run it before, with its colours."""
    with tempfile.TemporaryDirectory() as name:
        # As in a fresh clone: no database is there yet, and the user's own are left alone.
        for part in ROOT.iterdir():
            if part.suffix not in (".duckdb", ".wal"):
                (Path(name) / part.name).symlink_to(part)
        environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
        for _ in range(2):
            done = subprocess.run(
                ["make", "--no-print-directory", "sync"],  # noqa: S607  the user's own
                cwd=name,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
    return done.stdout


def excerpt(printed: str) -> str:
    """What ``make sync`` prints, without its middle: a picture in a README is a third of a screen high."""
    beginning, bookings, *_, end = printed.split("\n\n")
    return "\n\n".join((beginning, bookings, "…", end))


SVG = '<svg xmlns="http://www.w3.org/2000/svg"'  # ignore-https-check

_TERMINAL = (
    SVG
    + """ viewBox="0 0 {width} {height}" role="img">
<title>make sync</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
}}
.{unique_id}-title {{ font: 18px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
)


def terminal(command: str, printed: str) -> str:
    """A terminal window in which this command printed this, as SVG."""

    def export(theme: TerminalTheme, code_format: str) -> str:
        console = Console(record=True, width=COLUMNS + 2, file=io.StringIO())
        console.print(Text.assemble(("$ ", "dim"), (command, "bold")))
        console.print(Text.from_ansi(printed.rstrip("\n")))
        return console.export_svg(title=command, theme=theme, code_format=code_format, unique_id="t")

    light, dark = DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME
    svg = export(light, _TERMINAL)
    chrome = "svg > rect:first-of-type {{ fill: {}; stroke: {}; }}"
    night = [
        chrome.format(dark.background_color.hex, "rgba(255,255,255,0.35)"),
        f".t-title {{ fill: {dark.foreground_color.hex}; }}",
        export(dark, "{styles}"),
    ]
    day = chrome.format(light.background_color.hex, "rgba(0,0,0,0.35)")
    nightly = "\n".join(["@media (prefers-color-scheme: dark) {", *night, "}"])
    return re.sub(r"[ \t]+$", "", svg.replace("</style>", f"{day}\n{nightly}\n</style>", 1), flags=re.MULTILINE)


FIRST_DAY, LAST_DAY = -100, 60
"""The bookings of the account start between these days, counted from now."""

BOOKINGS = 1100
RECURRING = 0.1
LIMIT = 200

WINDOWS = (
    (None, "unfiltered", "200 oldest"),
    ("past", "past", "200 latest"),
    ("upcoming", "upcoming", "200 soonest"),
    ("recurring", "recurring", "200 soonest of a series"),
    ("unconfirmed", "unconfirmed", "200 soonest to confirm"),
    ("cancelled", "cancelled", "200 latest, whenever they start"),
)
"""Cal.com's filters from top to bottom: status, name, and what is shown of it."""

LEFT, WIDTH, TOP, ROW, BAR = 110, 640, 40, 30, 22
LETTER = 7  # width in pixels, about

_WINDOWS = (
    SVG
    + """ viewBox="0 0 {width} {height}" role="img">
<title>Which bookings each of Cal.com's filters shows</title>
<style>
text {{ font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }}
.name {{ text-anchor: end; }}
.middle {{ text-anchor: middle; }}
.inside {{ fill: #ffffff; }}
.window {{ fill: #0969da; }}
.useless {{ fill: #818b98; }}
.axis, .now {{ stroke: #1f2328; }}
.now {{ stroke-dasharray: 4 3; }}
.seen {{ stroke: #0969da; }}
.unfiltered {{ stroke: #818b98; }}
.unseen {{ stroke: #d1d9e0; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #f0f6fc; }}
  .axis, .now {{ stroke: #f0f6fc; }}
  .seen {{ stroke: #4493f8; }}
  .unseen {{ stroke: #3d444d; }}
}}
</style>
{parts}
</svg>
"""
)


def windows() -> str:
    """Which bookings of a busy account each filter shows, as SVG."""
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    account = _account(now)
    axis = TOP + len(WINDOWS) * ROW + 32
    parts: list[str] = []

    def x(at: datetime) -> float:
        return LEFT + WIDTH * ((at - now) / timedelta(days=1) - FIRST_DAY) / (LAST_DAY - FIRST_DAY)

    def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        parts.append(f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')

    def text(kind: str, at: float, y: float, words: str) -> None:
        parts.append(f'<text class="{kind}" x="{at:.1f}" y="{y:.1f}">{escape(words)}</text>')

    shown_by: dict[str, str] = {}
    for number, (status, name, shows) in enumerate(WINDOWS):
        shown = account.shown(status, now, LIMIT)
        shown_by.update((booking.uid, "seen" if status else "unfiltered") for booking in shown)
        left, right = (x(edge(booking.start for booking in shown)) for edge in (min, max))
        top = TOP + number * ROW
        kind = "window" if status else "useless"
        parts.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{BAR}" rx="4"/>'
        )
        text("name", LEFT - 10, top + 16, name)
        # The words stand in their bar, or beside it where it is short.
        inside = right - left > LETTER * len(shows) + 12
        text("inside" if inside else "beside", (left if inside else right) + 8, top + 16, shows)
    text("name", LEFT - 10, axis - 6, "bookings")
    for kind in ("unseen", "unfiltered", "seen"):
        shown = [each for each in account.bookings.values() if shown_by.get(each.uid, "unseen") == kind]
        starts = sorted(x(each.start) for each in shown)
        parts.append(f'<path class="{kind}" d="{"".join(f"M{start:.0f} {axis}v-20" for start in starts)}"/>')
    line("axis", LEFT, axis, LEFT + WIDTH, axis)
    line("now", x(now), TOP - 10, x(now), axis)
    text("middle", x(now), TOP - 18, "now")
    for days in (-90, -60, -30, 30):
        text("middle", x(now + timedelta(days=days)), axis + 20, f"{abs(days)} days {'ago' if days < 0 else 'ahead'}")
    text("beside", LEFT, axis + 48, "Each line is a booking, at its start. Blue: at least one filter shows it now.")
    text("beside", LEFT, axis + 66, "Grey: only the unfiltered request shows it. Faint: no request shows it any more.")
    return _WINDOWS.format(width=LEFT + WIDTH + 10, height=axis + 78, parts="\n".join(parts))


def _account(now: datetime) -> Account:
    """One with a little over six bookings a day."""
    rng = random.Random(1)  # noqa: S311  the same picture every time
    account = Account("picture")
    for number in range(BOOKINGS):
        start = now + timedelta(days=rng.uniform(FIRST_DAY, LAST_DAY))
        status = rng.choices(("accepted", "cancelled", "pending"), (75, 20, 5))[0]
        booking = Booking(str(number), start, start + timedelta(minutes=30), status, recurring=rng.random() < RECURRING)
        account.add(booking)
    return account


if __name__ == "__main__":
    main()
