"""The file of predictions, which a later run goes on with. Runs on a client's machine.

The predictions are written beside the wanted file, to `NAME.part`, and after each piece `NAME.progress` tells how far
they are right. A run that was cut off leaves at most a piece that the next run writes again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_endpoint.models.errors import BundleError
from model_endpoint.packing.scoring.client import Scored, changed


@dataclass(slots=True)
class Progress:
    """How far a file is scored: its rows, the bytes of the predictions, and by which version of which model."""

    source: str
    source_size: int
    rows: int = 0
    written: int = 0
    model: str = ""
    version: str = ""


class Output:
    """The predictions of the file `source`, in the order of its rows, under a header."""

    def __init__(self, path: Path, source: Path, restart: bool) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._record = path.with_name(f"{path.name}.progress")
        if path.exists() and not restart:
            raise BundleError(
                f"{path}: it exists already; give another --output, or --restart to score all anew"
            )
        self.progress = Progress(str(source.resolve()), source.stat().st_size)
        if self._record.exists() and not restart:
            self.progress = self._earlier()
        self._file = self._part.open("r+b" if self.progress.rows else "wb")
        self._file.truncate(self.progress.written)
        self._file.seek(0, os.SEEK_END)

    def write(self, answer: Scored) -> None:
        """Add the predictions of the next piece. Raises BundleError where another version of the model made them."""
        progress = self.progress
        if progress.rows and (progress.model, progress.version) != (answer.model, answer.version):
            raise BundleError(changed(progress.version, answer.version))
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        if not progress.rows:
            lines.writerow(_header(answer.predictions[0]))
        lines.writerows(
            prediction if isinstance(prediction, list) else [prediction] for prediction in answer.predictions
        )
        self._file.write(text.getvalue().encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        progress.rows += len(answer.predictions)
        progress.written = self._file.tell()
        progress.model, progress.version = answer.model, answer.version
        new = self._record.with_name(f"{self._record.name}.new")
        new.write_text(json.dumps(asdict(progress)))
        new.replace(self._record)

    def finish(self) -> None:
        """Give the predictions their name."""
        self._file.close()
        self._part.replace(self._path)
        self._record.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave what is written for a later run."""
        self._file.close()

    def _earlier(self) -> Progress:
        try:
            earlier = Progress(**json.loads(self._record.read_text()))
            complete = self._part.stat().st_size >= earlier.written
        except (OSError, ValueError, TypeError):
            complete = False
        if not complete:
            raise BundleError(f"{self._record}: it can't be used; give --restart to score all anew")
        if (earlier.source, earlier.source_size) != (self.progress.source, self.progress.source_size):
            raise BundleError(
                f"{self._record}: it is of {earlier.source} with {earlier.source_size} bytes; give another --output, "
                "or --restart to score all anew"
            )
        return earlier


def _header(prediction: Any) -> list[str]:
    if isinstance(prediction, list):
        return [f"prediction_{at}" for at in range(len(prediction))]
    return ["prediction"]
