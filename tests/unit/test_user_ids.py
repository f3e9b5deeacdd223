"""The number of a container's user is the same where the image is made, the container runs and files are written."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def roles() -> dict[str, str]:
    """Return the number of each role's user, by the role's name."""
    text = "".join(file.read_text() for file in sorted(ROOT.glob("roles/*/vars/**/*.yml")))
    return dict(re.findall(r"^__(\w+)_user: (\d+)$", text, re.MULTILINE))


def plugins() -> dict[str, str]:
    """Return the numbers that plugins give the owners of files, by the constants' names."""
    text = "".join(file.read_text() for file in sorted(ROOT.glob("plugins/**/*.py")))
    found = re.findall(r"^ENDPOINT_USER, NGINX_USER = (\d+), (\d+)$", text, re.MULTILINE)
    assert len(found) == 1
    collecting = r"^PROMETHEUS_USER, EXPORTER_USER, PAGE_USER = (\d+), (\d+), \d+$"
    others = re.findall(collecting, text, re.MULTILINE)
    assert len(others) == 1
    keepers = re.findall(r"^ACME_USER = (\d+)$", text, re.MULTILINE)
    assert len(keepers) == 1
    names = ("model_endpoint", "nginx_lb", "monitoring_prometheus", "node_exporter", "acme")
    return dict(zip(names, (*found[0], *others[0], *keepers), strict=True))


def test_no_two_containers_share_a_user() -> None:
    assert {"model_endpoint", "nginx_lb", "registry", "virtual_address"} <= roles().keys()
    assert len(set(roles().values())) == len(roles())


def test_files_are_written_for_the_users_that_read_them() -> None:
    assert plugins().items() <= roles().items()


def test_the_image_of_an_endpoint_names_the_user_that_its_container_runs_as() -> None:
    dockerfile = (ROOT / "model_endpoint" / "Dockerfile").read_text()
    user = roles()["model_endpoint"]
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == [f"{user}:{user}"]
