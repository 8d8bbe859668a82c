"""A lower bound: the CDK's concurrent engine and entrypoint with partitions of ready rows, without requests."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airbyte_cdk.entrypoint import launch
from airbyte_cdk.models import AirbyteMessage
from airbyte_cdk.sources.concurrent_source.concurrent_source import ConcurrentSource
from airbyte_cdk.sources.message import InMemoryMessageRepository
from airbyte_cdk.sources.streams.concurrent.cursor import FinalStateCursor
from airbyte_cdk.sources.streams.concurrent.default_stream import DefaultStream
from airbyte_cdk.sources.streams.concurrent.partitions.partition import Partition
from airbyte_cdk.sources.streams.concurrent.partitions.partition_generator import PartitionGenerator
from airbyte_cdk.sources.types import Record
from airbyte_cdk.sources.utils.slice_logger import DebugSliceLogger

from benchmarks.contenders import measured
from benchmarks.rows import row
from source_ravan_calcom.source import SourceRavanCalcom


class Ready(Partition):
    def __init__(self, org_id: str, rows: list[dict[str, object]]) -> None:
        self._org_id = org_id
        self._rows = rows

    def read(self) -> Iterable[Record]:
        return (Record(each, "appointments") for each in self._rows)

    def to_slice(self) -> Mapping[str, Any]:
        return {"org_id": self._org_id}

    def stream_name(self) -> str:
        return "appointments"

    def __hash__(self) -> int:
        return hash(self._org_id)


class Generator(PartitionGenerator):
    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config

    def generate(self) -> Iterator[Partition]:
        org_ids, count = self._config["org_ids"], self._config["benchmark_rows"]
        rows = [{**row(number, org_ids[0]), "synced_at": "2026-01-01T00:00:00.000Z"} for number in range(count)]
        return (Ready(org_id, rows) for org_id in org_ids)


class Floor(SourceRavanCalcom):
    def spec(self, logger):
        return SourceRavanCalcom().spec(logger)

    def read(self, logger, config, catalog, state=None) -> Iterator[AirbyteMessage]:
        messages = InMemoryMessageRepository()
        stream = DefaultStream(
            partition_generator=Generator(config),
            name="appointments",
            json_schema={},
            primary_key=["organization_id", "id"],
            cursor_field=None,
            logger=logger,
            cursor=FinalStateCursor("appointments", None, messages),
        )
        engine = ConcurrentSource.create(config["num_workers"], 1, logger, DebugSliceLogger(), messages)
        yield from engine.read([stream])


measured(lambda: launch(Floor(), sys.argv[1:]))
