"""A bare loop with requests and orjson: the cost of reading the endpoint without Airbyte."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import orjson
import requests

from benchmarks.contenders import measured


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb")
    parser.add_argument("--config")
    parser.add_argument("--catalog")
    config = json.loads(Path(parser.parse_args().config).read_text())
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {config['access_token']}"
        for org_id in config["org_ids"]:
            response = session.get(
                f"{config['api_url']}/api/v1/calcom/appointments", params={"org_id": org_id, "limit": "200"}
            )
            for row in orjson.loads(response.content)["data"]["appointments"]:
                message = {"type": "RECORD", "record": {"stream": "appointments", "data": row, "emitted_at": 0}}
                sys.stdout.buffer.write(orjson.dumps(message) + b"\n")


measured(main)
