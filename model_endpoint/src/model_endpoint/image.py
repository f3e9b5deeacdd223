"""Turn bundles into what an endpoint loads; run once, when the image is built.

    python3 -m model_endpoint.image BUNDLES SERVED

Every bundle is checked in full first, so a broken model fails the build and never reaches a node.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from model_endpoint import bundle
from model_endpoint.errors import BundleError


def build(bundles: Path, served: Path) -> list[str]:
    """Write one folder per bundle into `served`; returns the models' names. Raises BundleError."""
    directories = sorted(path for path in bundles.iterdir() if path.is_dir()) if bundles.is_dir() else []
    if not directories:
        raise BundleError(f"{bundles}: it holds no model; put a bundle there")
    for directory in directories:
        source = bundle.read(directory)
        target = served / source.card.name
        target.mkdir(parents=True)
        (target / "model.json").write_text(json.dumps(asdict(source.card)))
        shutil.copy(directory / "golden.json", target)
        shutil.copy(directory / bundle.MODEL_FILE, target)
        print(f"{source.card.name} {source.card.version}: checked, served by scikit-learn")  # noqa: T201
    return [directory.name for directory in directories]


def main() -> int:
    bundles, served = sys.argv[1:]
    try:
        build(Path(bundles), Path(served))
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
