"""Turn bundles into what an endpoint loads; run once, when the image is built.

    python3 -m model_endpoint.image SOURCE TARGET

Every bundle is checked in full first, so a broken model fails the build and never reaches a node. Then each
model is compiled if it can be, and what serves it and why is printed and kept in its metadata.
"""

from __future__ import annotations

import compileall
import json
import py_compile
import re
import shutil
import sys
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

from model_endpoint import bundle
from model_endpoint.compiler import NotCompilableError, compile_estimator, prove
from model_endpoint.errors import BundleError
from model_endpoint.model import SKLEARN


def build(bundles: Path, served: Path) -> bool:
    """Write one folder per bundle into `served`; returns whether none of them is left to scikit-learn.

    Raises BundleError.
    """
    directories = sorted(path for path in bundles.iterdir() if path.is_dir()) if bundles.is_dir() else []
    if not directories:
        raise BundleError(f"{bundles}: it holds no model; put a bundle there")
    compiled = [_build_one(directory, served / directory.name) for directory in directories]
    return all(compiled)


def _build_one(directory: Path, target: Path) -> bool:
    source = bundle.read(directory)
    target.mkdir(parents=True)
    predictor = _compile(source, target)
    (target / "model.json").write_text(json.dumps({"card": asdict(source.card), "predictor": predictor}))
    shutil.copy(directory / "golden.json", target)
    print(f"{source.card.name} {source.card.version}: {json.dumps(predictor)}")  # noqa: T201
    return bool(predictor["kind"] != SKLEARN)


def _compile(source: bundle.Bundle, target: Path) -> dict[str, Any]:
    """Leave what the model is served with in `target`, and describe it."""
    low = np.array([feature.minimum for feature in source.card.features])
    high = np.array([feature.maximum for feature in source.card.features])
    try:
        candidate = compile_estimator(source.estimator)
        proof = prove(source.estimator, candidate, source.rows, low, high)
    except Exception as error:  # whatever goes wrong here, scikit-learn can still serve the model
        reason = str(error) if isinstance(error, NotCompilableError) else f"{type(error).__name__}: {error}"
        (target / bundle.MODEL_FILE).write_bytes(source.dump)
        return {"kind": SKLEARN, "not_compiled": reason}
    candidate.save(target / "predictor.npz")
    return {"kind": candidate.kind, "proof": asdict(proof)}


def assemble(source: Path, target: Path) -> None:
    """Put the models, the package and the libraries they need into `target`, compiled to bytecode.

    `source` holds `models/`, `package/`, `libraries/` with all that a build takes, and `requirements.txt`, which
    names those of them that are enough to serve compiled models. Raises BundleError.
    """
    if build(source / "models", target / "models"):
        names = re.findall(r"^([\w.-]+)==", (source / "requirements.txt").read_text(), re.MULTILINE)
    else:
        names = [
            found.name for found in distributions(path=[str(source / "libraries")]) if found.name != "pip"
        ]
    for name in names:
        _copy_library(name, source / "libraries", target / "libraries")
    shutil.copytree(source / "package", target / "package")
    for folder in ("libraries", "package"):
        # The hash form ignores file times, which differ between two builds of the same content.
        form = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(target / folder, quiet=2, workers=0, invalidation_mode=form)


def _copy_library(name: str, source: Path, target: Path) -> None:
    """Copy the files of one installed distribution, without its commands and tests."""
    found = next(iter(distributions(name=name, path=[str(source)])))
    for file in found.files or []:
        if ".." in file.parts or "tests" in file.parts or file.parts[0] == "bin":
            continue
        place = target / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / file, place)


def main() -> int:
    source, target = map(Path, sys.argv[1:])
    try:
        assemble(source, target)
    except BundleError as error:
        print(f"error: {error}")  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
