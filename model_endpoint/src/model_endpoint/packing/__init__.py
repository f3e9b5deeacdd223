"""Bundles of models, and their way into an image."""
