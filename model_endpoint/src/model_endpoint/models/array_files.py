"""Check files of arrays, which are zip files, before they are unpacked. Runs in the build and in a worker."""

from __future__ import annotations

import io
import math
import zipfile
from typing import IO

import numpy as np

LARGEST_RATIO = 200
"""How many bytes a byte of the file may unpack to, once it unpacks to more than SMALL; skops files reach about 20."""
SMALL = 1 << 28


def check_arrays(file: IO[bytes], name: str) -> None:
    """Raise ValueError if `file`, in .npz form, unpacks to far more than its size or holds arrays of a wrong size."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    with zip_of(file, name) as archive:
        check_unpacked(archive, size)
        for entry in archive.infolist():
            check_array(archive, entry)
    file.seek(0)


def zip_of(file: IO[bytes], name: str = "the file") -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{name} is broken: {error}") from None


def check_unpacked(archive: zipfile.ZipFile, size: int) -> None:
    # zipfile never reads more of an entry than its `file_size` says.
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > max(SMALL, LARGEST_RATIO * size):
        raise ValueError(
            f"its {size:,} bytes unpack to {unpacked:,} bytes, more than {LARGEST_RATIO} times as many"
        )


def check_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Raise ValueError unless the array's header and its bytes agree, before numpy makes room for it."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        data = entry.file_size - file.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != data:
        raise ValueError(f"the array {entry.filename} says {dtype} of shape {shape}, but has {data:,} bytes")
