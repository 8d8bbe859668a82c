"""Ravan's appointments endpoint on loopback, over invented Cal.com accounts."""

from sandbox.accounts import Account, Booking, Clock, generated
from sandbox.faults import FAULTS, Fault
from sandbox.server import ORGANIZATIONS, TOKEN, Sandbox, serving

__all__ = [
    "FAULTS",
    "ORGANIZATIONS",
    "TOKEN",
    "Account",
    "Booking",
    "Clock",
    "Fault",
    "Sandbox",
    "generated",
    "serving",
]
