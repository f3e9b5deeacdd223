"""Turn bundles into what an endpoint loads. Runs once, in the image's build:

    python3 -m model_endpoint.packing.image SOURCE TARGET

Each bundle is checked completely, so a broken model fails the build and never reaches a node. The compiled form that it
has must give the estimator's own answers, which it has as well. What serves the model and why is printed and written
into its metadata.
"""

from __future__ import annotations

import compileall
import json
import py_compile
import re
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from model_endpoint.drift.distribution import DISTRIBUTION_FILE
from model_endpoint.models.card import METADATA_FILE, Card
from model_endpoint.models.errors import BundleError
from model_endpoint.models.golden import GOLDEN_FILE
from model_endpoint.models.kinds import COMPILED_FILE, KINDS
from model_endpoint.models.model import load_one
from model_endpoint.models.stored import file_of
from model_endpoint.packing import bundle, compiled_form
from model_endpoint.packing import code as own_code
from model_endpoint.packing.compiled_form import PACK_AGAIN
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
    card = _with_predictor(source, directory, target)
    served_by = card.predictor
    (target / METADATA_FILE).write_text(json.dumps({"card": source.card.values(), "predictor": served_by}))
    for name in (GOLDEN_FILE, DISTRIBUTION_FILE):
        if (directory / name).exists():
            shutil.copy(directory / name, target)
    model = load_one(target)
    try:
        rehearse(model, source.rows, source.answers)
    except Exception as error:
        if not source.card.compiled:
            raise
        # Another version may take the compiled form otherwise, and one that was tampered with raises any error.
        raise BundleError(f"{directory}: its compiled form is wrong: {error}; {PACK_AGAIN}") from None
    print(f"{card.name} {card.version}: {json.dumps(served_by)}")  # noqa: T201
    return served_by["kind"]


def _with_predictor(source: bundle.Bundle, directory: Path, target: Path) -> Card:
    """Write the predictor's file into `target`, and return a card that says what serves the model."""
    card = source.card
    if not card.predictor:  # an earlier version packed it
        card = compiled_form.make(source.estimator, card, source.rows, target)
    elif card.compiled:
        shutil.copyfile(directory / COMPILED_FILE, target / COMPILED_FILE)
    if not card.compiled:
        (target / file_of(card.stored_as)).write_bytes(source.dump)
    return card


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
