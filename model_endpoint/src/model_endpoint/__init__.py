"""Serve scikit-learn models over HTTP: the Open Inference Protocol v2 and two plain routes.

Four rooms, of which each imports only those named before it: `models` (what a model is and how it answers), `runtime`
(the process of a worker, and the programs that run beside it), `web` (routes and what happens around a request).
`packing` (bundles and the image's build) imports `models` alone, and no other room imports `packing`.
"""
