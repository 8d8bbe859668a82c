"""The low-code manifest in this directory. A full refresh omits its incremental cursor, as a user's manifest would."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from airbyte_cdk.entrypoint import AirbyteEntrypoint, launch
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource

from benchmarks.contenders import measured


def main() -> None:
    arguments = sys.argv[1:]
    config = json.loads(Path(str(AirbyteEntrypoint.extract_config(arguments))).read_text())
    catalog = ConfiguredAirbyteCatalogSerializer.load(
        json.loads(Path(str(AirbyteEntrypoint.extract_catalog(arguments))).read_text())
    )
    manifest = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
    if catalog.streams[0].sync_mode.value == "full_refresh":
        del manifest["streams"][0]["incremental_sync"]
    launch(ConcurrentDeclarativeSource(catalog=catalog, config=config, state=None, source_config=manifest), arguments)


measured(main)
