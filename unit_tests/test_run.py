from __future__ import annotations

import pytest

from source_ravan_calcom.errors import Failure
from source_ravan_calcom.run import Entrypoint


def test_the_entrypoint_refuses_settings_in_our_words():
    with pytest.raises(Failure, match="Organization IDs needs at least one entry"):
        Entrypoint.validate_connection(None, {"access_token": "ey.J.w", "org_ids": []})
