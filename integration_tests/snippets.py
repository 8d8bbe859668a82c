"""Run the commands of the READMEs exactly as printed: ``python3 snippets.py CLONE``.

``newcomer.sh`` runs them in a new clone, ``test_snippets.py`` in a copy that uses the tests' environment. The first
command that fails ends the run. Only the standard library is needed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

PAGES = ("README.md", "sandbox/README.md")

WITHOUT_MAKE = "python3 -m venv .venv"
"""The first line of a block that is skipped, because it would replace the environment of the other blocks."""

SECONDS = 900
"""A command that takes longer counts as a hang; the first build of the image takes minutes."""

UNAVAILABLE = 69
"""The exit code of ``scripts/test-image`` if no image can be built."""

DROPPED = ("PYTHONDONTWRITEBYTECODE", "VENV", "CONFIG", "DATABASE", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
"""Variables that a calling ``make`` may have set."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)\n```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


class Walk:
    """Runs the blocks of the pages in one clone.

    Args:
        clone: The directory.
        has_image: Whether the image can be built here.
    """

    def __init__(self, clone: Path, has_image: bool) -> None:
        self._clone = clone
        self._has_image = has_image
        self._stack = ExitStack()
        self._environment = {name: value for name, value in os.environ.items() if name not in DROPPED}
        # Port 8090 may be in use by another sandbox.
        self._environment["PORT"] = "0"
        # `docker` runs whichever of docker and podman works, on the host's network, where the sandbox is.
        self._environment["PATH"] = os.pathsep.join([str(clone / "scripts" / "shims"), os.environ["PATH"]])

    def all(self) -> Iterator[str]:
        """Run every block, and yield a line with its first command and duration.

        Raises:
            AssertionError: A command failed.
        """
        with self._stack:
            for page in PAGES:
                for language, text in blocks(self._clone / page):
                    began = time.monotonic()
                    ran = self._run(language, text)
                    outcome = f"{time.monotonic() - began:.0f} s" if ran else "skipped"
                    yield f"{page}: {text.splitlines()[0]} … {outcome}"

    def _run(self, language: str, text: str) -> bool:
        if language == "json":
            self._save_settings(text)
        elif language == "python":
            self._execute(".venv/bin/python", "-c", text)
        elif text == "make sandbox":
            self._serve()
        elif (
            language  # the commands for a Mac are marked as sh
            or text.startswith(WITHOUT_MAKE)
            or ("docker" in text and not self._has_image)
        ):
            return False
        else:
            self._execute("bash", "-euo", "pipefail", "-c", text)
        return True

    def _save_settings(self, text: str) -> None:
        """Save the settings of the page, check that they are valid, then replace Ravan's URL with the sandbox's."""
        file = self._clone / "config.json"
        file.write_text(text, encoding="utf-8")
        parse = "from source_ravan_calcom.config import Config, load; Config.parse(load('config.json'))"
        self._execute(".venv/bin/python", "-c", parse)
        self._serve()
        served = json.loads((self._clone / "secrets" / "sandbox" / "config.json").read_text(encoding="utf-8"))
        file.write_text(json.dumps(json.loads(text) | served), encoding="utf-8")

    def _serve(self) -> None:
        """Start the sandbox, and leave it running until the last block has run."""
        process = subprocess.Popen(
            ["make", "--no-print-directory", "sandbox"],
            cwd=self._clone,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._stack.enter_context(process)  # waits for its end
        self._stack.callback(os.killpg, process.pid, signal.SIGTERM)
        assert process.stdout
        for line in process.stdout:
            if " run --rm " in line:  # the last line of its output
                return
        raise AssertionError("the sandbox ended")

    def _execute(self, *command: str) -> None:
        done = subprocess.run(
            command,
            cwd=self._clone,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{command[-1]}\nended with exit code {done.returncode}:\n{done.stdout}")


def why_no_image(clone: Path) -> str:
    """The reason why no image can be built here, empty if one can."""
    done = subprocess.run([clone / "scripts" / "test-image"], capture_output=True, text=True, check=False)
    if done.returncode == UNAVAILABLE and not os.environ.get("CI"):
        return done.stdout.strip()
    assert not done.returncode, done.stdout
    return ""


def walk_through(clone: Path) -> None:
    """Run every block and print its line."""
    no_image = why_no_image(clone)
    if no_image:
        print(f"Without the image, because {no_image}.")  # noqa: T201  this is a program
    for line in Walk(clone, not no_image).all():
        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    walk_through(Path(sys.argv[1]).resolve())
