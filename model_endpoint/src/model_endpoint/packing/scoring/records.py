"""Read a CSV record by record, as it is written, and cut it into pieces. Runs on a client's machine."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from model_endpoint.models.errors import BundleError


@dataclass(frozen=True, slots=True)
class Piece:
    """Some records of the file; `first` is the number of those before, `end` the bytes of the file up to its end."""

    first: int
    records: list[bytes]
    end: int

    def halves(self) -> list[Piece]:
        """The two halves of a piece that is too large."""
        middle = len(self.records) // 2
        return [
            Piece(self.first, self.records[:middle], self.end),
            Piece(self.first + middle, self.records[middle:], self.end),
        ]


class Records:
    """The records of a CSV with a header, plain or gzipped."""

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        self._raw = path.open("rb")
        # GzipFile reads as a BinaryIO does.
        self._file = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw)) if path.suffix == ".gz" else self._raw
        self._records = self._split()
        self.header = next(self._records, b"")
        if not self.header.strip():
            raise BundleError(f"{path}: the file is empty; give a header and the rows to score")
        self._taken = 0
        self._next: bytes | None = next(self._records, None)

    def skip(self, count: int) -> None:
        """Leave out the next `count` records."""
        while self._taken < count and self._next is not None:
            self._advance()

    def take(self, rows: int, most_bytes: int) -> Piece | None:
        """The next piece of at most so many rows and bytes, but at least one row; None at the end."""
        if self._next is None:
            return None
        records: list[bytes] = []
        first, size = self._taken, len(self.header)
        while self._next is not None and len(records) < rows:
            size += len(self._next)
            if records and size > most_bytes:
                break
            records.append(self._next)
            self._advance()
        return Piece(first, records, self._raw.tell())

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def _advance(self) -> None:
        self._taken += 1
        self._next = next(self._records, None)

    def _split(self) -> Iterator[bytes]:
        """A record goes on in the next line while a quote is open. Empty lines are none."""
        record = b""
        for line in self._file:
            record += line
            if record.count(b'"') % 2:
                continue
            if record.strip():
                yield record if record.endswith(b"\n") else record + b"\n"
            record = b""
        if record:
            yield record
