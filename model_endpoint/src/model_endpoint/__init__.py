"""Serve scikit-learn models over HTTP: the Open Inference Protocol v2 and two plain routes."""
