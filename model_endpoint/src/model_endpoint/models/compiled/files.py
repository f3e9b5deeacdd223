"""The file of a compiled model: an .npz file of arrays. Runs where models are packed, in the build and in a worker."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_endpoint.models.array_files import check_arrays

FORMAT = 1
"""The number of the format: raise it when what an earlier version wrote would be read otherwise, or not at all."""
FORMAT_ARRAY = "format"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # the time of each entry; zip knows none before


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz file, the same bytes for the same arrays whatever the time and the version of numpy."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in {FORMAT_ARRAY: np.array(FORMAT), **arrays}.items():
            entry = zipfile.ZipInfo(f"{name}.npy", EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file in this version's format. Raises OSError or ValueError for any other file."""
    try:
        with path.open("rb") as content:
            check_arrays(content, path.name)
            with np.load(content, allow_pickle=False) as file:
                arrays = dict(file)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path.name} is broken: {error}") from None
    _require_format(path.name, arrays.pop(FORMAT_ARRAY, None))
    for name, array in arrays.items():
        if array.dtype.kind not in "biufU":
            raise ValueError(f"{path.name} is broken: its array {name} is of {array.dtype}")
    return arrays


def _require_format(name: str, found: NDArray[Any] | None) -> None:
    if found is None or found.shape != () or found.dtype.kind != "i":
        raise ValueError(f"{name} is broken: it does not say its format")
    if int(found) != FORMAT:
        raise ValueError(
            f"{name} has format {int(found)} of compiled models, and this version of Flotilla reads format {FORMAT}"
        )
