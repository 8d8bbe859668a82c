"""``python -m sandbox``: serve the sample accounts until interrupted."""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path

from sandbox.server import ORGANIZATIONS, TOKEN, Sandbox, serving

CONFIG = Path("secrets") / "sandbox.json"


def main() -> None:
    """Serve, and say how to point the connector here."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8090, help="port on loopback, 0 for any free one (8090)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other bookings (1)")
    asked = parser.parse_args()
    with serving(Sandbox.with_sample_accounts(asked.seed), asked.port) as url:
        readable = [ORGANIZATIONS[name] for name in ("small", "medium", "busy", "empty")]
        CONFIG.parent.mkdir(exist_ok=True)
        CONFIG.write_text(
            json.dumps({"access_token": TOKEN, "org_ids": readable, "api_url": url}, indent=2), encoding="utf-8"
        )
        print(f"Ravan's sandbox is at {url}; its organizations are:", flush=True)
        for name, org_id in ORGANIZATIONS.items():
            print(f"  {org_id}  {name}")
        print(f"Point the connector at it: source-ravan-calcom check --config {CONFIG}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
