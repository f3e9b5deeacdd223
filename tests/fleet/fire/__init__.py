"""Promises of a fleet under load, while it is released to, changed and broken."""
