"""Promises of a fleet that the installed collection has deployed, without the checkout, with models of its own."""
