"""Read a CSV by pandas, in parts, and keep as text what only looks like numbers. Runs where models are packed."""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
PART = 100_000  # rows that are read at once; pandas needs several times a part's size for a moment
BLOCK = 1 << 24  # bytes that are searched at once
LEADING_ZERO = re.compile(r"[+-]?0\d")
DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


class UnreadableError(ValueError):
    """The file can't be read; the message says why and what helps."""


class CsvFile:
    """One CSV file with a header, plain or gzipped, in UTF-8 with or without a byte order mark."""

    def __init__(self, pandas: Any, path: Path, separator: str | None) -> None:
        self._pandas = pandas
        self._path = path
        with io.TextIOWrapper(self._open(), encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            if not first.strip():
                raise UnreadableError("the file is empty; give a header and the rows of training")
            self._separator = separator or max(SEPARATORS, key=first.count)
            if len(self._separator) != 1:
                raise UnreadableError(f"--separator is {separator!r}; give one character")
            file.seek(0)
            rows = csv.reader(file, delimiter=self._separator)
            header = next(rows)
            second = next(rows, [])
        self._names = [name or f"Unnamed: {at}" for at, name in enumerate(header)]
        repeated = [name for at, name in enumerate(self._names) if name in self._names[:at]]
        if repeated:
            raise UnreadableError(f"two columns have the name {repeated[0]!r}; give each a name of its own")
        if second and len(second) != len(header):
            raise UnreadableError(
                f"the header has {len(header)} cells and the first row {len(second)}; write each row with a cell for "
                "each column (pandas: to_csv(index=False)), or give --separator"
            )
        comma = self._separator != "," and any(DECIMAL_COMMA.fullmatch(cell) for cell in second)
        self._decimal = "," if comma else "."

    def read(self, kept_as_text: set[str]) -> pd.DataFrame:
        """All rows; raises UnreadableError or UnicodeDecodeError."""
        text = kept_as_text.intersection(self._names) | self._with_leading_zeros()
        parts = list(self._parts(dict.fromkeys(text, str)))
        if not parts:
            return self._pandas.DataFrame(columns=self._names)
        # A column that is numeric in some parts only is read again as text.
        numeric = [{name for name in self._names if part[name].dtype.kind in "iuf"} for part in parts]
        gaps = [{name for name in self._names if not part[name].notna().any()} for part in parts]
        mixed = {
            name
            for name in set().union(*numeric)
            if not all(name in has or name in empty for has, empty in zip(numeric, gaps, strict=True))
        }
        if mixed:
            for part, read in zip(parts, self._parts(dict.fromkeys(mixed, str), sorted(mixed)), strict=True):
                for name in mixed:
                    part[name] = read[name]
        # Taken out of a frame, each column would cost a look at all others.
        held = [dict(parts.pop(0).items()) for _ in range(len(parts))]
        columns = {}
        for name in self._names:  # one column at a time, so that only one is held twice
            columns[name] = self._pandas.concat([part.pop(name) for part in held], ignore_index=True)
        return self._pandas.DataFrame(columns, copy=False)

    def _parts(self, types: dict[str, type], columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
        with warnings.catch_warnings():
            warnings.simplefilter("error", self._pandas.errors.ParserWarning)
            try:
                yield from self._pandas.read_csv(
                    self._path,
                    sep=self._separator,
                    header=0,
                    names=self._names,
                    usecols=columns,
                    dtype=types,
                    decimal=self._decimal,
                    encoding="utf-8-sig",
                    chunksize=PART,
                    index_col=False,
                    low_memory=False,
                )
            except self._pandas.errors.ParserError as error:
                reason = str(error).removeprefix("Error tokenizing data. C error: ")
                raise UnreadableError(f"{reason}; check that line, or give --separator") from None
            except self._pandas.errors.ParserWarning:
                raise UnreadableError(
                    f"a row has more cells than the header's {len(self._names)}; mend it, or give --separator"
                ) from None

    def _with_leading_zeros(self) -> set[str]:
        """The columns in which a cell begins with a zero and another digit. Searches bytes, which is fast."""
        found: set[int] = set()
        starts = np.frombuffer(f'{self._separator}"\n'.encode(), dtype=np.uint8)
        with self._open() as file:
            file.readline()
            while block := file.read(BLOCK):
                block = b"\n" + block + file.readline()
                codes = np.frombuffer(block, dtype=np.uint8)
                zero = np.flatnonzero(codes[1:-1] == ord("0")) + 1
                after = codes[zero + 1]
                zero = zero[(after >= ord("0")) & (after <= ord("9"))]
                sign = np.isin(codes[zero - 1], np.frombuffer(b"+-", dtype=np.uint8))
                zero = zero[np.isin(codes[zero - 1 - sign], starts)]
                if len(zero):
                    found |= self._columns_at(block, codes, zero)
        return {self._names[at] for at in found if at < len(self._names)}

    def _columns_at(self, block: bytes, codes: NDArray[np.uint8], places: NDArray[np.intp]) -> set[int]:
        """The columns, by number, of the cells that begin at `places`."""
        lines = np.flatnonzero(codes == ord("\n"))
        line = np.searchsorted(lines, places, side="right") - 1
        if b'"' not in block:
            separators = np.flatnonzero(codes == ord(self._separator))
            before = np.searchsorted(separators, places) - np.searchsorted(separators, lines[line])
            return set(np.unique(before).tolist())
        # A separator within quotes begins no cell.
        ends = np.append(lines, len(block))
        texts = (block[ends[at] + 1 : ends[at + 1]].decode("utf-8", "replace") for at in np.unique(line))
        rows = csv.reader(texts, delimiter=self._separator)
        return {at for row in rows for at, cell in enumerate(row) if LEADING_ZERO.match(cell)}

    def _open(self) -> IO[bytes]:
        if self._path.suffix == ".gz":
            return gzip.open(self._path)  # type: ignore[return-value]
        return self._path.open("rb")
