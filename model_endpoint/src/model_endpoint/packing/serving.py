"""Serve bundles on this machine by the program that containers run. Runs where models are packed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import model_endpoint
from model_endpoint.models.errors import BundleError
from model_endpoint.packing import image
from model_endpoint.packing.bundle import CARD_FILE
from model_endpoint.packing.code import CODE_FOLDER
from model_endpoint.packing.progress import working
from model_endpoint.packing.trust import Trust

ADDRESS = "127.0.0.1"
MAX_BODY = 64 << 20  # to try large batches; a fleet has a variable for it


def serve(folders: Sequence[Path], port: int, trust: Trust) -> int:
    """Serve the bundles until SIGTERM or Ctrl-C; returns the server's exit code. Raises BundleError.

    Each of `folders` is a bundle or holds bundles. They are built as the image's build does.
    """
    bundles = _bundles(folders)
    _require_free(port)
    with tempfile.TemporaryDirectory(prefix="flotilla-serve-") as temporary:
        models = Path(temporary) / "models"
        with working(f"building {', '.join(bundle.name for bundle in bundles)}"):
            image.build_all(bundles, models, trust)
        print(f"serving at http://{ADDRESS}:{port}, to try at /docs; Ctrl-C ends it", flush=True)  # noqa: T201
        return _run(models, Path(temporary) / CODE_FOLDER, port)


def _bundles(folders: Sequence[Path]) -> list[Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        bundles = [folder] if (folder / CARD_FILE).is_file() else image.bundles_in(folder)
        if not bundles:
            raise BundleError(
                f"{folder}: it is no bundle and holds none; give what flotilla-model pack has written"
            )
        for bundle in bundles:
            if bundle.name in found:
                raise BundleError(
                    f"{bundle}: {found[bundle.name]} is a model of that name too; serve one of them at a time"
                )
            found[bundle.name] = bundle
    return list(found.values())


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise BundleError(f"port {port} can't be used: {error.strerror}; give another: --port") from None


def _run(models: Path, code: Path, port: int) -> int:
    package = Path(model_endpoint.__file__).parents[1]
    settings = {
        "MODELS": models,
        "ADDRESS": ADDRESS,
        "PORT": port,
        "LOG_SAMPLE": 0,
        "MAX_BODY": MAX_BODY,
        "ENDPOINT": "local",
    }
    environment = os.environ | {f"FLOTILLA_{name}": str(value) for name, value in settings.items()}
    # As in the image: the process that forks the workers starts no threads, which would not survive the fork.
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(package), str(code)])
    server = subprocess.Popen([sys.executable, "-m", "model_endpoint"], env=environment)

    def forward(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        server.send_signal(number)

    # Ctrl-C reaches the server by itself, as part of the same group; to wait for it is all there is to do.
    handlers = {signal.SIGTERM: forward, signal.SIGINT: signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}  # type: ignore[arg-type]
    try:
        return server.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
