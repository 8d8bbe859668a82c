"""The connector, as run by its console command."""

from benchmarks.contenders import measured
from source_ravan_calcom import source  # noqa: F401  imported before the measurement, like the modules of the other contenders
from source_ravan_calcom.main import run

measured(run)
