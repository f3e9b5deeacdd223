"""Machines that are lost, and what mends the fleet then."""
