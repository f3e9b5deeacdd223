"""Differences between what the inventory wants and what the machines have: made by hand, seen, and mended."""
