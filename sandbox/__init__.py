"""An imitation of Ravan's appointments endpoint on loopback, with invented Cal.com accounts."""

from sandbox.accounts import VERSIONS, Account, Booking, Clock, generated, team
from sandbox.faults import FAULTS, Fault
from sandbox.limits import FixedWindow, Limit, TokenBucket
from sandbox.server import ORGANIZATIONS, TOKEN, Sandbox, serving

__all__ = [
    "FAULTS",
    "ORGANIZATIONS",
    "TOKEN",
    "VERSIONS",
    "Account",
    "Booking",
    "Clock",
    "Fault",
    "FixedWindow",
    "Limit",
    "Sandbox",
    "TokenBucket",
    "generated",
    "serving",
    "team",
]
