"""FastAPI with `async def` and stock predict: uvicorn fastapi_app:app."""

from __future__ import annotations

import estimators
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
models = {name: estimators.load(name) for name in ("iris", "breast_cancer")}


class Request(BaseModel):
    model: str
    instances: list[list[float]]


@app.post("/predict")
async def predict(request: Request) -> dict[str, list[str]]:
    return {"predictions": models[request.model].predict(request.instances).tolist()}
