"""Bundles as earlier versions packed them: without the compiled form, and with rows as an array."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import yaml

from model_endpoint.packing import bundle

EARLY_BUNDLES = Path(__file__).with_name("early_bundles")
"""A bundle that an earlier version did pack."""


def as_before(folder: Path) -> Path:
    """Make of a bundle what an earlier version would have packed."""
    values = yaml.safe_load((folder / "model.yml").read_text())
    for name in ("predictor", "predictor_sha256"):
        values.pop(name, None)
    (folder / "model.yml").write_text(yaml.safe_dump(values, sort_keys=False))
    (folder / "predictor.npz").unlink(missing_ok=True)
    if bundle.read_card(folder).plain:
        path = folder / "verification.json.gz"
        rows = json.loads(gzip.decompress(path.read_bytes()))["rows"]
        np.save(folder / "rows.npy", np.array(rows, dtype=np.float64))
        path.unlink()
    return folder
