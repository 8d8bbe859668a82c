#!/usr/bin/env python3
"""What a shell can't do with Airbyte's messages; docker_run.sh, pipeline.sh and kubernetes_cronjob.yaml call it.

    messages.py read DIRECTORY -- SOURCE read --config FILE --catalog FILE
        runs a source from DIRECTORY/state.json on, and lands its records as DIRECTORY/STREAM/*.jsonl
    messages.py write STATE -- DESTINATION write --config FILE --catalog FILE
        runs a destination on standard input, and keeps the states that it echoes in the file STATE
    messages.py forward         passes on what a destination takes of a source's output; logs go to standard error
    messages.py catalog         makes a configured catalog of the output of `discover`

Nothing but Python 3.10 is needed. The exit code is the connector's; 1 if a file can't be written. A kill at any moment
loses nothing: a state is kept only after the records before it, and files are there completely or not at all.
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
    """Run one verb; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("forward")
    verbs.add_parser("catalog")
    for verb, file in (("read", "directory"), ("write", "state")):
        command = verbs.add_parser(verb)
        command.add_argument(file, type=Path)
        command.add_argument("command", nargs="+", help="after --, the connector with its arguments")
    asked = parser.parse_args()
    if asked.verb == "forward":
        return forward()
    if asked.verb == "catalog":
        return catalog()
    try:
        if asked.verb == "read":
            return read(asked.directory, asked.command)
        return write(asked.state, asked.command)
    except OSError as error:
        print(f"{error.filename or 'A file'}: {error.strerror}", file=sys.stderr)
    except ValueError as error:
        print(error, file=sys.stderr)
    return 1


def read(directory: Path, command: list[str]) -> int:
    """Run a source, land its records and keep its states."""
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
    """Run a destination and keep the states that it echoes."""
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
    """Pass on records, states and stream statuses, and show the rest."""
    try:
        for line in sys.stdin.buffer:
            if not line.endswith(b"\n"):
                break  # its writer was killed
            if not line.startswith(RECORD):
                message = parsed(line)
                if message["type"] not in ("RECORD", "STATE") and "stream_status" not in message.get("trace", {}):
                    show(message, "source: ")
                    continue
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the last flush would fail again
        return 128 + signal.SIGPIPE
    return 0


def catalog() -> int:
    """Choose every stream: incremental, merged by primary key."""
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
            # What Airbyte's newer destinations insist on: this sync's number, and that nothing older is dropped.
            "sync_id": int(time.time()),
            "generation_id": 1,
            "minimum_generation_id": 0,
        }
        for stream in streams
    ]
    print(json.dumps({"streams": chosen}))
    return 0


class Lock:
    """One sync at a time in a directory; it ends with the process, however that ends."""

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
    """The last state of each stream, in the file that a source takes with ``--state``."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._part = file.with_name(f"{file.name}.part")
        self._part.write_bytes(b"")  # fails now rather than after the sync
        self._part.unlink()
        self._states = {}
        if file.exists():
            try:
                self._states = {stream_of(state): state for state in json.loads(file.read_bytes())}
            except (ValueError, AttributeError, TypeError):
                raise ValueError(f"{file} holds no states. Move it away to read everything once more.") from None

    def keep(self, state: dict) -> None:
        """Replace a stream's state."""
        self._states[stream_of(state)] = state
        with self._part.open("wb") as part:
            part.write(json.dumps(list(self._states.values())).encode())
            settle(part)
        self._part.replace(self.file)
        settle_directory(self.file.parent)


class Records:
    """Records as files of JSON lines, one file per stream and state."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._parts = {}
        self._name = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S%fZ}"
        self._landings = 0
        for left in directory.glob("*/*.jsonl.part"):
            left.unlink()  # by a run that was killed; no state covers it, so its records come again

    def add(self, record: dict) -> None:
        """Write one record."""
        stream = record["stream"]
        if stream not in self._parts:
            target = self._directory / stream
            target.mkdir(exist_ok=True)
            self._parts[stream] = (target / f"{self._name}-{self._landings:04d}.jsonl.part").open("wb")
        self._parts[stream].write(json.dumps(record["data"], ensure_ascii=False).encode() + b"\n")

    def land(self) -> None:
        """Give the files written so far their final names."""
        for part in self._parts.values():
            with part:
                settle(part)
            path = Path(part.name)
            path.rename(path.with_suffix(""))
            settle_directory(path.parent)
        self._parts.clear()
        self._landings += 1


class Connector:
    """A connector as a process that gets our signals and is never left behind."""

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
        """Its whole messages, parsed."""
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                yield parsed(line)

    def _pass_on(self, number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


def parsed(line: bytes) -> dict:
    """A message; a line that is none becomes a log message."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if isinstance(message, dict) and "type" in message:
        return message
    return {"type": "LOG", "log": {"level": "INFO", "message": line.decode(errors="replace").rstrip()}}


def show(message: dict, whose: str = "") -> None:
    """Logs and errors, as one line each."""
    if message["type"] == "LOG":
        print(f"{whose}{message['log']['level']}: {message['log']['message']}", file=sys.stderr)
    elif message.get("trace", {}).get("type") == "ERROR":
        print(f"{whose}ERROR: {message['trace']['error']['message']}", file=sys.stderr)


def stream_of(state: dict) -> str:
    """What a state replaces: another one of the same stream."""
    return json.dumps(state.get("stream", {}).get("stream_descriptor"), sort_keys=True)


def settle(file) -> None:
    """Let a file's content survive a power cut."""
    file.flush()
    os.fsync(file.fileno())


def settle_directory(directory: Path) -> None:
    """Let a file's name survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
