"""A constant reply from our server, the limit of what serving can cost: python constant.py PORT flask|wsgi."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response
from granian import Granian
from granian.constants import HTTPModes, Interfaces

BODY = b'{"predictions":["setosa"],"model":"iris","model_version":"1"}'
flask = Flask(__name__)


@flask.post("/predict")
def predict() -> Response:
    return Response(BODY, content_type="application/json")


def wsgi(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]


if __name__ == "__main__":
    app: Callable[..., Any] = flask if sys.argv[2] == "flask" else wsgi
    Granian(
        "constant",
        port=int(sys.argv[1]),
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        workers=2,
        blocking_threads=1,
        websockets=False,
    ).serve(target_loader=lambda: app, wrap_loader=False)
