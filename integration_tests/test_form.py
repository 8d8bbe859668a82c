"""Tests of input in the form of Airbyte's web app, from the pasted text to the requests."""

from __future__ import annotations

import logging

import pytest

from sandbox import ORGANIZATIONS, TOKEN, serving
from source_ravan_calcom import SourceRavanCalcom
from unit_tests.test_form import chips, pastes

IDS = [ORGANIZATIONS[name] for name in ("small", "medium", "busy")]
PASTES = pastes(*IDS)


@pytest.mark.parametrize("pasted", PASTES.values(), ids=PASTES)
def test_a_pasted_list_of_ids_sends_one_request_for_each_organization(pasted, sandbox):
    with serving(sandbox) as url:
        settings = {"access_token": TOKEN, "org_ids": chips(pasted), "api_url": url}
        source = SourceRavanCalcom()
        status = source.check(logging.getLogger("airbyte.test"), source.configure(settings, ""))
    assert (status.status.value, status.message) == ("SUCCEEDED", None)
    assert sandbox.requests == {(org_id, None): 1 for org_id in IDS}
