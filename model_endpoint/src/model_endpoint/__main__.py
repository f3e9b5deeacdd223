"""Serve the models of this container: `python3 -m model_endpoint`."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces

from model_endpoint import model
from model_endpoint.app import create_app
from model_endpoint.errors import BundleError
from model_endpoint.settings import SettingError, Settings


def main() -> int:
    """Load the models, then serve until SIGTERM; returns 1 when the models or settings are no good."""
    try:
        settings = Settings.from_environment()
        models = model.load(settings.models)
        for served in models.values():
            served.verify()
    except (BundleError, SettingError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1

    def load_worker() -> Callable[..., Any]:
        return create_app(settings, models)

    # Workers are forked, so all of them share the memory of the models loaded above and start at once.
    multiprocessing.set_start_method("fork", force=True)
    Granian(
        "model_endpoint",
        address=settings.address,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=settings.workers,
        blocking_threads=settings.threads,
        respawn_failed_workers=True,
        websockets=False,
    ).serve(target_loader=load_worker, wrap_loader=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
