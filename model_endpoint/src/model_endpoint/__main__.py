"""Serve the models of this container: `python3 -m model_endpoint`. Runs as the parent of the workers, and in each.

The parent loads the models, watches the certificates, and has granian fork and replace the workers.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces

from model_endpoint.drift.counts import ValueCounts
from model_endpoint.models import model
from model_endpoint.models.errors import BundleError, GoldenAnswerError
from model_endpoint.runtime import tls
from model_endpoint.runtime.metrics import Metrics
from model_endpoint.runtime.request_log import RequestLog
from model_endpoint.runtime.settings import SettingError, Settings
from model_endpoint.runtime.worker_socket import WorkerSocket
from model_endpoint.web.app import create_app
from model_endpoint.web.service import Service

DRAIN_SECONDS = 30  # how long a worker may take to finish its requests in flight
RESPAWN_SECONDS = 3.5  # from the start of a worker's successor until the worker is told to end


def load_worker(
    settings: Settings, models: model.Models, metrics: Metrics, value_counts: ValueCounts
) -> Callable[..., Any]:
    """Make a forked worker ready and return its WSGI application; granian listens only after that.

    A worker with a model that answers a golden request wrong prints that and ends.
    """
    worker = metrics.claim()
    # Read before granian reads them: if they change in between, the worker names older ones than it serves with and is
    # replaced once more.
    certificates = tls.digest(settings.tls)
    # Extreme values may overflow inside a model; Model.predict tests the result.
    warnings.simplefilter("ignore", RuntimeWarning)
    # A model fitted on a data frame warns at every array.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    for name, served in models.items():
        served.serve(settings.workers, partial(metrics.count_call, name))
        try:
            served.verify()
        except GoldenAnswerError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)
    request_log = RequestLog(settings, worker)
    request_log.start()
    multiprocessing.util.Finalize(None, request_log.stop, exitpriority=0)
    value_counts.start(worker)
    multiprocessing.util.Finalize(None, value_counts.stop, exitpriority=0)
    app = create_app(Service(settings, models, metrics, request_log, value_counts))
    WorkerSocket(app, settings, worker, certificates).open()
    return app


def limit_rows(models: model.Models, limits: Mapping[str, int]) -> None:
    """Limit the rows of a request by model; raises SettingError for a model that is not served."""
    for name, rows in limits.items():
        if name not in models:
            raise SettingError(
                f"FLOTILLA_ROW_LIMITS names {name!r}, which is not served; the models are {', '.join(models)}"
            )
        models[name].row_limit = rows


def main() -> int:
    """Load the models, then serve until SIGTERM; returns 1 when a model, a setting or a certificate is wrong."""
    try:
        settings = Settings.from_environment()
        models = model.load(settings.models)
        limit_rows(models, settings.row_limits)
        value_counts = ValueCounts.of(models, settings.models, settings.max_workers)
        if settings.tls:
            tls.check(settings.tls)
    except (BundleError, SettingError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    metrics = Metrics(models, settings.max_workers)
    # Forked workers share the memory of the models loaded above, and start at once.
    multiprocessing.set_start_method("fork", force=True)
    # Until granian sets a worker's own handler, the handler inherited from the parent would swallow a SIGTERM.
    os.register_at_fork(after_in_child=partial(signal.signal, signal.SIGTERM, signal.SIG_DFL))
    server = Granian(
        "model_endpoint",
        address=settings.address,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=settings.workers,
        blocking_threads=settings.threads,
        respawn_failed_workers=True,
        respawn_interval=RESPAWN_SECONDS,
        workers_kill_timeout=DRAIN_SECONDS,
        websockets=False,
        ssl_cert=settings.tls and settings.tls / tls.SERVER,
        ssl_key=settings.tls and settings.tls / tls.SERVER,
        ssl_ca=settings.tls and settings.tls / tls.CLIENTS,
        ssl_client_verify=True,
    )
    if folder := settings.tls:
        server.on_startup(lambda: tls.watch(folder))
    server.serve(
        target_loader=lambda: load_worker(settings, models, metrics, value_counts), wrap_loader=False
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
