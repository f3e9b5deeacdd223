"""The two ways to deploy that bench-deploy compares, their machines, and the versions of the endpoint they deploy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hosts import USER, Host, Machines
from playbooks import PROJECT, run_playbook
from report import Figures

OURS, PLAIN = "Flotilla", "plain playbook"


class Contestant(ABC):
    """A way to deploy, and its machines: a load balancer and the nodes that its inventory names.

    `first` is the last part of the balancer's address; the nodes' addresses follow.
    """

    name: str
    first: int

    def __init__(self, maker: Machines, nodes: int, folder: Path) -> None:
        self._maker = maker
        self._inventory = folder / f"{self.first}.json"
        names = ["lb1", *(f"node{number + 1}" for number in range(nodes))]
        self.balancer, *self.nodes = maker.make(names, self.first, str(self.first))
        self._write_inventory()

    @abstractmethod
    def deploy(self, version: str) -> Figures:
        """Bring a version of the endpoint to all nodes and return the run's figures."""

    @abstractmethod
    def roll_back(self, version: str) -> Figures:
        """Return to the version before, which is this one."""

    @property
    def hosts(self) -> list[Host]:
        return [self.balancer, *self.nodes]

    def add_node(self) -> None:
        """Make one more machine and enter it in the inventory."""
        number = len(self.nodes) + 1
        self.nodes += self._maker.make([f"node{number}"], self.first + number, str(self.first))
        self._write_inventory()

    def _write_inventory(self) -> None:
        def group(hosts: Sequence[Host]) -> dict[str, Any]:
            return {"hosts": {host.name: {"ansible_host": host.address} for host in hosts}}

        variables = {
            "ansible_user": USER,
            "ansible_ssh_private_key_file": str(self._maker.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self._maker.known_hosts}",
        }
        groups = {"load_balancers": group([self.balancer]), "model_nodes": group(self.nodes)}
        self._inventory.write_text(json.dumps({"all": {"vars": variables, "children": groups}}))

    def _play(self, playbook: str, **variables: str) -> Figures:
        return run_playbook(playbook, self._inventory, variables)


class Flotilla(Contestant):
    """This project, as it is in this checkout; its image builder is the load balancer."""

    name = OURS
    first = 10

    def __init__(self, maker: Machines, nodes: int, folder: Path, sources: dict[str, Path]) -> None:
        super().__init__(maker, nodes, folder)
        self._sources = sources

    def deploy(self, version: str) -> Figures:
        return self._play("site.yml", model_image_source=str(self._sources[version]))

    def roll_back(self, version: str) -> Figures:
        return self._play("playbooks/rollback.yml")

    def newest_image(self) -> str:
        """Return the name of the endpoint's image that was built last."""
        listing = ("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "flotilla/model-endpoint")
        return self.balancer.run(*listing).split()[0]


class Plain(Contestant):
    """The plain playbook; `images` holds, for each version, the image and the file that it is saved in."""

    name = PLAIN
    first = 110

    def __init__(self, maker: Machines, nodes: int, folder: Path) -> None:
        super().__init__(maker, nodes, folder)
        self.images: dict[str, tuple[str, Path]] = {}

    def deploy(self, version: str) -> Figures:
        image, archive = self.images[version]
        return self._play("bench/plain/site.yml", endpoint_image=image, endpoint_archive=str(archive))

    def roll_back(self, version: str) -> Figures:
        return self.deploy(version)


def make_sources(folder: Path) -> dict[str, Path]:
    """Return folders with what the endpoint is built from, by version: as it is, with a retrained model, and with
    changed code as well.
    """
    versions = {version: folder / version / "model_endpoint" for version in ("first", "model", "code")}
    shutil.copytree(
        PROJECT / "model_endpoint", versions["first"], ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(versions["first"], versions["model"])
    training = (versions["first"] / "train.py").read_text()
    retraining = folder / "retrain.py"
    retraining.write_text(
        training.replace("random_state=0", "random_state=1").replace(
            "Path(__file__).parent", f"Path({str(versions['model'])!r})"
        )
    )
    path = {"PYTHONPATH": str(versions["model"] / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, retraining], check=True, env={**os.environ, **path}, stdout=sys.stderr)
    shutil.copytree(versions["model"], versions["code"])
    with (versions["code"] / "src" / "model_endpoint" / "web" / "app.py").open("a") as file:
        file.write("\n# Changed by the benchmark.\n")
    return versions
