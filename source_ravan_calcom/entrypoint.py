"""The command line: the CDK's verbs, with wrong calls and unusable settings refused in our words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.logger import PRINT_BUFFER
from airbyte_cdk.models import (
    AirbyteConnectionStatus,
    AirbyteMessage,
    AirbyteMessageSerializer,
    ConnectorSpecification,
    Status,
    Type,
)
from orjson import dumps

from source_ravan_calcom.config import Config
from source_ravan_calcom.ravan.failures import Failure
from source_ravan_calcom.source import NAME, SourceRavanCalcom

DISTRIBUTION = "airbyte-source-ravan-calcom"

USAGE_ERROR = 2
"""Exit code of a wrong call; argparse's own."""

HELP = f"""\
usage: {NAME} VERB [OPTIONS]

  {NAME} spec                                              print the settings
  {NAME} check    --config FILE                            ask every organization for one row
  {NAME} discover --config FILE                            print the streams
  {NAME} read     --config FILE --catalog FILE [--state FILE]
                                                                    print records and states
  {NAME} --version

Every line that is printed is one message of the Airbyte protocol. --debug prints more of them.
"""


class Entrypoint(AirbyteEntrypoint):
    """The CDK's entrypoint, with the settings refused in our words: the CDK's name no field."""

    @staticmethod
    def validate_connection(source_spec: ConnectorSpecification, config: Mapping[str, Any]) -> None:
        """Refuse unusable settings.

        Raises:
            Failure: A config error that names each of them.
        """
        Config.parse(config)


def launch(args: list[str]) -> int:
    """Run one verb and return the exit code: 0 when it worked, 1 when it failed, 2 for a wrong call."""
    if args and args[0] == "--version":
        print(f"{NAME} {version(DISTRIBUTION)}")  # noqa: T201
        return 0
    if not args or {"-h", "--help"} & {*args}:  # of a verb, too: the CDK's names options of low-code sources
        print(HELP, end="", file=sys.stdout if args else sys.stderr)
        return 0 if args else USAGE_ERROR
    parsed = _parsed(args)
    entrypoint = Entrypoint(SourceRavanCalcom())
    with PRINT_BUFFER:
        try:
            _print(entrypoint.run(parsed))
        except Failure as failure:
            failure.emit_message()
            if parsed.command == "check":
                # Whoever asked for a check waits for this message, and for no other.
                status = AirbyteConnectionStatus(status=Status.FAILED, message=failure.message)
                message = AirbyteMessage(type=Type.CONNECTION_STATUS, connectionStatus=status)
                _print([dumps(AirbyteMessageSerializer.dump(message)).decode()])
            return 1
    return 0


def _print(messages: Iterable[str]) -> None:
    for message in messages:
        # One write for each message, as the CDK's own launcher does it: threads print too.
        sys.stdout.write(f"{message}\n")


def _parsed(args: list[str]) -> argparse.Namespace:
    verbs = ("spec", "check", "discover", "read")
    if args[0] not in verbs:
        print(f"There is no verb {args[0]}; it is one of {', '.join(verbs)}.\n\n{HELP}", end="", file=sys.stderr)  # noqa: T201
        sys.exit(USAGE_ERROR)
    return Entrypoint.parse_args(args)
