"""``python -m sandbox``: serve the sample accounts until interrupted, and print commands to paste."""

from __future__ import annotations

import argparse
import errno
import json
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from sandbox.server import ORGANIZATIONS, TOKEN, Sandbox, serving

DIRECTORY = Path("secrets") / "sandbox"
"""A subdirectory, because Airbyte's tools look in ``secrets`` for the settings of a real account."""

STREAMS = ("appointments", "organizations")

HOST_OF_CONTAINER = "host.docker.internal"
"""The host's name inside containers, in Docker Desktop and in podman's virtual machine."""

IMAGE = f"airbyte/source-ravan-calcom:{version('airbyte-source-ravan-calcom')}"


def main() -> int:
    """Serve the accounts, and print the commands for a check and a read."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8090, help="port on loopback, 0 for any free port (default: 8090)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random bookings (default: 1)")
    arguments = parser.parse_args()
    stop_signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    with ExitStack() as stack:
        try:
            url = stack.enter_context(serving(Sandbox.with_sample_accounts(arguments.seed), arguments.port))
        except (OSError, OverflowError) as error:
            in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            problem = "is in use" if in_use else f"can't be used ({error})"
            print(f"Port {arguments.port} {problem}. For any free port: make sandbox PORT=0", file=sys.stderr)
            return 1
        print(f"The sandbox runs at {url}; its organizations are:")
        for name, org_id in ORGANIZATIONS.items():
            print(f"  {org_id}  {name}")
        config, _, catalog = _write(url)
        print("To check and read them, run in another terminal:")
        print(f"  {_command('check', '--config', config)}")
        print(f"  {_command('read', '--config', config, '--catalog', catalog)}")
        print("To check them with the image that make image builds:")
        print(f"  {_container_command(sys.platform)}", flush=True)
        signal.sigwait(stop_signals)
    return 0


def _write(url: str) -> Sequence[Path]:
    """Write settings for this machine, settings for a container, and a catalog for incremental syncs of all streams."""
    settings = {
        "access_token": TOKEN,
        "org_ids": [ORGANIZATIONS[name] for name in ("small", "medium", "busy", "empty")],
        "api_url": url,
    }
    modes = ["full_refresh", "incremental"]
    streams = [
        {
            "stream": {"name": name, "json_schema": {}, "supported_sync_modes": modes},
            "sync_mode": "incremental",
            "destination_sync_mode": "append_dedup",
        }
        for name in STREAMS
    ]
    contents = {
        "config": settings,
        "config-container": settings | {"api_url": url.replace("127.0.0.1", HOST_OF_CONTAINER)},
        "catalog": {"streams": streams},
    }
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (DIRECTORY / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return [DIRECTORY / f"{name}.json" for name in contents]


def _container_command(platform: str) -> str:
    """The docker or podman command for a check, quoted for a shell."""
    tool = "docker" if shutil.which("docker") or not shutil.which("podman") else "podman"
    # On Linux, a container reaches loopback only on the host's network. Elsewhere, containers run in a virtual machine,
    # which reaches the host by a name.
    network, config = (["--network", "host"], "config") if platform == "linux" else ([], "config-container")
    volume = f"{DIRECTORY.resolve()}:/sandbox:ro"
    command = [tool, "run", "--rm", *network, "-v", volume, IMAGE, "check", "--config", f"/sandbox/{config}.json"]
    return shlex.join(command)


def _command(*arguments: object) -> str:
    """A command of the installed connector, quoted for a shell in this directory."""
    connector = Path(sys.executable).with_name("source-ravan-calcom")
    if connector.is_relative_to(Path.cwd()):
        connector = connector.relative_to(Path.cwd())
    return shlex.join(map(str, (connector, *arguments)))


if __name__ == "__main__":
    sys.exit(main())
