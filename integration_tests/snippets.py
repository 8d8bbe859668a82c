"""Every fenced block of the pages, and how it is run exactly as printed; a block without an entry fails a test.

``newcomer.sh`` walks through them in a bare clone, ``test_snippets.py`` in a copy that borrows the tests' environment.
Needs nothing but Python itself, as a newcomer has it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PAGES = ("README.md", "docs/*.md", "*.md", "*/*.md")
"""In the order in which they are read; a page that matches twice is read once."""

SECONDS = 600
"""More is a hang; the first build of the image takes minutes."""

UNAVAILABLE = 69
"""How ``scripts/test-image`` ends where no image can be built."""

NOT_OURS = ("PYTHONDONTWRITEBYTECODE", "VENV", "CONFIG", "DATABASE", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
"""Variables of a ``make`` that runs this."""


@dataclass(frozen=True)
class Snippet:
    """One fenced block."""

    page: str
    language: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """By what the table knows it: its page and its first line, or the page alone."""
        return (self.page, ALL) if (self.page, ALL) in WAYS else (self.page, self.first_line)

    @property
    def first_line(self) -> str:
        """By which a person knows it."""
        return self.text.split("\n", 1)[0]


@dataclass(frozen=True)
class Way:
    """How a snippet is run.

    Attributes:
        run: Runs it; ``None`` where something else does.
        prints: A regular expression for what it prints.
        covered_by: What runs it, where this does not.
    """

    run: Callable[[Walk, str], str] | None = None
    prints: str = ""
    covered_by: str = ""


class Walk:
    """A walk through the snippets, in one directory.

    Args:
        directory: A clone, or a copy of one.
        stack: Ends what a snippet leaves running.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        self._environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        # Port 8090 may be taken, by somebody who is trying the sandbox.
        self._environment["PORT"] = "0"

    def shell(self, text: str) -> str:
        """Run it as pasted into a shell."""
        return self._output(["bash", "-euo", "pipefail", "-c", text])

    def docker(self, text: str) -> str:
        """The same, with whichever of docker and podman works here, on the host's network, where the sandbox is."""
        shims = str(self.directory / "scripts" / "shims")
        self._environment["PATH"] = os.pathsep.join([shims, os.environ["PATH"]])
        return self.shell(text)

    def python(self, text: str) -> str:
        """Run it as a program, with the Python of the environment."""
        return self._output([".venv/bin/python", "-c", text])

    def sql(self, text: str) -> str:
        """Run it on what the README's Python snippet has synced."""
        use = "import duckdb, sys; db = duckdb.connect('bookings.duckdb'); db.sql('USE ravan_calcom')"
        return self._output([".venv/bin/python", "-c", f"{use}; print(db.sql(sys.argv[1]))", text])

    def server(self, text: str) -> str:
        """Start it, and leave it running; returns what it says until it has nothing more to say."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {text}"],
            cwd=self.directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._stack.enter_context(process)  # waits for it
        self._stack.callback(os.killpg, process.pid, signal.SIGTERM)
        said = []
        assert process.stdout
        for line in process.stdout:
            said.append(line)
            if "--catalog" in line:  # its last
                break
        return "".join(said)

    def settings(self, text: str) -> str:
        """Save it as ``config.json``, see that the connector takes it, and let the sandbox stand in for Ravan."""
        file = self.directory / "config.json"
        file.write_text(text, encoding="utf-8")
        parse = (
            "import json; from source_ravan_calcom.config import Config; Config.parse(json.load(open('config.json')))"
        )
        said = self.python(parse)
        self.server(".venv/bin/python -m sandbox --port 0")
        served = json.loads((self.directory / "secrets" / "sandbox" / "config.json").read_text(encoding="utf-8"))
        file.write_text(json.dumps(json.loads(text) | served), encoding="utf-8")
        return said

    def _output(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"exit code {done.returncode}:\n{done.stdout}")
        return done.stdout


def _twice(walk: Walk, text: str) -> str:
    """The second run is the one that counts."""
    walk.shell(text)
    began = time.monotonic()
    printed = walk.shell(text)
    _tell(f"    the second time {time.monotonic() - began:.0f} s")
    return printed


README, PAGE = "README.md", "docs/ravan-calcom.md"

ALL = "*"
"""Every block of a page, where one test takes them all."""

WAYS: Mapping[tuple[str, str], Way] = {
    (README, "make sync"): Way(_twice, r"(?m)^\d bookings are new or changed, in sandbox\.duckdb"),
    (README, "{"): Way(Walk.settings),
    (README, "make sync CONFIG=config.json"): Way(Walk.shell, r"bookings are new or changed, in appointments"),
    (README, "make sandbox"): Way(Walk.server, r"\.venv/bin/source-ravan-calcom read --config "),
    (README, ".venv/bin/source-ravan-calcom check --config secrets/sandbox/config.json"): Way(
        Walk.shell, r'"status":"SUCCEEDED"(?s:.*)"type":"RECORD"'
    ),
    (README, "make image"): Way(Walk.docker, r"Built airbyte/source-ravan-calcom:"),
    (README, "cat > catalog.json <<'EOF'"): Way(Walk.docker, r'"status":"SUCCEEDED"(?s:.*)"type":"RECORD"'),
    (README, "import json, os, sys"): Way(Walk.python),
    (README, "make test"): Way(covered_by=".ci/run"),
    (PAGE, "SELECT organization_id, status, count(*) FROM appointments GROUP BY 1, 2;"): Way(Walk.sql, "accepted"),
    (PAGE, "SELECT synced_at, status, start_time"): Way(Walk.sql),
    (PAGE, "SELECT organization_id, error_kind, error, last_read_at"): Way(Walk.sql),
    (PAGE, "SELECT organization_id, gap_from, gap_to, full_windows, synced_at"): Way(Walk.sql),
    ("docs/custom-connector.md", "kind load docker-image airbyte/source-ravan-calcom:0.2.0 -n airbyte-abctl"): Way(
        covered_by="integration_tests/test_image.py"  # what it loads; it needs an Airbyte to load it into
    ),
    ("docs/sql.md", ALL): Way(covered_by="integration_tests/test_docs_sql.py"),
}


def snippets(root: Path) -> list[Snippet]:
    """All of them, in the order in which a newcomer reads them."""
    pages = [page for pattern in PAGES for page in sorted(root.glob(pattern)) if not page.parent.name.startswith(".")]
    return [
        Snippet(str(page.relative_to(root)), language, text)
        for page in dict.fromkeys(pages)
        for language, text in re.findall(r"^```(\w*)\n(.*?)\n```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    ]


def why_no_image(root: Path) -> str:
    """Why no image can be built here; empty where one can."""
    done = subprocess.run([root / "scripts" / "test-image"], capture_output=True, text=True, check=False)
    if done.returncode == UNAVAILABLE and not os.environ.get("CI"):
        return done.stdout.strip()
    assert not done.returncode, done.stdout
    return ""


@contextmanager
def walking(directory: Path) -> Iterator[Walk]:
    """A walk that ends what it started."""
    with ExitStack() as stack:
        yield Walk(directory, stack)


def walk_through(directory: Path) -> None:
    """Run every snippet of a clone, and print what was run and how long it took.

    Raises:
        AssertionError: One did not end as the page says.
    """
    no_image = why_no_image(directory)
    with walking(directory) as walk:
        for snippet in snippets(directory):
            way = WAYS[snippet.key]
            began = time.monotonic()
            outcome = f"left to {way.covered_by}"
            if way.run == Walk.docker and no_image:
                outcome = f"skipped: {no_image}"
            elif way.run:
                printed = way.run(walk, snippet.text)
                assert re.search(way.prints, printed), f"{snippet.key} printed:\n{printed}"
                outcome = f"{time.monotonic() - began:.0f} s"
            _tell(f"{snippet.page}: {snippet.first_line} … {outcome}")


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a walk is a program


if __name__ == "__main__":
    walk_through(Path(sys.argv[1]).resolve())
