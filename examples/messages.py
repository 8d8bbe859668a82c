#!/usr/bin/env python3
"""Processes Airbyte's messages for docker_run.sh, pipeline.sh and kubernetes_cronjob.yaml.

    messages.py read DIRECTORY -- SOURCE read --config FILE --catalog FILE
        runs a source from DIRECTORY/state.json on, and writes its records to DIRECTORY/STREAM/*.jsonl
    messages.py write STATE -- DESTINATION write --config FILE --catalog FILE
        runs a destination on standard input, and writes the states that it confirms to the file STATE
    messages.py forward         passes on a source's messages for a destination; logs go to standard error
    messages.py catalog         converts the output of `discover` to a configured catalog

It needs only Python 3.10. The exit code is the connector's, or 1 if a file can't be written. If it is killed, no row is
lost: a state is written only after the records before it, and files are always complete.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

RECORD = b'{"type":"RECORD"'


def main() -> int:
    """Run one verb, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("forward")
    verbs.add_parser("catalog")
    for verb, file in (("read", "directory"), ("write", "state")):
        command = verbs.add_parser(verb)
        command.add_argument(file, type=Path)
        command.add_argument("command", nargs="+", help="after --, the connector with its arguments")
    arguments = parser.parse_args()
    if arguments.verb == "forward":
        return forward()
    if arguments.verb == "catalog":
        return catalog()
    try:
        if arguments.verb == "read":
            return read(arguments.directory, arguments.command)
        return write(arguments.state, arguments.command)
    except OSError as error:
        print(f"{error.filename or 'A file'}: {error.strerror}", file=sys.stderr)
    except ValueError as error:
        print(error, file=sys.stderr)
    return 1


def read(directory: Path, command: list[str]) -> int:
    """Run a source, and write its records and states to files."""
    with Lock(directory):
        state = State(directory / "state.json")
        records = Records(directory)
        if state.file.exists():
            command = [*command, "--state", str(state.file)]
        with Connector(command) as connector:
            for message in connector.messages():
                if message["type"] == "RECORD":
                    records.add(message["record"])
                elif message["type"] == "STATE":
                    records.land()
                    state.keep(message["state"])
                else:
                    show(message)
            records.land()
        return connector.code


def write(file: Path, command: list[str]) -> int:
    """Run a destination, and write the states that it confirms to a file."""
    with Lock(file.parent):
        state = State(file)
        with Connector(command, stdin=None) as connector:
            for message in connector.messages():
                if message["type"] == "STATE":
                    state.keep(message["state"])
                else:
                    show(message, "destination: ")
        return connector.code


def forward() -> int:
    """Pass on records, states and stream statuses, and print logs and errors."""
    try:
        for line in sys.stdin.buffer:
            if not line.endswith(b"\n"):
                break  # the source was killed
            if not line.startswith(RECORD):
                message = parsed(line)
                if message["type"] not in ("RECORD", "STATE") and "stream_status" not in message.get("trace", {}):
                    show(message, "source: ")
                    continue
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter's last flush must not fail
        return 128 + signal.SIGPIPE
    return 0


def catalog() -> int:
    """Select every stream: incremental, merged by primary key."""
    streams = None
    for line in sys.stdin.buffer:
        message = parsed(line)
        if message["type"] == "CATALOG":
            streams = message["catalog"]["streams"]
        else:
            show(message)
    if streams is None:
        return 1
    chosen = [
        {
            "stream": stream,
            "sync_mode": "incremental",
            "destination_sync_mode": "append_dedup",
            "cursor_field": stream.get("default_cursor_field", []),
            "primary_key": stream.get("source_defined_primary_key", []),
            # Required by newer destinations of Airbyte: a number for this sync, and that no older rows are dropped.
            "sync_id": int(time.time()),
            "generation_id": 1,
            "minimum_generation_id": 0,
        }
        for stream in streams
    ]
    print(json.dumps({"streams": chosen}))
    return 0


class Lock:
    """Allows one sync at a time in a directory. The lock ends with the process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        self._descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"Another sync is running in {self._directory}.") from None

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class State:
    """The last state of each stream, in a file for ``--state``."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._part = file.with_name(f"{file.name}.part")
        self._part.write_bytes(b"")  # an unwritable directory fails before the sync
        self._part.unlink()
        self._states = {}
        if file.exists():
            try:
                self._states = {stream_of(state): state for state in json.loads(file.read_bytes())}
            except (ValueError, AttributeError, TypeError):
                raise ValueError(f"{file} contains no states. Move it away to read everything again.") from None

    def keep(self, state: dict) -> None:
        """Replace a stream's state."""
        self._states[stream_of(state)] = state
        with self._part.open("wb") as part:
            part.write(json.dumps(list(self._states.values())).encode())
            settle(part)
        self._part.replace(self.file)
        settle_directory(self.file.parent)


class Records:
    """Writes records to files of JSON lines, one file per stream and state."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._parts = {}
        self._name = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S%fZ}"
        self._landings = 0
        for left in directory.glob("*/*.jsonl.part"):
            left.unlink()  # from a killed run; no state includes its records, so they are read again

    def add(self, record: dict) -> None:
        """Write a record to the current file of its stream."""
        stream = record["stream"]
        if stream not in self._parts:
            target = self._directory / stream
            target.mkdir(exist_ok=True)
            self._parts[stream] = (target / f"{self._name}-{self._landings:04d}.jsonl.part").open("wb")
        self._parts[stream].write(json.dumps(record["data"], ensure_ascii=False).encode() + b"\n")

    def land(self) -> None:
        """Close the current files, and give them their final names."""
        for part in self._parts.values():
            with part:
                settle(part)
            path = Path(part.name)
            path.rename(path.with_suffix(""))
            settle_directory(path.parent)
        self._parts.clear()
        self._landings += 1


class Connector:
    """A connector's process. It receives this process's signals, and always ends with it."""

    def __init__(self, command: list[str], stdin: int | None = subprocess.DEVNULL) -> None:
        self._process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        self.code = 1

    def __enter__(self) -> Connector:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind:
            self._process.terminate()
        self._process.stdout.close()
        code = self._process.wait()
        self.code = code if code >= 0 else 128 - code

    def messages(self):
        """Yield the connector's complete messages."""
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                yield parsed(line)

    def _pass_on(self, number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


def parsed(line: bytes) -> dict:
    """Parse a message. A line that is not a message becomes a log message."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if isinstance(message, dict) and "type" in message:
        return message
    return {"type": "LOG", "log": {"level": "INFO", "message": line.decode(errors="replace").rstrip()}}


def show(message: dict, whose: str = "") -> None:
    """Print a log message or an error as one line."""
    if message["type"] == "LOG":
        print(f"{whose}{message['log']['level']}: {message['log']['message']}", file=sys.stderr)
    elif message.get("trace", {}).get("type") == "ERROR":
        print(f"{whose}ERROR: {message['trace']['error']['message']}", file=sys.stderr)


def stream_of(state: dict) -> str:
    """Return a key for the stream of a state."""
    return json.dumps(state.get("stream", {}).get("stream_descriptor"), sort_keys=True)


def settle(file) -> None:
    """Write a file's content to the disk."""
    file.flush()
    os.fsync(file.fileno())


def settle_directory(directory: Path) -> None:
    """Write a directory's entries to the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
