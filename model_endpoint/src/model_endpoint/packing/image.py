"""Turn bundles into what an endpoint loads. Runs once, in the image's build:

    python3 -m model_endpoint.packing.image SOURCE TARGET

Each bundle is checked completely, so a broken model fails the build and never reaches a node. Then its model is
compiled, if possible. What serves the model and why is printed and written into its metadata.
"""

from __future__ import annotations

import compileall
import json
import py_compile
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

from model_endpoint.drift.distribution import DISTRIBUTION_FILE
from model_endpoint.models.card import FURTHER, METADATA_FILE
from model_endpoint.models.contract import ARRAY, Feature
from model_endpoint.models.errors import BundleError
from model_endpoint.models.golden import GOLDEN_FILE
from model_endpoint.models.kinds import COMPILED_FILE, KINDS
from model_endpoint.models.model import load_one
from model_endpoint.models.predictor import Predictor
from model_endpoint.models.scikit_learn import predictor_of
from model_endpoint.models.stored import file_of, kind_of
from model_endpoint.packing import bundle
from model_endpoint.packing import code as own_code
from model_endpoint.packing.compiling.common import NotCompilableError
from model_endpoint.packing.compiling.compiler import compile_estimator
from model_endpoint.packing.proof import Proof, prove
from model_endpoint.packing.proof_columns import prove_columns
from model_endpoint.packing.rehearsal import rehearse
from model_endpoint.packing.trust import NONE_TRUSTED, TRUST_FILE, Trust


def build(bundles: Path, served: Path, trust: Trust = NONE_TRUSTED) -> bool:
    """Write one folder per bundle into `served`; returns whether any model needs the libraries of the build.

    Raises BundleError.
    """
    directories = bundles_in(bundles)
    if not directories:
        raise BundleError(f"{bundles} holds no model; put a bundle there")
    return build_all(directories, served, trust)


def bundles_in(folder: Path) -> list[Path]:
    """The folders in `folder`, each of which should be a bundle."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and not path.name.startswith("."))


def build_all(directories: Sequence[Path], served: Path, trust: Trust) -> bool:
    """Write one folder per bundle into `served`, and their own code into the folder `code` beside it.

    Returns whether any model needs the libraries of the build. Raises BundleError.
    """
    for directory in directories:  # before any is imported, since a process has one module of a name
        code = own_code.hashes(directory)
        if code and (directory / bundle.CARD_FILE).is_file():
            own_code.check(directory, bundle.read_card(directory).code)
            trust.check_code(str(directory), code)
            own_code.unpack(directory, served.parent / own_code.CODE_FOLDER)
    kinds = [KINDS[_build_one(directory, served / directory.name, trust)] for directory in directories]
    return any(kind.build_libraries for kind in kinds)


def _build_one(directory: Path, target: Path, trust: Trust) -> str:
    """Write the folder of one model; returns its kind."""
    source = bundle.read(directory, trust)
    target.mkdir(parents=True)
    predictor = _compile(source, target)
    (target / METADATA_FILE).write_text(json.dumps({"card": source.card.values(), "predictor": predictor}))
    for name in (GOLDEN_FILE, DISTRIBUTION_FILE):
        if (directory / name).exists():
            shutil.copy(directory / name, target)
    model = load_one(target)
    rehearse(model, source.rows, source.answers)
    print(f"{source.card.name} {source.card.version}: {json.dumps(predictor)}")  # noqa: T201
    kind: str = predictor["kind"]
    return kind


def _compile(source: bundle.Bundle, target: Path) -> dict[str, Any]:
    """Write the predictor's file into `target`, and return the predictor's description."""
    card = source.card
    more = [output.name for output in card.outputs if output.name in FURTHER]
    try:
        candidate = compile_estimator(source.estimator, card)
        proof = _prove(source, candidate, more)
    except Exception as error:  # scikit-learn can serve the model whatever fails here
        reason = str(error) if isinstance(error, NotCompilableError) else f"{type(error).__name__}: {error}"
        (target / file_of(card.stored_as)).write_bytes(source.dump)
        return {"kind": kind_of(card.stored_as), "not_compiled": reason}
    candidate.save(target / COMPILED_FILE)
    return {"kind": candidate.kind, "proof": asdict(proof)}


def _prove(source: bundle.Bundle, candidate: Predictor, more: list[str]) -> Proof:
    card = source.card
    if not card.plain:
        reference = predictor_of(source.estimator, card)
        found = prove_columns(reference, candidate, card, source.rows, more)
        if card.form != ARRAY:
            return found
    low = np.array([float(feature.minimum or 0) for feature in card.features])
    high = np.array([_highest(feature) for feature in card.features])
    return prove(source.estimator, candidate, source.prepared(), low, high, more)


def _highest(feature: Feature) -> float:
    return 1.0 if feature.maximum is None else float(feature.maximum)


def assemble(source: Path, target: Path) -> None:
    """Put the models, the package and the libraries they need into `target`, with their bytecode.

    `source` holds `models/`, `trusted.yml`, `package/`, `libraries/` with all libraries of the build, and
    `requirements.txt`, which names the libraries that are enough to serve compiled models. Raises BundleError.
    """
    (target / own_code.CODE_FOLDER).mkdir(parents=True)
    if build(source / "models", target / "models", Trust.read(source / TRUST_FILE)):
        names = [
            found.name for found in distributions(path=[str(source / "libraries")]) if found.name != "pip"
        ]
    else:
        names = re.findall(r"^([\w.-]+)==", (source / "requirements.txt").read_text(), re.MULTILINE)
    for name in names:
        _copy_library(name, source / "libraries", target / "libraries")
    shutil.copytree(source / "package", target / "package")
    for folder in ("libraries", "package", own_code.CODE_FOLDER):
        # Unlike the default form, this one has no file times, which differ between two builds of the same content.
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
