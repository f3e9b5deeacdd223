"""The shipped estimators, loaded as a peer's own user would have them. Runs in each peer's environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import skops.io

MODELS = Path(os.environ["BENCH_MODELS"])


def load(name: str) -> Any:
    return skops.io.load(MODELS / name / "model.skops", trusted=["sklearn.tree._tree.Tree"])
