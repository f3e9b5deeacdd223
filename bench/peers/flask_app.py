"""Flask's development server with stock predict: python flask_app.py PORT."""

from __future__ import annotations

import logging
import sys

import estimators
from flask import Flask, request
from flask.typing import ResponseReturnValue

logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = Flask(__name__)
models = {name: estimators.load(name) for name in estimators.SHIPPED}


@app.post("/predict")
def predict() -> ResponseReturnValue:
    body = request.get_json()
    return {"predictions": models[body["model"]].predict(body["instances"]).tolist()}


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
