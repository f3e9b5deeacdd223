"""The shipped models, built once as an image builds them, and a client of an application that serves them."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from model_endpoint import image, model
from model_endpoint.app import create_app
from model_endpoint.model import Models
from model_endpoint.settings import Settings

BUNDLES = Path(__file__).parents[3] / "model_endpoint" / "models"


@pytest.fixture(scope="session")
def bundles() -> Path:
    return BUNDLES


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    served = tmp_path_factory.mktemp("served")
    image.build(BUNDLES, served)
    return model.load(served)


@pytest.fixture(scope="session")
def client(models: Models) -> FlaskClient:
    return create_app(Settings(endpoint="node-a", release="r1"), models).test_client()
