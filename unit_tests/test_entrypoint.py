from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from source_ravan_calcom import entrypoint
from source_ravan_calcom.entrypoint import Entrypoint, launch
from source_ravan_calcom.ravan.failures import Failure


def test_the_entrypoint_refuses_settings_in_our_words():
    with pytest.raises(Failure, match="Organization IDs needs at least one entry"):
        Entrypoint.validate_connection(None, {"access_token": "ey.J.w", "org_ids": []})


def test_version(capsys):
    assert launch(["--version"]) == 0
    assert capsys.readouterr().out == f"source-ravan-calcom {version(entrypoint.DISTRIBUTION)}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["check", "--help"], ["read", "-h"]])
def test_help_names_every_verb(arguments, capsys):
    assert launch(arguments) == 0
    printed = capsys.readouterr().out
    assert all(f"source-ravan-calcom {verb}" in printed for verb in ("spec", "check", "discover", "read"))


def test_a_call_without_a_verb_shows_how_to_call_it(capsys):
    assert launch([]) == entrypoint.USAGE_ERROR
    assert capsys.readouterr().err == entrypoint.HELP


def test_a_verb_that_is_none_is_named(capsys):
    with pytest.raises(SystemExit) as ended:
        launch(["sync"])
    assert ended.value.code == entrypoint.USAGE_ERROR
    assert capsys.readouterr().err.startswith("There is no verb sync; it is one of spec, check, discover, read.\n")


def test_a_check_always_prints_a_status(tmp_path, capsys):
    missing = tmp_path / "nowhere.json"
    assert launch(["check", "--config", str(missing)]) == 1
    printed = capsys.readouterr().out
    assert '"type":"TRACE"' in printed
    [status] = [line for line in printed.splitlines() if '"CONNECTION_STATUS"' in line]
    assert f"The configuration file {missing} can't be read: No such file or directory." in status


def test_the_command_hears_signals_before_the_cdk_is_imported():
    code = "import sys, source_ravan_calcom.run; sys.exit('airbyte_cdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
