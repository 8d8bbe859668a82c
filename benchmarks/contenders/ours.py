"""The connector itself, as its console command runs it."""

from benchmarks.contenders import measured
from source_ravan_calcom import source  # noqa: F401  imported before the clock starts, like the others' modules
from source_ravan_calcom.main import run

measured(run)
