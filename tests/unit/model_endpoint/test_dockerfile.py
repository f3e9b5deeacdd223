"""The Dockerfile and the roles that build and run its image agree."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.flotilla.fleet.plugins.module_utils import model_libraries
from ansible_collections.flotilla.fleet.plugins.modules import build_context
from ansible_collections.flotilla.fleet.plugins.plugin_utils.certificates import ENDPOINT_USER
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.service import HEALTH_CHECK

from model_endpoint.packing import libraries
from model_endpoint.packing.code import CODE_FOLDER
from model_endpoint.packing.trust import TRUST_FILE

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


def test_the_package_and_the_role_lock_for_the_same_python() -> None:
    role = ROOT / "roles" / "model_image"
    variables = yaml.safe_load((role / "vars" / "main.yml").read_text())
    assert tuple(variables["__model_image_wheel_platforms"]) == libraries.PLATFORMS
    build = (role / "tasks" / "build.yml").read_text()
    assert (
        f"--python-version {libraries.PYTHON} --implementation cp --abi cp313 --abi abi3 --abi none" in build
    )
    assert (libraries.LOCK_FILE, TRUST_FILE) == (model_libraries.MODEL_LOCK, build_context.TRUSTED)


def test_the_image_has_what_is_made_for_the_build_context() -> None:
    for name in (model_libraries.LOCK, build_context.TRUSTED):
        assert re.search(rf"^COPY {re.escape(name)} /build/$", DOCKERFILE, re.MULTILINE), name
    assert f":/opt/flotilla/{CODE_FOLDER} " in DOCKERFILE
    assert f"COPY --from=build /opt/flotilla/{CODE_FOLDER} /opt/flotilla/{CODE_FOLDER}\n" in DOCKERFILE
