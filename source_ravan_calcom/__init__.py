"""Airbyte source for the Cal.com appointments that Ravan.ai voice agents book."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from source_ravan_calcom.source import SourceRavanCalcom

__all__ = ["SourceRavanCalcom"]


def __getattr__(name: str) -> Any:
    # Importing the CDK takes seconds, and the command must be able to end on a signal meanwhile.
    if name in __all__:
        from source_ravan_calcom import source  # noqa: PLC0415

        return getattr(source, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
