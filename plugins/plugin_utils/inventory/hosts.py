"""Runs on the controller: the hosts of an inventory with the variables that concern the fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.flotilla.fleet.plugins.plugin_utils.addresses import Address, first_address
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import Unreadable
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.values import ip_address
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import MONITORING

Values = Mapping[str, object]
"""The variables of a host, which Ansible renders as they are read."""


CONNECTION_VARIABLES = ("ansible_connection", "ansible_host", "ansible_port")
"""The variables of Ansible that say which machine a host is."""


@dataclass(frozen=True)
class Host:
    """An inventory host, with the variables that begin with the name of a role, and ansible_host."""

    name: str
    variables: Values
    connection: Values = field(default_factory=dict)
    """How Ansible reaches the host: those of CONNECTION_VARIABLES that are set."""

    def address(self, variable: str) -> tuple[str, object]:
        """Return the host's address and the variable that holds it: `variable`, else the machine's.

        The machine's is machine_address, ansible_host or the host's name.
        """
        for candidate in (variable, "machine_address", "ansible_host"):
            if candidate in self.variables:
                return candidate, self.variables[candidate]
        return "inventory_hostname", self.name

    def ip(self, variable: str) -> Address | None:
        """Return the host's `address` as an IP address, None where it is none and no name of one."""
        value = self.address(variable)[1]
        return ip_address(value) or (first_address(value) if isinstance(value, str) else None)

    def way_in(self) -> str:
        """Return what stands for the machine: where Ansible comes in, and by which port."""
        address = self.connection.get("ansible_host") or self.name
        return f"{address} {self.connection.get('ansible_port', '')}"


@dataclass(frozen=True)
class Members:
    """The hosts of an inventory, and those of them with a task in the fleet."""

    hosts: Sequence[Host]
    balancers: Sequence[Host]
    nodes: Sequence[Host]
    builders: Sequence[Host]
    """The host that builds images and runs the registry; empty when no host does."""
    monitors: Sequence[Host] = ()
    """The hosts of the group monitoring, of which there may be one."""

    @property
    def of_fleet(self) -> Sequence[Host]:
        """The hosts that have a task in the fleet, each once."""
        found = (*self.balancers, *self.nodes, *self.builders, *self.monitors)
        return list({host.name: host for host in found}.values())


def read_members(
    hostvars: Mapping[str, Values], groups: Mapping[str, Sequence[str]], roles: Sequence[str]
) -> Members:
    """Return the hosts of an inventory, with the variables that begin with the name of one of `roles`."""
    prefixes = tuple(f"{role}_" for role in roles)
    hosts = {name: _read_host(name, variables, prefixes) for name, variables in hostvars.items()}
    balancers, nodes, builders, monitors = (
        [hosts[name] for name in groups.get(group, ())]
        for group in ("load_balancers", "model_nodes", "image_builder", MONITORING)
    )
    return Members(list(hosts.values()), balancers, nodes, (builders or balancers)[:1], monitors)


def _read_host(name: str, variables: Values, prefixes: tuple[str, ...]) -> Host:
    keys = [key for key in variables if key.startswith(prefixes) or key == "ansible_host"]
    connection = [key for key in variables if key in CONNECTION_VARIABLES]
    return Host(
        name,
        {key: _read(variables, key) for key in keys},
        {key: _read(variables, key) for key in connection},
    )


def _read(variables: Values, key: str) -> object:
    """Return the value of a variable. Ansible renders it, and what is nested in it, when the value is read."""
    try:
        value = variables[key]
        repr(value)
    except Exception as error:  # Ansible and Jinja raise many kinds, and each means the same here
        return Unreadable(" ".join(str(error).split()))
    return value
