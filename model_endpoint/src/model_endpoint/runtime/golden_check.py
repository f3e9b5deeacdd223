"""Check that an endpoint may take traffic: `python3 -m model_endpoint.runtime.golden_check --seconds BOUND`.

Runs beside the workers, in their container. Every worker must be ready, with the certificates that are in the folder
now. Every golden request of every model must be answered right and within BOUND seconds, over HTTP on a worker's
socket. Exits with

    0   passed
    1   not ready yet: ask again
    3   an answer is wrong or too slow: asking again does not help

and, unless it passed, one line on standard error that says why.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, perf_counter, sleep

import numpy as np

from model_endpoint.models.card import METADATA_FILE, Card
from model_endpoint.models.errors import GoldenAnswerError
from model_endpoint.models.golden import GOLDEN_FILE, GoldenRequest, check_golden
from model_endpoint.models.predictor import Outputs
from model_endpoint.runtime import tls
from model_endpoint.runtime.settings import SettingError, Settings
from model_endpoint.runtime.worker_socket import CERTIFICATES, WorkerConnection, connect_to_workers

NOT_READY, WRONG_OR_SLOW = 1, 3  # exit codes; module endpoint_ready knows the second
TRIES = 5
START_SECONDS = 3.0  # how long to wait for workers that do not listen yet
EXTRA_SECONDS = 10.0  # how long to wait for an answer beyond the bound


class NotReadyError(Exception):
    """The endpoint can't be asked yet; asking again may help."""


class WrongOrSlowError(Exception):
    """An answer is wrong or took too long; the message names the model and the request's number."""


@dataclass(frozen=True, slots=True)
class _Golden:
    """The golden requests of one model."""

    card: Card
    requests: list[GoldenRequest]


def check(settings: Settings, bound: float) -> None:
    """Ask every worker whether it is ready, and one of them the golden requests of all models.

    Each request is sent once untimed, then TRIES times; the median of these may be `bound` seconds. Raises
    NotReadyError, WrongOrSlowError, or what the connection raises.
    """
    golden = _read_golden(settings.models)
    with ExitStack() as stack:
        workers = _wait(settings, bound + EXTRA_SECONDS)
        for worker in workers:
            stack.callback(worker.close)
            _check_ready(worker, tls.digest(settings.tls))
        for model in golden:
            for number, request in enumerate(model.requests):
                where = f"{model.card.name}: golden request {number}"
                _check_request(workers[0], model.card, request, bound, where)


def _wait(settings: Settings, timeout: float) -> list[WorkerConnection]:
    """Return connections to all workers, as soon as there are as many as the settings say.

    Raises NotReadyError after START_SECONDS. A start takes a second; a new check from outside, with a Python process
    each, would take a good part of its CPU time.
    """
    until = monotonic() + START_SECONDS
    while len(workers := connect_to_workers(settings, timeout)) < settings.workers:
        for worker in workers:
            worker.close()
        if monotonic() >= until:
            raise NotReadyError(f"{len(workers)} of {settings.workers} workers answer")
        sleep(0.05)
    return workers


def _check_ready(worker: WorkerConnection, certificates: str) -> None:
    worker.request("GET", "/v2/health/ready")
    answer = worker.getresponse()
    answer.read()
    if answer.status != 200:
        raise NotReadyError(f"/v2/health/ready answers {answer.status}")
    if answer.headers[CERTIFICATES] != certificates:
        raise NotReadyError("a worker still serves with the previous certificates")


def _read_golden(models: Path) -> list[_Golden]:
    """The golden requests of all models; raises NotReadyError where the server itself would not start."""
    try:
        golden = [
            _Golden(
                Card.from_values(json.loads(path.read_text())["card"]),
                json.loads((path.parent / GOLDEN_FILE).read_text()),
            )
            for path in sorted(models.glob(f"*/{METADATA_FILE}"))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotReadyError(f"{models}: the golden requests can't be read: {error}") from None
    if not golden:
        raise NotReadyError(f"{models} holds no model; build the image with one")
    return golden


def _check_request(
    connection: HTTPConnection, card: Card, request: GoldenRequest, bound: float, where: str
) -> None:
    path, body = _question(card, request)
    took: list[float] = []
    for _ in range(1 + TRIES):
        start = perf_counter()
        try:
            status, content = _post(connection, path, body)
        except TimeoutError:
            raise WrongOrSlowError(
                f"{where}: no answer in {bound + EXTRA_SECONDS:.2f} s, {bound:.2f} s are allowed"
            ) from None
        took.append(perf_counter() - start)
        if status != 200:
            raise WrongOrSlowError(f"{where}: answered {status}: {content[:200].decode(errors='replace')}")
        try:
            check_golden(_outputs(content), request["outputs"], where, card.single_precision)
        except GoldenAnswerError as error:
            raise WrongOrSlowError(str(error)) from None
        except (ValueError, KeyError, TypeError) as error:
            raise WrongOrSlowError(f"{where}: the answer is not an inference response: {error!r}") from None
    if (median := statistics.median(took[1:])) > bound:
        raise WrongOrSlowError(f"{where}: took {median:.2f} s, {bound:.2f} s are allowed")


def _post(connection: HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _question(card: Card, request: GoldenRequest) -> tuple[str, bytes]:
    """The path and the body of a golden request: a tensor of numbers, or rows where the contract has other types."""
    rows, names = request["rows"], list(request["outputs"])
    if not card.plain:
        return "/predict", json.dumps({"model": card.name, "instances": rows, "outputs": names}).encode()
    shape = [len(rows), len(rows[0])]
    tensor = {"name": "input", "datatype": card.input_datatype, "shape": shape, "data": rows}
    body = {"inputs": [tensor], "outputs": [{"name": name} for name in names]}
    return f"/v2/models/{card.name}/infer", json.dumps(body).encode()


def _outputs(content: bytes) -> Outputs:
    outputs = json.loads(content)["outputs"]
    if isinstance(outputs, dict):
        return {name: np.array(values, dtype=object) for name, values in outputs.items()}
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in outputs}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m model_endpoint.runtime.golden_check")
    parser.add_argument(
        "--seconds", type=float, required=True, metavar="BOUND", help="how long an answer may take"
    )
    bound = parser.parse_args(arguments).seconds
    if not 0 < bound < float("inf"):
        parser.error("--seconds must be a number above 0")
    try:
        settings = Settings.from_environment()
        check(settings, bound)
    except WrongOrSlowError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return WRONG_OR_SLOW
    except (NotReadyError, SettingError, OSError, HTTPException) as error:
        print(f"not ready: {error}", file=sys.stderr)  # noqa: T201
        return NOT_READY
    return 0


if __name__ == "__main__":
    sys.exit(main())
