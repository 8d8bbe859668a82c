"""One run: settings, database, sync, and what it brought."""

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
from quickstart.sync import Overheard, sync
from source_ravan_calcom.config import Config, InvalidConfig, load

RAVANS_HOST = "api.ravan.ai"


class Output(Console):
    """Standard output; rich would turn a reader that left into an exit code of its own."""

    def on_broken_pipe(self) -> None:
        """Leave it to the caller."""
        raise BrokenPipeError


def run(config: Path | None, database: Path | None) -> None:
    """Sync, and show what is there.

    Args:
        config: The connector's settings; without them, the sandbox is served and read.
        database: The DuckDB file, or ``None`` for the default one.

    Raises:
        Failed: Whatever went wrong, a signal included; a file that did not exist before does not exist now.
    """
    settings = _validated(config) if config else None
    file = database or default_database(settings)
    existed = file.exists()
    overheard = Overheard()
    with opened(file) as connection:
        try:
            with tempfile.TemporaryDirectory(prefix="ravan-calcom-") as name:
                private = Path(name)
                with _config(config, connection, private) as path, _progress(overheard, file):
                    sync(path.resolve(), file, private, overheard)
        except BaseException as error:
            if not existed:
                for left in (file, file.with_name(f"{file.name}.wal")):
                    with suppress(OSError):
                        left.unlink()
            if isinstance(error, BrokenPipeError):
                raise
            raise Failed(overheard.failure or _in_words(error), _left(file, existed, overheard)) from error
        show(Output(), connection, file, overheard)


def _validated(config: Path) -> Config:
    """Validate the settings before anything slow is imported or requested."""
    try:
        return Config.parse(load(config))
    except InvalidConfig as error:
        raise Refused(str(error)) from None


def default_database(settings: Config | None) -> Path:
    """Name the DuckDB file: one for each API, so that a trial against another one stays out of the real one's."""
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
def _progress(overheard: Overheard, database: Path) -> Iterator[None]:
    """Say what goes on: in a line that moves on a terminal, in a line for each step elsewhere."""
    # Standard error is named, because PyAirbyte's is swallowed meanwhile.
    console = Console(file=sys.stderr)
    spinner = Spinner("dots")

    def say(step: str, count: str = "") -> None:
        step = step.format(database=database)
        if console.is_terminal:
            spinner.update(text=Text(f"{step}{count} …"))
        elif not count:
            print(f"{step} …", file=console.file, flush=True)

    overheard.say = say
    with Live(spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False):
        yield


def _left(database: Path, existed: bool, overheard: Overheard) -> str:
    if not existed:
        return f"{database} was not made."
    if overheard.is_read:
        return f"{database} may hold a part of what was read; the next sync completes it."
    return f"{database} is as it was."


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".split("\n", 1)[0]
