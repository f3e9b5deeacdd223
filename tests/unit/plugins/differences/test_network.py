"""The network that is compared is the one that role model_endpoint makes and that endpoints' containers are in."""

from __future__ import annotations

from pathlib import Path

import yaml
from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import ENDPOINTS_NETWORK
from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.network import OPTIONS, SUBNET

ROOT = Path(__file__).parents[4]
MODULE = "community.docker.docker_network"


def test_the_role_makes_the_network_that_is_compared() -> None:
    tasks = yaml.safe_load((ROOT / "roles/model_endpoint/tasks/run.yml").read_text())
    (made,) = (task[MODULE] for task in tasks if MODULE in task)
    assert made == {"name": ENDPOINTS_NETWORK, "ipam_config": [{"subnet": SUBNET}], "driver_options": OPTIONS}
