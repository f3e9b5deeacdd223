"""The fleet under test: what its inventory says it is, and what it does with traffic."""

import json
import socket
import subprocess
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests

from fleet.load import PREDICTION, RIGHT
from fleet.machine import Machine

CLIENTS = 8
SHARE_TOLERANCE = 0.02
ROLE_VARIABLES = ("model_endpoint_",)


@dataclass(frozen=True)
class Fleet:
    """The groups and variables of an inventory, read the way Ansible reads them."""

    inventory: Path
    hostvars: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, list[str]]

    @classmethod
    def of(cls, inventory: Path) -> "Fleet":
        """Read the inventory at a path."""
        listing = subprocess.run(
            ["ansible-inventory", "--inventory", str(inventory), "--list"],
            check=True,
            capture_output=True,
            text=True,
        )
        listed = json.loads(listing.stdout)
        hostvars = listed.pop("_meta")["hostvars"]
        return cls(inventory, hostvars, {name: group.get("hosts", []) for name, group in listed.items()})

    def machine(self, name: str) -> Machine:
        """Return the machine of an inventory host."""
        variables = self.hostvars[name]
        return Machine(name, variables["ansible_host"], variables["ansible_docker_host"])

    @property
    def load_balancers(self) -> list[Machine]:
        """The machines that take the traffic."""
        return [self.machine(name) for name in self.groups["load_balancers"]]

    @property
    def load_balancer(self) -> Machine:
        """The first of them, which serves alone in most scenarios."""
        return self.load_balancers[0]

    @property
    def nodes(self) -> list[Machine]:
        """The machines that run model endpoints."""
        return [self.machine(name) for name in self.groups["model_nodes"]]

    @property
    def builder(self) -> Machine:
        """The machine that builds images and holds the registry: the first load balancer, unless another is named."""
        return self.machine(self.groups.get("image_builder", self.groups["load_balancers"])[0])

    @property
    def authorities(self) -> Path:
        """The folder of the fleet's certificate authorities, on this machine."""
        return Path(self.hostvars[self.load_balancer.name]["internal_ca_directory"])

    @property
    def machines(self) -> list[Machine]:
        """Every machine of the fleet."""
        return [*self.load_balancers, *self.nodes, *map(self.machine, self.groups.get("monitoring", ()))]

    @property
    def monitoring(self) -> Machine:
        """The machine that collects metrics."""
        return self.machine(self.groups["monitoring"][0])

    @property
    def outsider(self) -> Machine:
        """A machine on the same network that is no part of the fleet."""
        return self.machine("outsider")

    @property
    def url(self) -> str:
        """Where clients send their requests."""
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        """The URLs of all load balancers."""
        return [f"http://{balancer.address}" for balancer in self.load_balancers]

    @property
    def address_of_this_machine(self) -> str:
        """The address the load balancer sees requests of this machine come from."""
        with socket.create_connection((self.load_balancer.address, 80), timeout=5) as connection:
            return str(connection.getsockname()[0])

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Send one GET through the load balancer."""
        return requests.get(f"{self.url}{path}", headers=headers, timeout=10)

    def weights(self) -> dict[str, int]:
        """Return the weight of every node that is to take traffic."""
        return {
            name: int(self.hostvars[name].get("model_endpoint_weight", 1))
            for name in self.groups["model_nodes"]
            if self.hostvars[name].get("model_endpoint_state", "present") == "present"
        }

    def answers(self, requests_sent: int) -> Counter[str]:
        """Send predictions from several clients at once and count the answers of each endpoint."""

        def client(count: int) -> Counter[str]:
            endpoints: Counter[str] = Counter()
            with requests.Session() as session:
                for _ in range(count):
                    answer = session.post(f"{self.url}/predict", json=PREDICTION, timeout=10)
                    assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
                    assert answer.json()["predictions"] == RIGHT
                    endpoints[answer.headers["X-Endpoint"]] += 1
            return endpoints

        share, rest = divmod(requests_sent, CLIENTS)
        with ThreadPoolExecutor(CLIENTS) as clients:
            counts = clients.map(client, [share + (index < rest) for index in range(CLIENTS)])
            return sum(counts, Counter())

    def assert_shared(self, answers: Counter[str]) -> None:
        """Check that of these answers each endpoint gave its share, and nobody else gave any."""
        weights = self.weights()
        wanted = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        shares = {name: answers[name] / answers.total() for name in answers | wanted}
        wrong = {name for name in shares if abs(shares[name] - wanted.get(name, 0)) > SHARE_TOLERANCE}
        strangers = answers.keys() - weights.keys()
        assert not wrong | strangers, f"shares {shares}, by the weights {wanted}"

    def assert_shares(self, requests_sent: int = 1000) -> None:
        """Send predictions and check that each endpoint answers its share, and nobody else answers any."""
        self.assert_shared(self.answers(requests_sent))

    def with_nodes(
        self,
        nodes: Mapping[str, Mapping[str, Any]],
        others: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        without: str = "",
        builder: str = "",
    ) -> "Fleet":
        """Write an inventory whose model_nodes are these hosts and variables, and return its fleet.

        `others` adds variables to hosts, of whatever groups they are. The group `without` is left out. The host
        `builder` is the image builder, unless it is empty.
        """
        plain = {
            host: {key: value for key, value in variables.items() if not key.startswith(ROLE_VARIABLES)}
            | dict(others.get(host, {}))
            for host, variables in self.hostvars.items()
            if "ansible_docker_host" in variables
        }
        groups = {"load_balancers", "image_builder", "monitoring"} & self.groups.keys() - {without}
        edited: dict[str, Any] = {name: {"hosts": dict.fromkeys(self.groups[name])} for name in groups}
        edited |= {"all": {"hosts": plain}, "model_nodes": {"hosts": nodes}}
        if builder:
            edited["image_builder"] = {"hosts": {builder: None}}
        path = self.inventory.parent / "edited_inventory.json"
        path.write_text(json.dumps(edited, indent=2))
        return Fleet.of(path)
