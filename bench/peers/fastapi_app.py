"""FastAPI with `async def` and stock predict: uvicorn fastapi_app:app."""

from __future__ import annotations

from typing import Any

import estimators
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
models = {name: estimators.load(name) for name in estimators.NAMES}


class Request(BaseModel):
    model: str
    instances: list[list[float]]


class FrameRequest(BaseModel):
    model: str
    instances: list[dict[str, Any]]


class TextsRequest(BaseModel):
    model: str
    instances: list[str]


@app.post("/predict")
async def predict(request: Request) -> dict[str, list[Any]]:
    return {"predictions": models[request.model].predict(request.instances).tolist()}


@app.post("/predict_frame")
async def predict_frame(request: FrameRequest) -> dict[str, list[Any]]:
    return {"predictions": models[request.model].predict(pd.DataFrame(request.instances)).tolist()}


@app.post("/predict_texts")
async def predict_texts(request: TextsRequest) -> dict[str, list[Any]]:
    return {"predictions": models[request.model].predict(request.instances).tolist()}
