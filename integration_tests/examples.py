"""Runs the examples as users do: copied out of the repository, with the commands in their headers."""

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

# `pip` in the headers: checks that each named package is installed here in an allowed version.
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

# `docker` in the headers: runs the image under test on the host's network, where the sandbox is. Images of destinations
# can't be pulled, so DESTINATION_COMMAND runs in their place.
DOCKER = f"""#!/usr/bin/env bash
echo "$@" >> "$(dirname "$0")/containers.log"
PATH=${{PATH#*:}}  # without this script
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
    """The text at the top of an example: its docstring or its comments."""
    text = (EXAMPLES / name).read_text()
    if name.endswith(".py"):
        return text.split('"""')[1]
    comments = re.match(r"(?:#!.*\n)?((?:#.*\n)+)", text)
    assert comments
    return re.sub(r"(?m)^# ?", "", comments[1]).replace("\n  ", "\n    ")


def commands(name: str) -> list[str]:
    """The commands in an example's header: its indented lines."""
    return [line.strip() for line in header(name).splitlines() if line.startswith("    ")]


class Example:
    """A directory with copies of examples, and with stand-ins for pip, docker and podman."""

    def __init__(self, directory: Path, *names: str) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        for name in names:
            shutil.copy(EXAMPLES / name, directory)
        # The files contain secrets.
        directory.chmod(0o700)
        self.tools = directory.parent / "tools"
        self.tools.mkdir(exist_ok=True)
        self.tool("pip", PIP)
        # Both, because an example uses whichever of them works.
        self.tool("docker", DOCKER)
        self.tool("podman", DOCKER)

    def tool(self, name: str, script: str) -> Path:
        """Make a command that comes before all others on the examples' PATH."""
        file = self.tools / name
        file.write_text(script)
        file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        return file

    def start(self, command: str, output: int | IO[str] = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
        """Start a command line in the directory."""
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
        """Run a command line in the directory and wait for its end."""
        process = self.start(command, **environment)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
