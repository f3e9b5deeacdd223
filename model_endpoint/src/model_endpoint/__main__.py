"""Serve the models of this container: `python3 -m model_endpoint`."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces

from model_endpoint import model, scikit, tls
from model_endpoint.app import create_app
from model_endpoint.door import Door
from model_endpoint.errors import BundleError
from model_endpoint.metrics import Metrics
from model_endpoint.record import Recorder
from model_endpoint.scikit import SharedCalls
from model_endpoint.service import Service
from model_endpoint.settings import SettingError, Settings

DRAIN_SECONDS = 30  # how long a worker may take to finish what is in flight


def load_worker(settings: Settings, models: model.Models, metrics: Metrics) -> Callable[..., Any]:
    """Make a forked worker ready and return its WSGI application; granian listens for it only after that.

    A worker whose models answer their golden requests wrong ends instead.
    """
    # Until granian sets its own handler, the one inherited from the parent would swallow a SIGTERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    worker = metrics.claim()
    # Before granian reads them: should they change in between, it serves with newer ones than the worker says, and is
    # replaced again.
    certificates = tls.digest(settings.tls)
    # Extreme values may overflow on the way; Model.predict finds out from the result.
    warnings.simplefilter("ignore", RuntimeWarning)
    # A model fitted on a data frame says so of every array it is given.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    if not all(served.compiled for served in models.values()):
        scikit.limit_threads(settings.workers)
    for name, served in models.items():
        if not served.compiled:
            served.predictor = SharedCalls(served.predictor, partial(metrics.count_call, name))
        try:
            served.verify()
        except BundleError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)
    recorder = Recorder(settings, worker)
    recorder.start()
    multiprocessing.util.Finalize(None, recorder.stop, exitpriority=0)
    app = create_app(Service(settings, models, metrics, recorder))
    Door(app, settings, worker, certificates).open()
    return app


def main() -> int:
    """Load the models, then serve until SIGTERM; returns 1 when the models or settings are no good."""
    try:
        settings = Settings.from_environment()
        models = model.load(settings.models)
        if settings.tls:
            tls.check(settings.tls)
    except (BundleError, SettingError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    metrics = Metrics(models, settings.release, settings.slots)
    # Workers are forked, so all of them share the memory of the models loaded above and start at once.
    multiprocessing.set_start_method("fork", force=True)
    server = Granian(
        "model_endpoint",
        address=settings.address,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=settings.workers,
        blocking_threads=settings.threads,
        respawn_failed_workers=True,
        workers_kill_timeout=DRAIN_SECONDS,
        websockets=False,
        ssl_cert=settings.tls and settings.tls / tls.SERVER,
        ssl_key=settings.tls and settings.tls / tls.SERVER,
        ssl_ca=settings.tls and settings.tls / tls.CLIENTS,
        ssl_client_verify=True,
    )
    if folder := settings.tls:
        server.on_startup(lambda: tls.watch(folder))
    server.serve(target_loader=lambda: load_worker(settings, models, metrics), wrap_loader=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
