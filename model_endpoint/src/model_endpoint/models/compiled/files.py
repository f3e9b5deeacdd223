"""Read the arrays of a compiled model. Runs in the build and in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.array_files import check_arrays


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file. Raises OSError or ValueError for any other file."""
    try:
        with path.open("rb") as content:
            check_arrays(content, path.name)
            with np.load(content, allow_pickle=False) as file:
                return dict(file)
    except (BadZipFile, EOFError) as error:
        raise ValueError(f"{path.name} is broken: {error}") from None
