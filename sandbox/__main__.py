"""``python -m sandbox``: serve the sample accounts until interrupted, and say what to paste."""

from __future__ import annotations

import argparse
import errno
import json
import shlex
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from sandbox.server import ORGANIZATIONS, TOKEN, Sandbox, serving

DIRECTORY = Path("secrets") / "sandbox"
"""Not ``secrets`` itself, where Airbyte's tools look for the settings of a real account."""

STREAMS = ("appointments", "organizations")


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
        config, catalog = _write(url)
        print("Check them and read them, from another terminal:")
        print(f"  {_command('check', '--config', config)}")
        print(f"  {_command('read', '--config', config, '--catalog', catalog)}", flush=True)
        signal.sigwait(stop_signals)
    return 0


def _write(url: str) -> tuple[Path, Path]:
    """Write the settings that point here, and a catalog that reads everything incrementally."""
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
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in (("config", settings), ("catalog", {"streams": streams})):
        path = DIRECTORY / f"{name}.json"
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        written.append(path)
    return written[0], written[1]


def _command(*arguments: object) -> str:
    """The installed connector with these arguments, safe to paste into a shell in this directory."""
    connector = Path(sys.executable).with_name("source-ravan-calcom")
    if connector.is_relative_to(Path.cwd()):
        connector = connector.relative_to(Path.cwd())
    return shlex.join(map(str, (connector, *arguments)))


if __name__ == "__main__":
    sys.exit(main())
