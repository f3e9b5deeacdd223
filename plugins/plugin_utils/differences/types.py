"""Runs on the controller: the shapes of what is compared, and of a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NotRequired, TypedDict, cast

from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import ContainerSettings
from ansible_collections.flotilla.fleet.plugins.module_utils.firewall_rules import Firewall
from ansible_collections.flotilla.fleet.plugins.module_utils.lock_owner import Owner
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import State
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Groups, HostVars
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import fleet_hosts, machine, read_once

SITE = "site.yml"
"""The run that mends most differences."""


class Difference(TypedDict):
    """What is not as the inventory and the state want it, on one host."""

    host: str
    """The inventory host; of a machine, the first of its hosts."""
    thing: str
    """What differs, by its kind and name, such as "container flotilla-node1-blue" or "firewall"."""
    wanted: str
    found: str
    mended_by: str
    """What to run, such as "site.yml"; empty where no run of Flotilla mends it."""
    change: str
    """What that run does, as a verb and its object for a sentence: "restart the container flotilla-node1-blue"."""


class FoundContainer(TypedDict):
    """A container as module machine_state found it."""

    running: bool
    health: str
    image: str
    """The name that it was run by."""
    image_id: str
    labels: Mapping[str, str]
    settings: ContainerSettings
    newer_files: bool


class FoundNetwork(TypedDict, total=False):
    """The network of the endpoints' containers, empty where there is none."""

    subnet: str
    options: Mapping[str, str]


class Disk(TypedDict):
    """The space on a disk, in bytes, and the folders of the fleet that are on it."""

    folders: Sequence[str]
    free: int
    size: int


class KeptByAcme(TypedDict, total=False):
    """What the keeper of role acme has on its disk; empty where there is none."""

    directory: str
    """The directory of the CA that issued its certificate; empty where none has been issued yet."""
    failed: AcmeFailure | None


class AcmeFailure(TypedDict):
    """The last order of a keeper, where it brought no certificate."""

    until: float
    """When it orders again."""
    reason: str


class FoundMachine(TypedDict):
    """A machine as module machine_state found it."""

    engine: bool
    engine_version: str
    network: FoundNetwork
    containers: Mapping[str, FoundContainer]
    images: Mapping[str, str]
    """The images' ids by name."""
    files: Mapping[str, str]
    """The files' states (see module_utils/file_state.py) by path."""
    certificates: Mapping[str, str]
    links: Mapping[str, str]
    systemd: bool
    disks: Sequence[Disk]
    lock: Owner
    """The run that holds the deploy lock; empty where none does."""
    lock_silent: float | None
    """How many seconds ago that run gave its last sign of life; None where it has given none."""
    clock: float
    asked_at: float
    firewall: Firewall
    served: str
    certificate: str
    acme: NotRequired[KeptByAcme]


class Wanted(TypedDict):
    """What a role wants on a host: the containers, and the states of files by path."""

    services: Sequence[Mapping[str, Any]]
    """As role container takes them."""
    files: Mapping[str, str]
    configuration: NotRequired[str]
    """The state of nginx.conf (see module_utils/file_state.py)."""
    serves: NotRequired[str]
    """The version of the configuration that Nginx is to serve."""


@dataclass(frozen=True)
class Fleet:
    """What Ansible knows when it compares."""

    hostvars: HostVars
    groups: Groups
    in_scope: Sequence[str]
    """The hosts that the run is about."""
    present: Sequence[str]
    """Those of them that were inspected."""
    state: State | None
    """The newest state of the load balancers; None where none of them could be asked."""
    now: float
    """The controller's time."""

    @classmethod
    def of(
        cls,
        hostvars: HostVars,
        groups: Groups,
        in_scope: Sequence[str],
        present: Sequence[str],
        state: State | None,
        now: float,
    ) -> Fleet:
        """Return the fleet with each host's variables read once. Ansible builds them anew at each access."""
        hosts = fleet_hosts(groups)
        here, about = set(present), set(in_scope)
        return cls(
            read_once(hostvars, hosts),
            groups,
            [host for host in hosts if host in about],
            [host for host in hosts if host in here],
            state,
            now,
        )

    def found(self, host: str) -> FoundMachine:
        """Return what was found on the machine of `host`, which is present."""
        return cast("FoundMachine", self.hostvars[host]["flotilla_machine"])

    @cached_property
    def _places(self) -> dict[str, str]:
        """The machine of each host of the inventory."""
        return {host: machine(self.hostvars, host) for host in fleet_hosts(self.groups)}

    @cached_property
    def _hosts(self) -> dict[str, list[str]]:
        """The hosts that the inventory has on each machine, by the machine."""
        found: dict[str, list[str]] = {}
        for host, place in self._places.items():
            found.setdefault(place, []).append(host)
        return found

    @cached_property
    def _first_hosts(self) -> dict[str, str]:
        """The first of the hosts of each machine that were inspected, by the machine."""
        found: dict[str, str] = {}
        for host in sorted(self.present):
            found.setdefault(self._places[host], host)
        return found

    @property
    def machines(self) -> list[str]:
        """The machines that were inspected, each by the first of its hosts."""
        return list(self._first_hosts.values())

    def first_host(self, host: str) -> str:
        """Return the first host of the machine of `host`, which is present."""
        return self._first_hosts[self._places[host]]

    def hosts_of(self, host: str) -> list[str]:
        """Return all hosts that the inventory has on the machine of `host`, whether the run is about them or not."""
        return self._hosts[self._places[host]]

    def members(self, group: str) -> list[str]:
        """Return the hosts of `group` that were inspected."""
        present = set(self.present)
        return [host for host in self.groups.get(group, ()) if host in present]

    def fact(self, name: str) -> object:
        """Return a fact that was set for the whole fleet, None where there is none."""
        return next((found for host in self.present if (found := self.hostvars[host].get(name))), None)

    def registries(self) -> tuple[str, str]:
        """Return where machines pull images from, and where the builder pushes them to, each as ADDRESS:PORT."""
        return str(self.fact("registry_endpoint")), str(self.fact("registry_push_endpoint"))

    def wanted(self, host: str) -> list[Wanted]:
        """Return what the roles want on `host`."""
        facts = (self.hostvars[host].get(name) for name in WANTED)
        return [cast("Wanted", fact) for fact in facts if fact]


WANTED = (
    "nginx_lb_wanted",
    "registry_wanted",
    "virtual_address_wanted",
    "acme_wanted",
    "node_exporter_wanted",
    "monitoring_wanted",
    "fleet_page_wanted",
)
"""The facts by which the entry points `wanted` of roles tell what they want on a host."""
