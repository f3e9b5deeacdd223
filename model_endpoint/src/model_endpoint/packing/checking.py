"""Say of a bundle what the image's build will say. Runs where models are packed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

import model_endpoint
from model_endpoint.models.card import METADATA_FILE, Card
from model_endpoint.models.errors import BundleError
from model_endpoint.models.kinds import KINDS
from model_endpoint.packing import image
from model_endpoint.packing.libraries import LOCK_FILE
from model_endpoint.packing.trust import Trust


@dataclass(frozen=True, slots=True)
class Finding:
    """What the image's build makes of a bundle: its card, the kind that serves it, and why it does not compile."""

    directory: Path
    card: Card
    kind: str
    not_compiled: str | None
    trusted_by: Path | None

    @property
    def needs_libraries(self) -> bool:
        return KINDS[self.kind].build_libraries

    def in_words(self) -> str:
        card, reason = self.card, f" ({self.not_compiled})" if self.not_compiled else ""
        lines = [f"{card.name} {card.version} is valid and will be served by {self.kind}{reason}"]
        if self.needs_libraries:
            lines.append(f"libraries: {self._libraries()}")
        if card.types_to_trust or card.code:
            lines.append(f"trusted: {', '.join([*card.types_to_trust, *card.code])}, by {self.trusted_by}")
        return "\n".join(lines)

    def _libraries(self) -> str:
        """The libraries that the image gets for this model, and how those installed here differ."""
        lock = self.directory / LOCK_FILE
        pins = [line.partition(" ")[0] for line in lock.read_text().splitlines()] if lock.exists() else []
        said = f"{', '.join(pins)}, locked" if pins else "those of the image, since the bundle has no lock"
        fitted = self.card.libraries.items()
        other = [f"{name} {_installed(name)}" for name, version in fitted if _installed(name) != version]
        return f"{said}; installed here: {', '.join(other)}" if other else said


def check(directory: Path, trust: Trust) -> Finding:
    """Build the bundle as the image's build does, and say what came of it. Raises BundleError."""
    if not directory.is_dir():
        raise BundleError(f"{directory}: there is no such folder; give the folder of a bundle")
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        image.build_all([directory], Path(folder) / "models", trust)
        metadata = json.loads((Path(folder) / "models" / directory.name / METADATA_FILE).read_text())
    predictor = metadata["predictor"]
    card = Card.from_values(metadata["card"])
    return Finding(directory, card, predictor["kind"], predictor.get("not_compiled"), trust.path)


def _installed(name: str) -> str:
    try:
        return installed_version(name)
    except PackageNotFoundError:
        return "not installed"


def check_in_fresh_process(directory: Path, trust: Trust) -> None:
    """Raise BundleError unless a process that has no code but the bundle's own finds the bundle right."""
    package = str(Path(model_endpoint.__file__).parents[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "-P", "-m", "model_endpoint.packing.cli", "check", str(directory)]
    with tempfile.TemporaryDirectory() as folder:
        written = Trust(trust.types, trust.code, Path(folder) / "trusted.yml")
        written.write()
        done = subprocess.run(  # noqa: S603
            [*command, "--trusted", str(written.path)],
            env=environment | {"PYTHONPATH": package},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it ended without a word"]
        reason = next(
            (line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[-1]
        )
        raise BundleError(f"{reason} (in a fresh process, which has the bundle's own code alone)")
