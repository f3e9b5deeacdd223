"""Whether an endpoint may take traffic: `python3 -m model_endpoint.gate --seconds BOUND`, inside its container.

Exits 0 when every worker is ready, with the certificates that lie there now, and every golden request of every
model is answered right and within BOUND seconds, asked over HTTP by a worker's inner door; 1 while that may yet come;
3 when an answer is wrong or slow, which no waiting mends. Standard error then has one line that says why.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

import numpy as np

from model_endpoint import door, tls
from model_endpoint.card import check_golden
from model_endpoint.errors import BundleError
from model_endpoint.predictors import Outputs
from model_endpoint.settings import SettingError, Settings

NOT_READY, REFUSED = 1, 3
TRIES = 5
STARTING = 3.0  # seconds that an endpoint which does not listen yet is waited for
PATIENCE = 10.0  # seconds beyond the bound that an answer is waited for


class NotReadyError(Exception):
    """The endpoint can't be asked yet; asking again may help."""


class RefusedError(Exception):
    """An answer is wrong or took too long; the message names the model and the request's number."""


def check(settings: Settings, bound: float) -> None:
    """Ask every worker whether it is ready, and one of them the golden requests of all models.

    Each of those is asked once untimed, then TRIES times, whose median may be `bound` seconds. Raises NotReadyError,
    RefusedError, or what the connection raises.
    """
    golden = _golden(settings.models)
    with ExitStack() as stack:
        visits = _wait(settings, bound + PATIENCE)
        for visit in visits:
            stack.callback(visit.close)
            _check_ready(visit, tls.digest(settings.tls))
        for name, requests in golden.items():
            for number, request in enumerate(requests):
                _check_request(visits[0], name, request, bound, f"{name}: golden request {number}")


def _wait(settings: Settings, timeout: float) -> list[door.Visit]:
    """Return connections to all workers, as soon as there are as many as there should be.

    Raises NotReadyError after STARTING seconds. A start takes a second, and to be asked anew from outside would cost it
    a good part of its CPU time.
    """
    until = monotonic() + STARTING
    while len(visits := door.visits(settings, timeout)) < settings.workers:
        for visit in visits:
            visit.close()
        if monotonic() >= until:
            raise NotReadyError(f"{len(visits)} of {settings.workers} workers answer")
        sleep(0.05)
    return visits


def _check_ready(visit: door.Visit, certificates: str) -> None:
    visit.request("GET", "/v2/health/ready")
    answer = visit.getresponse()
    answer.read()
    if answer.status != 200:
        raise NotReadyError(f"/v2/health/ready answers {answer.status}")
    if answer.headers[door.CERTIFICATES] != certificates:
        raise NotReadyError("a worker still serves with the certificates before")


def _golden(models: Path) -> dict[str, list[dict[str, Any]]]:
    """The golden requests by model; raises NotReadyError where the server itself would not start."""
    try:
        golden = {
            path.parent.name: json.loads((path.parent / "golden.json").read_text())
            for path in sorted(models.glob("*/model.json"))
        }
    except (OSError, ValueError) as error:
        raise NotReadyError(f"{models}: the golden requests can't be read: {error}") from None
    if not golden:
        raise NotReadyError(f"{models}: it holds no model; build the image with one")
    return golden


def _check_request(
    connection: HTTPConnection, name: str, request: dict[str, Any], bound: float, where: str
) -> None:
    rows = request["rows"]
    tensor = {"name": "input", "datatype": "FP64", "shape": [len(rows), len(rows[0])], "data": rows}
    body = json.dumps({"inputs": [tensor]}).encode()
    took: list[float] = []
    for _ in range(1 + TRIES):
        start = perf_counter()
        try:
            status, content = _ask(connection, "POST", f"/v2/models/{name}/infer", body)
        except TimeoutError:
            raise RefusedError(
                f"{where}: no answer in {bound + PATIENCE:.2f} s, {bound:.2f} s are allowed"
            ) from None
        took.append(perf_counter() - start)
        if status != 200:
            raise RefusedError(f"{where}: answered {status}: {content[:200].decode(errors='replace')}")
        try:
            check_golden(_outputs(content), request["outputs"], where)
        except BundleError as error:
            raise RefusedError(str(error)) from None
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(f"{where}: the answer is no inference response: {error!r}") from None
    if (median := statistics.median(took[1:])) > bound:
        raise RefusedError(f"{where}: took {median:.2f} s, {bound:.2f} s are allowed")


def _ask(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _outputs(content: bytes) -> Outputs:
    outputs = json.loads(content)["outputs"]
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in outputs}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m model_endpoint.gate")
    parser.add_argument(
        "--seconds", type=float, required=True, metavar="BOUND", help="how long an answer may take"
    )
    bound = parser.parse_args(arguments).seconds
    if not 0 < bound < float("inf"):
        parser.error("--seconds must be a number above 0")
    try:
        settings = Settings.from_environment()
        check(settings, bound)
    except RefusedError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return REFUSED
    except (NotReadyError, SettingError, OSError, HTTPException) as error:
        print(f"not ready: {error}", file=sys.stderr)  # noqa: T201
        return NOT_READY
    return 0


if __name__ == "__main__":
    sys.exit(main())
