"""Prints each failure when it happens, because a whole run takes minutes."""

from __future__ import annotations

import pytest


class _Failures:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal and not hasattr(self._config, "workerinput"):
            terminal.ensure_newline()
            terminal.write_line(f"FAILED {report.nodeid}\n{report.longreprtext}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Failures(config))
