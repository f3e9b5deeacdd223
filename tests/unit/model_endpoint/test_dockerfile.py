"""The Dockerfile and the roles that build and run its image agree."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import ENDPOINT_USER
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.service import HEALTH_CHECK

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "model_endpoint" / "Dockerfile").read_text()
VARIABLES = ROOT / "roles" / "model_endpoint" / "vars" / "main.yml"
SERVICE = ROOT / "plugins" / "plugin_utils" / "release" / "service.py"


def test_the_image_the_role_and_the_keys_have_one_user() -> None:
    variables = yaml.safe_load(VARIABLES.read_text())
    users = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert users == [(str(ENDPOINT_USER), str(ENDPOINT_USER))]
    assert variables["__model_endpoint_user"] == ENDPOINT_USER


def test_the_image_and_the_role_have_one_health_check() -> None:
    (command,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert ["CMD", *yaml.safe_load(command)] == HEALTH_CHECK["test"]


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "model_endpoint" / "Dockerfile",
        ROOT / "model_endpoint" / "README.md",
        SERVICE,
    ],
)
def test_every_program_that_is_named_exists(path: Path) -> None:
    programs = re.findall(r"-m\W{1,4}(model_endpoint[\w.]*)", path.read_text())
    assert programs
    for program in programs:
        assert importlib.util.find_spec(program), program
