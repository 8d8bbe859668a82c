"""One run: the file to sync into, the settings to sync with, the sync, and what it brought."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from quickstart.demo import serving_demo
from quickstart.summary import show
from quickstart.sync import SCHEMA, Overheard, sync

RAVANS_HOST = "api.ravan.ai"


class Failed(Exception):
    """It did not work; the message says so, and why.

    Attributes:
        stopped: The sentence to say instead, where a signal was the reason.
    """

    def __init__(self, reason: str, left: str) -> None:
        super().__init__(f"The sync failed; {left}\n{reason}")
        self.stopped = f"Stopped; {left}"


class Refused(Failed):
    """It did not even begin."""

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)
        self.stopped = "Stopped."


class Output(Console):
    """Standard output; rich would turn a reader that left into an exit code of its own."""

    def on_broken_pipe(self) -> None:
        """Leave it to the caller."""
        raise BrokenPipeError


def run(config: Path | None, database: Path | None) -> None:
    """Sync, and show what is there.

    Args:
        config: The connector's settings; the sandbox is served and read where there are none.
        database: The DuckDB file, or ``None`` for the default one.

    Raises:
        Failed: Whatever went wrong, a signal included; a file that was not there before is not there now.
    """
    file = database or default_database(config)
    existed = file.exists()
    overheard = Overheard()
    try:
        _open(config, file)
        with tempfile.TemporaryDirectory(prefix="ravan-calcom-") as name:
            private = Path(name)
            with _settings(config, file, private) as settings, _progress(overheard):
                sync(settings.resolve(), file, private, overheard)
    except BaseException as error:
        if not existed:
            for left in (file, file.with_name(f"{file.name}.wal")):
                with suppress(OSError):
                    left.unlink()
        if isinstance(error, Refused | BrokenPipeError):
            raise
        raise Failed(overheard.failure or _in_words(error), _left(file, existed, overheard)) from error
    show(Output(), file, overheard)


def default_database(config: Path | None) -> Path:
    """One file for each API, so that a trial against another one stays out of the real one's."""
    if config is None:
        return Path("sandbox.duckdb")
    host = RAVANS_HOST
    # The connector says what is wrong with them.
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        host = urlsplit(json.loads(config.read_text(encoding="utf-8"))["api_url"].strip()).netloc
    suffix = "" if host == RAVANS_HOST else "-" + re.sub(r"[^\w.-]", "-", host)
    return Path(f"appointments{suffix}.duckdb")


def _open(config: Path | None, database: Path) -> None:
    """See that there are settings and a file to write, before anything is read.

    Raises:
        Refused: There are not.
    """
    if config and not config.is_file():
        raise Refused(f"There is no configuration file {config}.")
    if database.name.split(".")[0] == SCHEMA:
        raise Refused(f"DuckDB can't tell the file {database} from its schema {SCHEMA}: give the file another name.")
    try:
        duckdb.connect(str(database)).close()
    except duckdb.Error as error:
        locked = _LOCKED.search(str(error))
        raise Refused(
            f"{database} is open in another program ({locked[1]}, process {locked[2]}). Close it there, and try again."
            if locked
            else f"{database} can't be opened: {_CANNOT_OPEN.sub('', str(error))}."
        ) from None


_LOCKED = re.compile(r"Could not set lock on file .*: Conflicting lock is held in (?:.*/)?(.+) \(PID (\d+)\)")
_CANNOT_OPEN = re.compile(r'\A\w+ Error: (?:Cannot open file ".*": )?|[.!]?\Z')


@contextmanager
def _settings(config: Path | None, database: Path, private: Path) -> Iterator[Path]:
    if config:
        yield config
    else:
        with serving_demo(database, private) as demo:
            yield demo


@contextmanager
def _progress(overheard: Overheard) -> Iterator[None]:
    """A line that says what goes on, in a terminal, as long as it goes on."""
    # The file is named, because standard error is silent for PyAirbyte while this line speaks.
    spinner = Spinner("dots")
    with Live(spinner, console=Console(file=sys.stderr), transient=True, redirect_stdout=False, redirect_stderr=False):
        overheard.say = lambda step: spinner.update(text=Text(step))
        yield


def _left(database: Path, existed: bool, overheard: Overheard) -> str:
    if not existed:
        return f"{database} was not made."
    if overheard.is_read:
        return f"{database} may hold a part of what was read; the next sync completes it."
    return f"{database} is as it was."


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".split("\n", 1)[0]
