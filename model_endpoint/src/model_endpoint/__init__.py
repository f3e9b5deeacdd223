"""Serve scikit-learn models over HTTP: the Open Inference Protocol v2 and two plain routes.

Five rooms, of which each imports only those named before it: `models` (what a model is and how it answers), `drift`
(how far rows are from the training data), `runtime` (the process of a worker, and the programs that run beside it),
`web` (routes and what happens around a request), and `packing` (bundles and the image's build), which sends requests
through the routes to compare their answers with the estimator's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["pack"]


def pack(
    estimator: Any,
    data: Any,
    folder: Path | str,
    *,
    name: str,
    version: str,
    description: str = "",
    metrics: Mapping[str, float] | None = None,
    trusted: Path | str | None = None,
    code: Sequence[Path | str] = (),
    types: Mapping[str, str] | None = None,
    order: bool = False,
    depends_on_company: bool = False,
    drift: bool = True,
) -> None:
    """Pack a fitted estimator from a notebook, as `flotilla-model pack` does, and print what it says.

    The bundle is the folder `name` within `folder`. `data` is what the estimator was trained on: a data frame, an
    array, a list of texts or of dicts. Raises BundleError, and leaves the folder as it was, where the model can't be
    served as it answers here.
    """
    from model_endpoint.packing import packer  # scikit-learn, which a worker may not have

    report = packer.pack(
        estimator,
        data,
        Path(folder) / name,
        name=name,
        version=version,
        description=description,
        metrics=dict(metrics or {}),
        trusted=None if trusted is None else Path(trusted),
        code=[Path(path) for path in code],
        types=types or {},
        order=order,
        depends_on_company=depends_on_company,
        drift=drift,
    )
    print(report)  # noqa: T201
