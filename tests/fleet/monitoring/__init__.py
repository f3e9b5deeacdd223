"""Promises of a fleet whose metrics are collected: what is seen, who may see it, and who does not need it."""
