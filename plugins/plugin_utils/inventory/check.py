"""Runs on the controller: checks a whole inventory before Ansible connects to a host.

Every mistake is one line that names the hosts, the variable, its value and the fix. Hosts that share a mistake share
its line, because a wrong group variable is one mistake and not a thousand.
"""

from __future__ import annotations

from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.addresses import (
    check_addresses,
    check_machine_addresses,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.fleet import (
    check_exporters,
    check_folders,
    check_groups,
    check_min_nodes,
    check_names,
    check_virtual_address,
    check_weights,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.hosts import read_members
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.machines import (
    check_machines,
    check_node_addresses,
    variables_of_controller,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.ports import check_ports
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.report import Report
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.tls import check_tls
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.variables import (
    KnownVariables,
    check_variables,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import (
    ROLES,
    EntryPoints,
    Groups,
    HostVars,
)


def inventory_errors(hostvars: HostVars, groups: Groups, roles: EntryPoints = ROLES) -> list[str]:
    """Return the mistakes of an inventory, a line for each. An inventory without mistakes may be deployed.

    `roles` say which variables there are: settings, which an inventory may hold, and parameters, which it may not.
    """
    report = Report()
    members = read_members(hostvars, groups, list(roles))
    variables = KnownVariables(roles)
    check_groups(groups, members.nodes, report)
    check_names(members.nodes, report)
    folders = {name: found["inventory_dir"] for name, found in hostvars.items() if "inventory_dir" in found}
    check_folders(folders, members, report)
    check_variables(members, variables, report)
    check_min_nodes(members, report)
    check_exporters(members, report)
    check_addresses(members, report)
    check_node_addresses(members.nodes, report)
    check_machines(members, variables_of_controller(hostvars), report)
    check_machine_addresses(members, report)
    check_weights(members.nodes, report)
    check_virtual_address(members, report)
    check_tls(members.balancers, report)
    check_ports(members, variables, report)
    return report.lines()
