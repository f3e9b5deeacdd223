"""Newer packages of Debian come into the images by one run: no request is lost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.deploy import FINE, deploy, state
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import Machine
from fleet.upgrade.images import image_of, new_ones_removed, with_older_packages

UPDATE = "playbooks/update.yml"
OLDER = "1.0-1"


@pytest.fixture(scope="module")
def updated(fleet: Fleet) -> Iterator[Fleet]:
    """The fleet as this checkout deploys it, whose new images are removed afterwards."""
    deployed = deploy(fleet)
    assert deployed.code == FINE, deployed.output[-6000:]
    with new_ones_removed(fleet):
        yield fleet


def told_of_nginx(fleet: Fleet, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the name of the image of Nginx that runs, and what status tells of it."""
    file = folder / "status.json"
    status = deploy(fleet, "playbooks/status.yml", status_file=str(file))
    assert status.code == FINE, status.output[-6000:]
    images: dict[str, dict[str, Any]] = json.loads(file.read_text())["images"]
    (image,) = [name for name in images if name.startswith("flotilla/nginx:")]
    assert f"image {image}: made " in status.output
    return image, images[image]


def assert_nginx_runs(machine: Machine, image: str) -> None:
    """Check that one container of Nginx runs, without what its replacement needed meanwhile."""
    assert image_of(machine, "flotilla-nginx") == image
    names = machine.run("docker", "ps", "--all", "--format", "{{.Names}}").split()
    assert [name for name in names if name.startswith("flotilla-nginx")] == ["flotilla-nginx"]
    assert "reuseport" not in machine.run("cat", "/etc/flotilla/nginx/nginx.conf")
    assert machine.run("cat", "/proc/sys/net/ipv4/tcp_migrate_req").strip() == "0"


def test_an_update_of_nginx_and_what_else_is_older_loses_nothing(updated: Fleet, tmp_path: Path) -> None:
    fleet = updated
    before, _ = told_of_nginx(fleet, tmp_path)
    # What Debian has cannot be chosen, so the image is told to be older than it is.
    with with_older_packages(fleet, before, {"nginx": OLDER}):
        checked = deploy(fleet, UPDATE, None, "--check")
        assert checked.code == FINE, checked.output[-6000:]
        assert f"{before} is made anew: " in checked.output
        runs, told = told_of_nginx(fleet, tmp_path)
        assert "nginx" in told["newer"] or not told["recorded"]
        assert runs == before

        with under_load(fleet.urls) as load:
            outcome = deploy(fleet, UPDATE)
            load.during(2)
    record = load.record()
    record.assert_nothing_lost()
    assert outcome.code == FINE, outcome.output[-6000:]
    assert outcome.verdict["result"] in {"changed", "released"}

    after = image_of(fleet.load_balancer, "flotilla-nginx")
    assert after != before
    for balancer in fleet.load_balancers:
        assert_nginx_runs(balancer, after)
        assert "flotilla/nginx" in state(fleet, balancer.name)["packages_of"]
    runs, told = told_of_nginx(fleet, tmp_path)
    assert (runs, told["recorded"], told["newer"]) == (after, True, [])


def test_without_newer_packages_an_update_changes_nothing(updated: Fleet) -> None:
    with under_load(updated.urls) as load:
        for playbook in (UPDATE, "site.yml"):
            again = deploy(updated, playbook)
            again.assert_ended(FINE, "unchanged")
            assert again.changed == 0, again.output[-6000:]
    load.record().assert_nothing_lost()
