"""Tests of the package's structure: allowed imports, size, and the single lock."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "source_ravan_calcom"
MODULES = sorted(PACKAGE.rglob("*.py"))

LEVELS = (
    ("main",),
    ("source",),
    ("check",),
    ("sync",),
    ("workers", "report"),
    ("ravan.client",),
    ("ravan.throttle", "ravan.responses"),
    ("ravan.failures",),
    ("bookings.memory",),
    ("bookings.coverage",),
    ("bookings.windows",),
    ("bookings.records",),
    ("config",),
)
"""Imports between levels only go down. A module may import another one of its own level unless that imports it too."""

PURE = ("config", "bookings.records", "bookings.windows", "bookings.coverage", "bookings.memory")

HEAVY = ("airbyte_cdk", "requests", "urllib3")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def imported(path: Path) -> set[str]:
    """The modules of the package that a module imports, at the top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE.name:
            base = node.module.removeprefix(PACKAGE.name).lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                found.add(inner if inner in NAMES else base)
        elif isinstance(node, ast.Import):
            found |= {each.name.removeprefix(f"{PACKAGE.name}.") for each in node.names if PACKAGE.name in each.name}
    return found - {""}


NAMES = {name_of(path) for path in MODULES}

PATHS = {name_of(path): path for path in MODULES if path.name != "__init__.py"}


def test_every_module_has_a_level():
    levels = [name for level in LEVELS for name in level]
    assert sorted(levels) == sorted(PATHS), "give each module its level in LEVELS"


@pytest.mark.parametrize("name", PATHS)
def test_a_module_imports_only_from_the_levels_below_it(name):
    [level] = [number for number, names in enumerate(LEVELS) if name in names]
    below = {each for names in LEVELS[level + 1 :] for each in names}
    beside = {other for other in LEVELS[level] if name not in imported(PATHS[other])} - {name}
    allowed = below | (beside if imported(PATHS[name]) & beside else set())
    assert sorted(imported(PATHS[name]) - allowed) == []


@pytest.mark.parametrize("name", [name for name in PATHS if name.startswith("ravan.")])
def test_the_endpoints_modules_do_not_import_streams_or_state(name):
    assert {each for each in imported(PATHS[name]) if each.startswith("bookings.")} <= {"bookings.records"}


def test_config_and_bookings_import_neither_the_cdk_nor_an_http_client():
    names = [f"{PACKAGE.name}.{name}" for name in PURE]
    code = f"import sys, {', '.join(names)}; print(*sorted(sys.modules.keys() & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_command_handles_signals_before_the_cdk_is_imported():
    code = f"import sys, {PACKAGE.name}.main; print(*sorted(sys.modules.keys() & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier"}


def test_only_the_throttle_has_a_lock():
    users = {}
    for name, path in PATHS.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if found := names & LOCKS:
            users[name] = found
    assert users == {"ravan.throttle": {"Condition"}}


def test_the_package_does_not_exceed_its_maximum_size():
    assert len(MODULES) <= 18
    lines = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert sum(lines.values()) <= 3_300, lines
