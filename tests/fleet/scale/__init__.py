"""Promises of a fleet whose inventory changes."""
