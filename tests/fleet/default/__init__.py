"""Promises of a fleet at rest."""
