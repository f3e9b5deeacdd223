"""Promises of a fleet that an older commit deployed, while this one takes it over."""
