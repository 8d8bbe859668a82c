"""Measure the size of the image beyond its base, and the time of `spec`, with and without compiled bytecode.

python -m benchmarks.image      # builds both with docker or podman; about three minutes the first time
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
CONTAINER = str(ROOT / "scripts" / "container")
ROUNDS = 7


def _base() -> str:
    stand_in = ROOT / ".image" / "base"
    if stand_in.exists():
        return stand_in.read_text().strip()
    match = re.search(r"^ARG BASE_IMAGE=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert match
    return match[1]


def _megabytes(image: str) -> float:
    inspected = subprocess.run([CONTAINER, "image", "inspect", image], capture_output=True, check=True)
    return int(json.loads(inspected.stdout)[0]["Size"]) / 1e6


def _seconds(image: str) -> float:
    started = time.perf_counter()
    command = [CONTAINER, "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all", image, "spec"]
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Build both images and print the table."""
    images = {name: f"localhost/ravan-calcom-benchmark:{name}" for name in ("compiled", "uncompiled")}
    for name, image in images.items():
        arguments = [str(ROOT / "scripts" / "image"), image]
        if name == "uncompiled":
            arguments += ["--build-arg", "COMPILE=true"]  # a command that does nothing, in place of the compilation
        subprocess.run(arguments, capture_output=True, check=True)
    starts: dict[str, list[float]] = {name: [] for name in images}
    for _ in range(ROUNDS):
        for name, image in images.items():
            starts[name].append(_seconds(image))
    base = _megabytes(_base())
    first = median(starts["compiled"])
    table = Table(title="The image with and without compiled bytecode")
    for heading in ("", "MB beyond the base", "s for spec", "s / s compiled"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, image in images.items():
        start = median(starts[name])
        table.add_row(name, f"{_megabytes(image) - base:.0f}", f"{start:.2f}", f"{start / first:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
