"""Drift: rows that differ from those a model was trained on. Each part runs where its first line says."""
