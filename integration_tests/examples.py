"""The examples as their readers have them: copied out of the repository, and run by the commands in their headers."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import IO

from integration_tests.conftest import ENVIRONMENT
from integration_tests.image import CONTAINER, IMAGE

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
COMMANDS = Path(sys.executable).parent

# `pip` of the headers: everything that it names is installed here, in a version that it allows.
PIP = f"""#!{sys.executable}
import os, sys
from importlib.metadata import metadata, version
from packaging.requirements import Requirement
verb, *named = sys.argv[1:]
assert verb == "install" and named
for name in named:
    path, _, extra = name.partition("[")
    if os.sep in path:
        assert os.path.exists(path + "/setup.py")
        assert extra.rstrip("]") in metadata("airbyte-source-ravan-calcom").get_all("Provides-Extra"), extra
        continue
    requirement = Requirement(name)
    assert requirement.specifier.contains(version(requirement.name)), requirement
"""

# `docker` of the headers: the image under test, on the host's network, where the sandbox is. An image of somebody else
# can't be pulled; DESTINATION_COMMAND, if there is one, runs in its place.
DOCKER = f"""#!/usr/bin/env bash
echo "$@" >> "$(dirname "$0")/containers.log"
PATH=${{PATH#*:}}  # not this one
arguments=() rest=() image=
for argument in "$@"; do
  if [ -n "$image" ]; then rest+=("$argument"); continue; fi
  case "$argument" in
    airbyte/source-ravan-calcom:{version("airbyte-source-ravan-calcom")}) image=source; arguments+=({IMAGE}) ;;
    airbyte/destination-*) image=destination ;;
    run) arguments+=(run --network host) ;;
    *) arguments+=("$argument") ;;
  esac
done
if [ "$image" = destination ]; then exec "$DESTINATION_COMMAND" "${{rest[@]}}"; fi
exec {CONTAINER} "${{arguments[@]}}" "${{rest[@]}}"
"""


def header(name: str) -> str:
    """What stands at the top of an example: its docstring, or its comments."""
    text = (EXAMPLES / name).read_text()
    if name.endswith(".py"):
        return text.split('"""')[1]
    comments = re.match(r"(?:#!.*\n)?((?:#.*\n)+)", text)
    assert comments
    return re.sub(r"(?m)^# ?", "", comments[1]).replace("\n  ", "\n    ")


def commands(name: str) -> list[str]:
    """The commands in an example's header: its indented lines."""
    return [line.strip() for line in header(name).splitlines() if line.startswith("    ")]


class Reader:
    """Somebody who has copied examples into a directory of theirs and runs them there."""

    def __init__(self, directory: Path, *names: str) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        for name in names:
            shutil.copy(EXAMPLES / name, directory)
        # They hold secrets, and nobody else needs to enter.
        directory.chmod(0o700)
        self.tools = directory.parent / "tools"
        self.tools.mkdir(exist_ok=True)
        self.tool("pip", PIP)
        # Both, so that it does not matter which of them works here.
        self.tool("docker", DOCKER)
        self.tool("podman", DOCKER)

    def tool(self, name: str, script: str) -> Path:
        """Put a command before all others on the reader's path."""
        file = self.tools / name
        file.write_text(script)
        file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        return file

    def start(self, command: str, output: int | IO[str] = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
        """Start a command line in the reader's directory."""
        path = os.pathsep.join((str(self.tools), str(COMMANDS), ENVIRONMENT["PATH"]))
        return subprocess.Popen(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            cwd=self.directory,
            env={**ENVIRONMENT, "PATH": path, "CONNECTOR": str(ROOT), **environment},
        )

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command line in the reader's directory to its end."""
        process = self.start(command, **environment)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
