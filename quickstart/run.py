"""One run: settings, database, sync, and summary."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from quickstart.database import opened
from quickstart.demo import serving_demo
from quickstart.failures import Failed, Refused
from quickstart.summary import show
from quickstart.sync import Progress, sync
from source_ravan_calcom.config import Config, InvalidConfig, load

RAVANS_HOST = "api.ravan.ai"


class Output(Console):
    """Standard output. After a closed pipe, rich would end the process with its own exit code."""

    def on_broken_pipe(self) -> None:
        """Raise the error for the caller."""
        raise BrokenPipeError


def run(config: Path | None, database: Path | None) -> None:
    """Sync, and print the summary.

    Args:
        config: The file with the connector's settings, or ``None`` to serve and read the sandbox.
        database: The DuckDB file, or ``None`` for the default one.

    Raises:
        Failed: On any error and on a signal. A file that did not exist before is removed.
    """
    settings = _validated(config) if config else None
    file = database or default_database(settings)
    existed = file.exists()
    progress = Progress()
    with opened(file) as connection:
        try:
            with tempfile.TemporaryDirectory(prefix="ravan-calcom-") as name:
                private = Path(name)
                with _config(config, connection, private) as path, _shown(progress, file):
                    sync(path.resolve(), file, private, progress)
        except BaseException as error:
            if not existed:
                for left in (file, file.with_name(f"{file.name}.wal")):
                    with suppress(OSError):
                        left.unlink()
            if isinstance(error, BrokenPipeError):
                raise
            raise Failed(progress.failure or _sentence(error), _left(file, existed, progress)) from error
        show(Output(), connection, file, progress)


def _validated(config: Path) -> Config:
    """Validate the settings before slow imports and requests."""
    try:
        return Config.parse(load(config))
    except InvalidConfig as error:
        raise Refused(str(error)) from None


def default_database(settings: Config | None) -> Path:
    """Return the default DuckDB file, one for each API, so that data of a test API is kept separate."""
    if settings is None:
        return Path("sandbox.duckdb")
    suffix = "" if settings.host == RAVANS_HOST else "-" + re.sub(r"[^\w.-]", "-", settings.host)
    return Path(f"appointments{suffix}.duckdb")


@contextmanager
def _config(config: Path | None, connection: duckdb.DuckDBPyConnection, private: Path) -> Iterator[Path]:
    if config:
        yield config
    else:
        with serving_demo(connection, private) as demo:
            yield demo


@contextmanager
def _shown(progress: Progress, database: Path) -> Iterator[None]:
    """Show the progress: as an updated line on a terminal, otherwise as a line for each step."""
    # Passed explicitly, because standard error is redirected while PyAirbyte runs.
    console = Console(file=sys.stderr)
    spinner = Spinner("dots")

    def report(step: str, count: str = "") -> None:
        step = step.format(database=database)
        if console.is_terminal:
            spinner.update(text=Text(f"{step}{count} …"))
        elif not count:
            print(f"{step} …", file=console.file, flush=True)

    progress.report = report
    with Live(spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False):
        yield


def _left(database: Path, existed: bool, progress: Progress) -> str:
    if not existed:
        return f"{database} was not created."
    if progress.is_read:
        return f"{database} may contain only a part of the rows that were read; the next sync completes it."
    return f"{database} is unchanged."


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".split("\n", 1)[0]
