"""``python -m sandbox``: serve the sample accounts until interrupted, and say what to paste."""

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
"""Not ``secrets`` itself, where Airbyte's tools look for the settings of a real account."""

STREAMS = ("appointments", "organizations")

HOST_OF_CONTAINER = "host.docker.internal"
"""How a container addresses the machine that it runs on, in Docker Desktop and in podman's machine."""

IMAGE = f"airbyte/source-ravan-calcom:{version('airbyte-source-ravan-calcom')}"


def main() -> int:
    """Serve, and print the commands that check and read what is served."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8090, help="port on loopback, 0 for any free one (8090)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other bookings (1)")
    asked = parser.parse_args()
    stop_signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    with ExitStack() as stack:
        try:
            url = stack.enter_context(serving(Sandbox.with_sample_accounts(asked.seed), asked.port))
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            problem = "is taken" if taken else f"can't be used ({error})"
            print(f"Port {asked.port} {problem}. To take any free one: make sandbox PORT=0", file=sys.stderr)
            return 1
        print(f"Ravan's sandbox is at {url}; its organizations are:")
        for name, org_id in ORGANIZATIONS.items():
            print(f"  {org_id}  {name}")
        config, _, catalog = _write(url)
        print("Check them and read them, from another terminal:")
        print(f"  {_command('check', '--config', config)}")
        print(f"  {_command('read', '--config', config, '--catalog', catalog)}")
        print("With the image that make image builds:")
        print(f"  {_container_command(sys.platform)}", flush=True)
        signal.sigwait(stop_signals)
    return 0


def _write(url: str) -> Sequence[Path]:
    """Write the settings for this machine, those for a container, and a catalog that reads everything incrementally."""
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
    """Docker's or podman's command that checks what is served, safe to paste into a shell."""
    tool = "docker" if shutil.which("docker") or not shutil.which("podman") else "podman"
    # On Linux a container reaches loopback only on the host's network; elsewhere containers run in a virtual machine,
    # from which a name leads to the host.
    network, config = (["--network", "host"], "config") if platform == "linux" else ([], "config-container")
    volume = f"{DIRECTORY.resolve()}:/sandbox:ro"
    command = [tool, "run", "--rm", *network, "-v", volume, IMAGE, "check", "--config", f"/sandbox/{config}.json"]
    return shlex.join(command)


def _command(*arguments: object) -> str:
    """The installed connector with these arguments, safe to paste into a shell in this directory."""
    connector = Path(sys.executable).with_name("source-ravan-calcom")
    if connector.is_relative_to(Path.cwd()):
        connector = connector.relative_to(Path.cwd())
    return shlex.join(map(str, (connector, *arguments)))


if __name__ == "__main__":
    sys.exit(main())
