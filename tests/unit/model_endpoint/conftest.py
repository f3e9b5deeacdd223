"""The shipped models, built once as an image builds them, and a client of an application that serves them."""

from __future__ import annotations

import os

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # read when the libraries below are loaded

import importlib
import sys
import types
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from model_endpoint.drift.counts import ValueCounts
from model_endpoint.models import model
from model_endpoint.models.model import Models
from model_endpoint.packing import image, proof
from model_endpoint.runtime.metrics import Metrics
from model_endpoint.runtime.request_log import RequestLog
from model_endpoint.runtime.settings import Settings
from model_endpoint.web.app import create_app
from model_endpoint.web.service import Service
from unit.model_endpoint.own_code import SHOP

BUNDLES = Path(__file__).parents[3] / "model_endpoint" / "models"


@pytest.fixture(scope="session")
def bundles() -> Path:
    return BUNDLES


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped models as an image has them."""
    directory = tmp_path_factory.mktemp("served")
    image.build(BUNDLES, directory)
    return directory


@pytest.fixture(scope="session")
def models(served: Path) -> Models:
    return model.load(served)


@pytest.fixture(scope="session")
def service(served: Path, models: Models) -> Service:
    settings = Settings(endpoint="node-a", release="r1", log_sample=0)
    counts = ValueCounts.of(models, served, settings.max_workers)
    return Service(settings, models, Metrics(models, settings.max_workers), RequestLog(settings), counts)


@pytest.fixture(scope="session")
def client(service: Service) -> FlaskClient:
    return create_app(service).test_client()


@pytest.fixture(autouse=True)
def fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 random rows are for models that people pack; the tests have many models instead."""
    monkeypatch.setattr(proof, "RANDOM_ROWS", 1000)
    monkeypatch.setattr(proof, "SINGLE_ROWS", 20)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of own code, which is forgotten after the test."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "shop.py").write_text(SHOP)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "shop", types.ModuleType("shop"))
    monkeypatch.delitem(sys.modules, "shop")
    importlib.invalidate_caches()
    return folder / "shop.py"
