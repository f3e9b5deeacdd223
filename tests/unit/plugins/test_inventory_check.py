"""Every mistake in an inventory is named with its host, variable, value and fix."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.check import inventory_errors
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.renamed import RENAMED
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.rules import RULES
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import SPECS as OWN_SPECS
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import Option
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

SPECS: dict[str, dict[str, Option]] = {
    "model_endpoint": {
        "model_endpoint_address": {"type": "str"},
        "model_endpoint_port": {"type": "int", "default": 5001},
        "model_endpoint_weight": {"type": "int", "default": 1},
        "model_endpoint_state": {"type": "str", "default": "present", "choices": ["present", "drained"]},
        "model_endpoint_memory": {"type": "str", "default": "512m"},
        "model_endpoint_cpus": {"type": "float", "default": 1.0},
        "model_endpoint_threads": {"type": "int", "default": 2},
        "model_endpoint_pids_limit": {"type": "int", "default": 256},
        "model_endpoint_trace": {"type": "bool", "default": False},
        "model_endpoint_labels": {"type": "dict", "default": {}},
        "model_endpoint_models": {"type": "list", "default": [], "choices": ["iris", "breast_cancer"]},
    },
    "nginx_lb": {
        "nginx_lb_address": {"type": "str"},
        "nginx_lb_port": {"type": "int", "default": 80},
        "nginx_lb_status_port": {"type": "int", "default": 8090},
    },
    "virtual_address": {"virtual_address_ip": {"type": "str"}},
    "registry": {
        "registry_address": {"type": "str"},
        "registry_port": {"type": "int", "default": 5000},
    },
    "release": {"release_lock_wait": {"type": "int", "default": 0}},
}


def roles(specs: Mapping[str, Mapping[str, Option]]) -> dict[str, dict[str, Mapping[str, Option]]]:
    """Roles whose entry points `main` have these options."""
    return {role: {"main": options} for role, options in specs.items()}


SETTINGS = {name for options in OWN_SPECS.values() for name in options}

Inventory = tuple[dict[str, dict[str, Any]], dict[str, list[str]]]


def fleet(**changes: Mapping[str, Any]) -> Inventory:
    """A good inventory (one load balancer, three nodes) with changed variables of some hosts."""
    hosts: dict[str, dict[str, Any]] = {
        "lb": {"ansible_host": "192.0.2.1"},
        "n1": {"ansible_host": "192.0.2.11"},
        "n2": {"ansible_host": "192.0.2.12"},
        "n3": {"ansible_host": "192.0.2.13"},
    }
    for name, variables in changes.items():
        hosts[name].update(variables)
    return hosts, {"all": list(hosts), "load_balancers": ["lb"], "model_nodes": ["n1", "n2", "n3"]}


def errors(inventory: Inventory) -> list[str]:
    return inventory_errors(*inventory, roles(SPECS))


def only_error(inventory: Inventory) -> str:
    found = errors(inventory)
    assert len(found) == 1, found
    assert "\n" not in found[0]
    return found[0]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"model_endpoint_weight": 3},
        {"model_endpoint_weight": "3"},
        {"model_endpoint_port": "6001", "model_endpoint_threads": "4", "model_endpoint_cpus": "1.5"},
        {"model_endpoint_port": 65534},
        {"model_endpoint_address": "2001:db8::1"},
        {"ansible_host": "n1.example", "model_endpoint_address": "192.0.2.99"},
        {"model_endpoint_state": "drained"},
        {"model_endpoint_trace": "yes", "model_endpoint_memory": 536870912},
        {"model_endpoint_labels": {"a": "b"}, "model_endpoint_models": ["iris"]},
        {"__model_endpoint_slot": "blue", "some_other_variable": 0, "model_endpoints": 3},
    ],
    ids=str,
)
def test_a_good_inventory_has_no_errors(variables: dict[str, Any]) -> None:
    assert errors(fleet(n1=variables)) == []


def test_two_endpoints_beside_the_load_balancer_on_one_machine_are_fine() -> None:
    here = {"model_endpoint_address": "127.0.0.1"}
    balancer = {"nginx_lb_address": "127.0.0.1", "registry_address": "127.0.0.1"}
    hosts: dict[str, dict[str, Any]] = {"lb": balancer, "a": here, "b": {**here, "model_endpoint_port": 5003}}
    assert errors((hosts, {"load_balancers": ["lb"], "model_nodes": ["a", "b"]})) == []


def two_balancers(first: Mapping[str, Any], second: Mapping[str, Any]) -> Inventory:
    """A good inventory with a second load balancer, and these variables of the two."""
    hosts, groups = fleet(lb=first)
    hosts["lb2"] = {"ansible_host": "192.0.2.2", **second}
    return hosts, {**groups, "load_balancers": ["lb", "lb2"]}


@pytest.mark.parametrize("address", ["192.0.2.100", "192.0.2.100/24", None])
def test_a_virtual_address_that_both_load_balancers_have_is_fine(address: str | None) -> None:
    variables = {"virtual_address_ip": address}
    assert errors(two_balancers(variables, variables)) == []


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.300",
        "192.0.2.100/33",
        "192.0.2.100/255.255.255.0",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.18/24",
        "2001:db8::1",
        "",
        192,
        "frontend.example",
    ],
)
def test_a_virtual_address_that_is_no_ipv4_address(address: object) -> None:
    variables = {"virtual_address_ip": address}
    assert only_error(two_balancers(variables, variables)) == (
        f"lb, lb2: virtual_address_ip is {address!r}: set an IPv4 address, such as 192.0.2.10 or 192.0.2.10/24"
    )


def test_a_virtual_address_needs_two_load_balancers() -> None:
    assert only_error(fleet(lb={"virtual_address_ip": "192.0.2.100"})) == (
        "lb: virtual_address_ip is '192.0.2.100': only one load balancer could have this address: "
        "add a second host to load_balancers, or delete virtual_address_ip"
    )


@pytest.mark.parametrize("second", [{}, {"virtual_address_ip": "192.0.2.101"}])
def test_a_virtual_address_is_the_same_on_all_load_balancers(second: dict[str, str]) -> None:
    shown = repr(second["virtual_address_ip"]) if second else "empty"
    assert only_error(two_balancers({"virtual_address_ip": "192.0.2.100"}, second)) == (
        f"lb ('192.0.2.100'), lb2 ({shown}): virtual_address_ip is not the same on all: "
        "set it for the group load_balancers"
    )


@pytest.mark.parametrize(("address", "owner"), [("192.0.2.2/24", "lb2"), ("192.0.2.12", "n2")])
def test_a_virtual_address_is_not_the_address_of_a_machine(address: str, owner: str) -> None:
    variables = {"virtual_address_ip": address}
    assert only_error(two_balancers(variables, variables)) == (
        f"lb, lb2: virtual_address_ip is '{address}': this is the address of {owner}: "
        "set one that no machine has"
    )


def test_a_virtual_address_moves_between_ipv4_addresses_only() -> None:
    variables = {"virtual_address_ip": "192.0.2.100"}
    found = only_error(two_balancers(variables, {**variables, "nginx_lb_address": "2001:db8::2"}))
    assert found.startswith(
        "lb2: nginx_lb_address is '2001:db8::2': virtual_address_ip needs an IPv4 address"
    )


def test_one_host_in_every_group_named_by_its_address_is_fine() -> None:
    groups = {name: ["192.0.2.1"] for name in ("load_balancers", "model_nodes", "image_builder")}
    assert errors(({"192.0.2.1": {}}, groups)) == []


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        (0, "0"),
        (-1, "-1"),
        (2.5, "2.5"),
        ("3x", "'3x'"),
        ("", "''"),
        (True, "true"),
        (None, "empty"),
        ("0", "'0'"),
    ],
)
def test_a_weight_that_is_no_whole_number_of_at_least_1(weight: object, shown: str) -> None:
    assert only_error(fleet(n2={"model_endpoint_weight": weight})) == (
        f"n2: model_endpoint_weight is {shown}: set a whole number of at least 1 "
        "(to send a node no requests, set model_endpoint_state: drained)"
    )


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [
        ("model_endpoint_wieght", "model_endpoint_weight"),
        ("nginx_lb_prot", "nginx_lb_port"),
        ("registry_adress", "registry_address"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(unknown: str, meant: str) -> None:
    found = only_error(fleet(n1={unknown: 3}))
    assert found == f"n1: {unknown} is 3: there is no such variable: did you mean {meant}?"


def test_hosts_that_share_a_mistake_share_a_line() -> None:
    hosts = {f"n{i}": {"ansible_host": f"192.0.2.{i}", "model_endpoint_wieght": 3} for i in range(1, 41)}
    groups = {"load_balancers": ["n1"], "model_nodes": list(hosts)}
    assert only_error((hosts, groups)).startswith(
        "n1, n2, n3, n4, n5 and 35 more: model_endpoint_wieght is 3:"
    )


def test_hosts_with_different_values_of_one_mistake_show_each() -> None:
    found = only_error(fleet(n1={"model_endpoint_weight": 0}, n3={"model_endpoint_weight": "x"}))
    assert found.startswith("n1 (0), n3 ('x'): model_endpoint_weight is wrong: set a whole number")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"model_endpoint_state": "draned"}, "model_endpoint_state is 'draned': set one of present, drained"),
        ({"model_endpoint_memory": ["1g"]}, "model_endpoint_memory is ['1g']: set a string"),
        ({"model_endpoint_memory": True}, "model_endpoint_memory is true: set a string"),
        ({"model_endpoint_memory": None}, "model_endpoint_memory is empty: set a string"),
        ({"model_endpoint_threads": 0}, "model_endpoint_threads is 0: set a whole number of at least 1"),
        ({"model_endpoint_pids_limit": 2.5}, "model_endpoint_pids_limit is 2.5: set a whole number"),
        ({"model_endpoint_pids_limit": True}, "model_endpoint_pids_limit is true: set a whole number"),
        ({"model_endpoint_cpus": "two"}, "model_endpoint_cpus is 'two': set a number"),
        ({"model_endpoint_trace": "maybe"}, "model_endpoint_trace is 'maybe': set true or false"),
        ({"model_endpoint_labels": "a"}, "model_endpoint_labels is 'a': set a mapping"),
        ({"model_endpoint_models": "iris"}, "model_endpoint_models is 'iris': set a list"),
        (
            {"model_endpoint_models": ["irs"]},
            "model_endpoint_models is ['irs']: set some of iris, breast_cancer",
        ),
    ],
    ids=str,
)
def test_values_are_held_to_the_role_s_spec(variables: dict[str, Any], message: str) -> None:
    assert only_error(fleet(n1=variables)) == f"n1: {message}"


STEPS = [{"percent": 5, "bake": 60}, {"percent": "25", "bake": "0"}, {"percent": 99.5, "bake": 1.5}]


@pytest.mark.parametrize(
    "variables",
    [
        {"release_canary_percent": 0, "release_shadow_percent": 100},
        {"release_canary_percent": "12.5", "release_shadow_percent": "0"},
        {"release_canary_percent": None},
        {"release_canary_steps": [], "release_canary_key": ""},
        {"release_canary_steps": STEPS, "release_canary_key": "X-API-Key"},
        {"release_min_nodes": 3},
        {"release_ramp_seconds": 0, "release_drain_timeout": "0", "release_bake_seconds": 300},
        {"release_watch_min_requests": 1, "release_watch_p95_factor": 1.5},
        {"release_watch_failure_points": 0, "release_watch_p95_factor": 0, "release_watch_p95_floor": "0"},
        {"release_lock_wait": 600},
    ],
    ids=str,
)
def test_good_settings_of_a_release(variables: dict[str, Any]) -> None:
    assert errors(fleet(lb=variables)) == []


PERCENT = "set a number from 0 to 100"
SECONDS = "set a whole number of seconds, 0 or more"
HEADER = "set the name of a request header, such as X-API-Key: letters, digits and '-'; or '' for no header"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("release_canary_percent", -1, f"-1: {PERCENT}"),
        ("release_canary_percent", 100.5, f"100.5: {PERCENT}"),
        ("release_canary_percent", "5%", f"'5%': {PERCENT}"),
        ("release_canary_percent", "", f"'': {PERCENT}"),
        ("release_canary_percent", float("nan"), f"nan: {PERCENT}"),
        ("release_shadow_percent", 101, f"101: {PERCENT}"),
        ("release_shadow_percent", None, f"empty: {PERCENT}"),
        ("release_shadow_percent", True, f"true: {PERCENT}"),
        ("release_canary_key", "X_API_Key", f"'X_API_Key': {HEADER}"),
        ("release_canary_key", "X-Key;", f"'X-Key;': {HEADER}"),
        ("release_canary_key", "X-Key\n", f"'X-Key\\n': {HEADER}"),
        ("release_canary_key", None, f"empty: {HEADER}"),
        ("release_min_nodes", 0, "0: set a whole number of at least 1"),
        ("release_min_nodes", "most", "'most': set a whole number of at least 1"),
        ("release_min_nodes", 4, "4: model_nodes has 3 hosts: set at most 3, or add hosts"),
        ("release_min_nodes", "4", "'4': model_nodes has 3 hosts: set at most 3, or add hosts"),
        ("release_ramp_seconds", -1, f"-1: {SECONDS}"),
        ("release_drain_timeout", 1.5, f"1.5: {SECONDS}"),
        ("release_bake_seconds", "5m", f"'5m': {SECONDS}"),
        ("release_watch_min_requests", 0, "0: set a whole number of at least 1"),
        ("release_watch_failure_points", -0.1, "-0.1: set a number of 0 or more"),
        ("release_watch_p95_factor", -1, "-1: set a number of 0 or more"),
        ("release_watch_p95_factor", float("inf"), "inf: set a number of 0 or more"),
        ("release_watch_p95_floor", "20ms", "'20ms': set a number of 0 or more"),
        ("release_lock_wait", -5, f"-5: {SECONDS}"),
        ("model_endpoint_answer_seconds", 0, "0: set a number above 0"),
        ("model_endpoint_answer_seconds", "-1", "'-1': set a number above 0"),
    ],
)
def test_settings_of_a_release_out_of_range(variable: str, value: object, message: str) -> None:
    assert only_error(fleet(lb={variable: value})) == f"lb: {variable} is {message}"


@pytest.mark.parametrize(
    "steps",
    [
        "5,25,100",
        [5, 25, 100],
        [{"percent": 5}],
        [{"percent": 5, "bake": 60, "pause": 1}],
        [{"percent": 5, "bake": 60}, {"percentage": 100, "bake": 0}],
    ],
    ids=str,
)
def test_canary_steps_of_another_form(steps: object) -> None:
    found = only_error(fleet(lb={"release_canary_steps": steps}))
    assert found == (
        f"lb: release_canary_steps is {steps!r}: set a list of steps, each with percent and bake only, such as "
        "[{percent: 5, bake: 60}, {percent: 100, bake: 0}]"
    )


@pytest.mark.parametrize(
    ("percent", "bake", "message"),
    [
        (0, 60, "percent of step 2 is 0: set a number above 0 and at most 100"),
        (101, 60, "percent of step 2 is 101: set a number above 0 and at most 100"),
        ("all", 60, "percent of step 2 is 'all': set a number above 0 and at most 100"),
        (5, 60, "percent of step 2 is 5: set more than in the step before"),
        (100, -1, "bake of step 2 is -1: set seconds, 0 or more"),
        (100, "1m", "bake of step 2 is '1m': set seconds, 0 or more"),
        (100, None, "bake of step 2 is empty: set seconds, 0 or more"),
    ],
)
def test_canary_steps_with_a_wrong_percent_or_bake(percent: object, bake: object, message: str) -> None:
    steps = [{"percent": 5, "bake": 60}, {"percent": percent, "bake": bake}]
    assert only_error(fleet(lb={"release_canary_steps": steps})).endswith(f"}}]: {message}")


def test_as_many_nodes_as_there_are_on_every_load_balancer_is_one_line() -> None:
    hosts, groups = fleet(lb={"release_min_nodes": 2}, n1={"release_min_nodes": 2})
    found = only_error((hosts, {**groups, "load_balancers": ["lb", "n1"], "model_nodes": ["n2"]}))
    assert found == "lb, n1: release_min_nodes is 2: model_nodes has 1 host: set at most 1, or add hosts"


def test_every_rule_is_about_a_variable_of_a_role() -> None:
    assert set(RULES) <= SETTINGS


def test_every_renamed_variable_has_the_name_of_a_setting_and_none_keeps_its_own() -> None:
    assert set(RENAMED.values()) <= SETTINGS
    assert not set(RENAMED) & SETTINGS
    assert all(name.startswith(tuple(f"{role}_" for role in OWN_SPECS)) for name in RENAMED)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nginx_lb_canary_percent", "release_canary_percent"),
        ("nginx_lb_watch_p95_factor", "release_watch_p95_factor"),
        ("nginx_lb_virtual_address", "virtual_address_ip"),
        ("model_endpoint_fast_lane", "model_endpoint_fast_path"),
    ],
)
def test_a_renamed_variable_is_refused_with_its_new_name(old: str, new: str) -> None:
    hosts, groups = fleet(lb={old: 5}, n1={old: "{{ other }}"})
    assert inventory_errors(hosts, groups) == [f"lb, n1: {old} is now {new}: rename it"]


def test_a_renamed_variable_is_not_read() -> None:
    hosts, groups = fleet()
    broken = FailingTemplates({"ansible_host": "192.0.2.11"}, {"nginx_lb_min_nodes"})
    found = inventory_errors({**hosts, "n1": broken}, groups, roles(SPECS))
    assert found == ["n1: nginx_lb_min_nodes is now release_min_nodes: rename it"]


def test_a_parameter_of_a_role_is_refused() -> None:
    known = roles(SPECS)
    known["model_endpoint"]["stop"] = {"model_endpoint_slot": {"type": "str"}, "model_endpoint_port": {}}
    hosts, groups = fleet(n1={"model_endpoint_slot": "blue", "model_endpoint_port": 6001})
    (found,) = inventory_errors(hosts, groups, known)
    assert found == (
        "n1: model_endpoint_slot is a parameter, which playbooks give to role model_endpoint: remove it from the "
        "inventory"
    )


@pytest.mark.parametrize("group", ["load_balancers", "model_nodes"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_group_without_hosts(group: str, missing: bool) -> None:
    hosts, groups = fleet()
    if missing:
        del groups[group]
    else:
        groups[group] = []
    assert only_error((hosts, groups)).startswith(f"{group}: the group has no host: add a host")


def test_a_misspelt_group_is_named() -> None:
    hosts, groups = fleet()
    groups["model_node"] = groups.pop("model_nodes")
    assert only_error((hosts, groups)).endswith(", or rename the group model_node to model_nodes")


def test_more_than_one_builder() -> None:
    hosts, groups = fleet()
    found = only_error((hosts, {**groups, "image_builder": ["n1", "n2"]}))
    assert found == "image_builder: the group has 2 hosts (n1, n2): leave one in the group"


def test_every_node_drained() -> None:
    drained = {"model_endpoint_state": "drained"}
    found = only_error(fleet(n1=drained, n2=drained, n3=drained))
    assert found.startswith("n1, n2, n3: model_endpoint_state is 'drained' on every host of model_nodes")
    assert found.endswith("set it to present on at least one host")


@pytest.mark.parametrize(
    ("host", "variable"),
    [("n1", "model_endpoint_address"), ("lb", "nginx_lb_address"), ("lb", "registry_address")],
)
@pytest.mark.parametrize(
    "address", ["n1.example", "192.0.2.300", "[::1]", "192.0.2.1:80", "", "fe80::1%eth0", 5]
)
def test_an_address_that_is_no_address(host: str, variable: str, address: object) -> None:
    found = only_error(fleet(**{host: {variable: address}}))
    assert found == f"{host}: {variable} is {address!r}: set a literal IP address, such as 192.0.2.10"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_an_address_that_means_every_address_of_the_machine(address: str) -> None:
    found = only_error(fleet(n1={"model_endpoint_address": address}))
    assert found.startswith(f"n1: model_endpoint_address is '{address}': this means every address")


def test_a_name_in_place_of_a_node_s_address() -> None:
    found = only_error(fleet(n1={"ansible_host": "n1.lan"}))
    assert (
        found == "n1: ansible_host is 'n1.lan': this is not an IP address: set model_endpoint_address to one"
    )


def test_a_name_in_place_of_the_load_balancer_s_address_concerns_the_registry_on_it_too() -> None:
    hosts, groups = fleet()
    del hosts["lb"]["ansible_host"]
    balancer, registry = (
        f"lb: inventory_hostname is 'lb': this is not an IP address: set {variable} to one"
        for variable in ("nginx_lb_address", "registry_address")
    )
    assert errors((hosts, groups)) == [balancer, registry]
    # With a builder of its own the registry is elsewhere.
    assert errors((hosts, {**groups, "image_builder": ["n1"]})) == [balancer]


@pytest.mark.parametrize(
    ("host", "variable", "highest"),
    [
        ("n1", "model_endpoint_port", 65534),
        ("lb", "nginx_lb_port", 65535),
        ("lb", "nginx_lb_status_port", 65535),
        ("lb", "registry_port", 65535),
    ],
)
@pytest.mark.parametrize("port", [0, -1, 65536, "http", 80.5, True, None])
def test_a_port_out_of_range(host: str, variable: str, highest: int, port: object) -> None:
    found = only_error(fleet(**{host: {variable: port}}))
    assert found.startswith(f"{host}: {variable} is ")
    assert found.endswith(f": set a port from 1 to {highest}")


def test_the_highest_port_leaves_none_for_an_endpoint_s_second_slot() -> None:
    assert errors(fleet(n1={"model_endpoint_port": 65535})) == [
        "n1: model_endpoint_port is 65535: set a port from 1 to 65534"
    ]
    assert errors(fleet(lb={"nginx_lb_port": 65535})) == []


@pytest.mark.parametrize("address", ["192.0.2.11", "::ffff:192.0.2.11"])
def test_two_endpoints_on_one_port_of_one_machine(address: str) -> None:
    assert only_error(fleet(n2={"ansible_host": address})) == (
        "n1 (5001), n2 (5001): model_endpoint_port overlaps at 192.0.2.11, because an endpoint uses its port "
        "and the next one: set another port on n2, such as 5003"
    )


def test_an_endpoint_on_the_second_slot_of_another() -> None:
    same = {"model_endpoint_address": "2001:db8:0::1"}
    found = only_error(fleet(n1={**same, "model_endpoint_port": 5002}, n3={"ansible_host": "2001:db8::1"}))
    assert found.startswith("n3 (5001), n1 (5002): model_endpoint_port overlaps at 2001:db8::1")
    assert errors(fleet(n1={**same, "model_endpoint_port": 5003}, n3={"ansible_host": "2001:db8::1"})) == []


@pytest.mark.parametrize(
    ("port", "variable", "taken"),
    [
        (80, "nginx_lb_port", 80),
        (79, "nginx_lb_port", 80),
        (8089, "nginx_lb_status_port", 8090),
        (5000, "registry_port", 5000),
        (4999, "registry_port", 5000),
    ],
)
def test_an_endpoint_port_taken_on_its_machine(port: int, variable: str, taken: int) -> None:
    cause = f"n1: model_endpoint_port is {port}: {variable} of lb uses port {taken} of the same machine"
    beside = fleet(n1={"ansible_host": "192.0.2.1", "model_endpoint_port": port})
    assert only_error(beside) == f"{cause}: set another model_endpoint_port"
    assert errors(fleet(n1={"model_endpoint_port": port})) == []


def test_a_host_that_is_both_is_one_machine_whatever_its_addresses() -> None:
    hosts, groups = fleet(n1={"model_endpoint_port": 80, "nginx_lb_address": "192.0.2.200"})
    found = only_error((hosts, {**groups, "load_balancers": ["lb", "n1"]}))
    assert found.startswith("n1: model_endpoint_port is 80: nginx_lb_port of n1 uses port 80")


def test_the_load_balancer_s_own_ports_collide() -> None:
    found = only_error(fleet(lb={"nginx_lb_status_port": 80}))
    assert found.startswith("lb: nginx_lb_port is 80: nginx_lb_status_port of lb uses port 80")


@pytest.mark.parametrize("name", ["-n", "n 1", "nöde", "a/b", "n" * 64, "2001:db8::5", "n..1", "n."])
def test_a_name_unfit_for_a_container(name: str) -> None:
    hosts, groups = fleet()
    hosts[name] = {"ansible_host": "192.0.2.50"}
    groups["model_nodes"].append(name)
    assert only_error((hosts, groups)).startswith(f"{name}: inventory_hostname is '{name}': a container or ")


def test_the_longest_name_fits() -> None:
    hosts, groups = fleet()
    hosts["n" * 63] = {"ansible_host": "192.0.2.50"}
    groups["model_nodes"].append("n" * 63)
    assert errors((hosts, groups)) == []


class FailingTemplates(Mapping[str, object]):
    """Variables as Ansible hands them over: some raise when they are read, or when their items are."""

    def __init__(self, good: Mapping[str, object], broken: set[str]) -> None:
        self.good, self.broken = good, broken

    def __getitem__(self, name: str) -> object:
        if name in self.broken:
            raise RuntimeError("'nope' is\nundefined")
        return self.good[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.good, **dict.fromkeys(self.broken)})

    def __len__(self) -> int:
        return len(self.good) + len(self.broken)


@pytest.mark.parametrize("variable", ["ansible_host", "model_endpoint_port", "model_endpoint_address"])
def test_a_template_that_fails_is_one_error(variable: str) -> None:
    hosts, groups = fleet()
    broken = FailingTemplates({"ansible_host": "192.0.2.11"}, {variable})
    found = inventory_errors({**hosts, "n1": broken}, groups, roles(SPECS))
    assert found == [
        f"n1: {variable} is a template that fails ('nope' is undefined): write a value that needs no facts "
        "and no other host's variables"
    ]


def test_a_template_that_fails_inside_a_list_is_one_error() -> None:
    class Rendered(list[object]):
        """A list of Ansible's, whose items are rendered when they are looked at."""

        def __repr__(self) -> str:
            raise RuntimeError("'nope' is undefined")

    found = only_error(fleet(n1={"model_endpoint_models": Rendered(["iris"])}))
    assert found.startswith("n1: model_endpoint_models is a template that fails ('nope' is undefined): write")


def test_a_broken_template_of_another_variable_is_not_read() -> None:
    hosts, groups = fleet()
    broken = FailingTemplates({"ansible_host": "192.0.2.11"}, {"my_variable"})
    assert inventory_errors({**hosts, "n1": broken}, groups, roles(SPECS)) == []


def test_all_mistakes_are_reported_at_once() -> None:
    hosts, groups = fleet(
        n1={"model_endpoint_weight": 0, "model_endpoint_port": 0}, n2={"ansible_host": "n2.example"}
    )
    assert len(errors((hosts, {**groups, "load_balancers": []}))) == 4


@pytest.mark.parametrize("broken", [False, True])
def test_5000_hosts_take_less_than_two_seconds(broken: bool) -> None:
    hosts: dict[str, dict[str, Any]] = {
        f"n{i}": {
            "ansible_host": f"10.0.{i // 250}.{i % 250 + 1}",
            "model_endpoint_weight": 0 if broken else i % 7 + 1,
            "model_endpoint_port": 80 if broken else 5001,
            "model_endpoint_memory": [] if broken else "512m",
            **{f"other_{j}": j for j in range(50)},
            **({f"model_endpoint_typo{i}": i} if broken and i % 50 == 0 else {}),
        }
        for i in range(5000)
    }
    # Of this process alone: other tests run beside it.
    started = time.process_time()
    found = errors((hosts, {"load_balancers": ["n0", "n1"], "model_nodes": list(hosts)}))
    assert time.process_time() - started < 2
    # Weight and memory are wrong everywhere, the port on the two load balancers, and 100 names are unknown.
    assert len(found) == (104 if broken else 0)


KEY = "0123456789abcdef01234567"
SECRETS: dict[str, dict[str, Option]] = {
    **SPECS,
    "nginx_lb": {
        **SPECS["nginx_lb"],
        "nginx_lb_api_keys": {"type": "dict", "default": {}, "no_log": True},
        "nginx_lb_tls_certificate": {"type": "str", "default": ""},
        "nginx_lb_tls_key": {"type": "str", "default": "", "no_log": True},
        "nginx_lb_tls_port": {"type": "int", "default": 443},
        "nginx_lb_tls": {"type": "str", "default": "off"},
    },
}


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("nginx_lb_trusted_proxies", "10.0.0.1", "set a list of addresses and networks"),
        ("nginx_lb_trusted_proxies", ["10.0.0.1", "proxy"], "'proxy' is neither an address nor a network"),
        ("nginx_lb_trusted_proxies", ["::/0"], "'::/0' trusts any client to name its own address"),
        ("nginx_lb_operators", ["10.0.0.1/8"], "'10.0.0.1/8' is neither an address nor a network"),
        ("nginx_lb_operators", [10], "10 is neither an address nor a network"),
        ("nginx_lb_operators", ["fe80::1%eth0"], "'fe80::1%eth0' is neither an address nor a network"),
        ("nginx_lb_rate", -1, "set a whole number of at least 0"),
        ("nginx_lb_burst", 0, "set a whole number of at least 1"),
        ("nginx_lb_quotas", ["/predict"], "set a mapping of routes to requests a second"),
        ("nginx_lb_quotas", {"predict": 5}, "'predict' is not the beginning of a route"),
        ("nginx_lb_quotas", {"/": 5}, "to limit all routes, set nginx_lb_rate"),
        ("nginx_lb_quotas", {"/predict/": 5}, "'/predict/' is not the beginning of a route"),
        ("nginx_lb_quotas", {'/a"; return 200;': 5}, "is not the beginning of a route"),
        ("nginx_lb_quotas", {"/predict": 0}, "/predict has 0: set a whole number of at least 1"),
        ("nginx_lb_client_connections", "many", "set a whole number of at least 0"),
        ("nginx_lb_client_timeout", 0.5, "set a whole number of at least 1"),
    ],
)
def test_a_frontend_setting_that_nginx_can_not_use_is_refused(variable: str, value: object, fix: str) -> None:
    found = only_error(fleet(lb={variable: value}))
    assert found.startswith(f"lb: {variable} is ")
    assert fix in found


def test_good_frontend_settings_have_no_errors() -> None:
    settings = {
        "nginx_lb_trusted_proxies": ["192.0.2.7", "2001:db8::/32"],
        "nginx_lb_operators": ["0.0.0.0/0"],
        "nginx_lb_api_keys": {"alice": KEY, "team-2.b": KEY[::-1]},
        "nginx_lb_rate": "50",
        "nginx_lb_quotas": {"/invocations": 5, "/v2/models/iris": "2"},
        "nginx_lb_client_connections": 0,
    }
    assert inventory_errors(*fleet(lb=settings), roles(SECRETS)) == []


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("nginx_lb_api_keys", KEY, "set a mapping of names to keys"),
        ("nginx_lb_api_keys", {"alice": KEY, "bob": KEY[1:]}, "the key of entry 2 is not valid"),
        ("nginx_lb_api_keys", {"alice": f"{KEY} "}, "the key of entry 1 is not valid"),
        ("nginx_lb_api_keys", {KEY: "alice"}, "the key of entry 1 is not valid"),
        ("nginx_lb_api_keys", {f"{KEY} alice": KEY}, "the name of entry 1 is not valid"),
        ("nginx_lb_api_keys", {"alice": KEY, "bob": KEY}, "two names have the same key"),
        ("nginx_lb_api_kyes", {"alice": KEY}, "did you mean nginx_lb_api_keys?"),
        ("nginx_lb_api_key", KEY, "did you mean nginx_lb_api_keys?"),
        ("nginx_lb_secrets", {"alice": KEY}, "there is no such variable"),
    ],
)
def test_a_mistake_with_keys_shows_none(variable: str, value: object, fix: str) -> None:
    (found,) = inventory_errors(*fleet(lb={variable: value}), roles(SECRETS))
    assert found.startswith(f"lb: {variable} is (hidden): ")
    assert fix in found
    assert KEY[1:] not in found


def pem(name: str, passphrase: bytes = b"") -> tuple[str, str]:
    """A certificate and its key, encrypted where there is a passphrase."""
    certificate, key = issue(make_authority("test"), name, "server", [], [name])
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    key_text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()
    return certificate_pem(certificate), key_text


OURS, OUR_KEY = pem("models.example")
THEIRS, THEIR_KEY = pem("other.example")


def with_tls(mode: object, **settings: object) -> Inventory:
    variables = {f"nginx_lb_tls_{name}": value for name, value in settings.items()}
    return fleet(lb={"nginx_lb_tls": mode, **variables})


@pytest.mark.parametrize(
    "inventory",
    [
        with_tls("off", certificate="", names=[], hsts_seconds=0),
        with_tls(False),
        with_tls("own", certificate=OURS, key=OUR_KEY, hsts_seconds=63072000),
        with_tls("own", certificate=OURS + THEIRS, key=OUR_KEY, port=8443),
        with_tls("internal", names=["models.example", "*.models.example"]),
    ],
)
def test_good_tls_settings_have_no_errors(inventory: Inventory) -> None:
    assert inventory_errors(*inventory, roles(SECRETS)) == []


@pytest.mark.parametrize(
    ("inventory", "error"),
    [
        (with_tls("on"), "lb: nginx_lb_tls is 'on': set off, own or internal"),
        (with_tls(True), "lb: nginx_lb_tls is true: set off, own or internal"),
        (
            with_tls("own", key=OUR_KEY),
            "lb: nginx_lb_tls_certificate is empty: set a certificate in PEM",
        ),
        (
            with_tls("own", certificate=OUR_KEY, key=OUR_KEY),
            "lb: nginx_lb_tls_certificate is (hidden): set a certificate in PEM",
        ),
        (
            with_tls("own", certificate=OURS),
            "lb: nginx_lb_tls_key is empty: set a private key in PEM form",
        ),
        (
            with_tls("own", certificate=OURS, key="/etc/frontend.key"),
            "lb: nginx_lb_tls_key is (hidden): set a private key in PEM form, because nginx_lb_tls is own: its text, "
            "or \"{{ lookup('file', inventory_dir ~ '/privkey.pem') }}\" for a file",
        ),
        (
            with_tls("own", certificate=OURS, key=pem("a", b"secret")[1]),
            "lb: nginx_lb_tls_key is (hidden): the key has a passphrase, which Nginx can't ask for",
        ),
        (
            with_tls("own", certificate=OURS, key=THEIR_KEY),
            "lb: nginx_lb_tls_key is (hidden): this is not the key of nginx_lb_tls_certificate: set the key with which",
        ),
        (
            with_tls("own", certificate=THEIRS + OURS, key=OUR_KEY),
            "lb: nginx_lb_tls_key is (hidden): this is not the key of the first certificate",
        ),
        (
            with_tls("off", key=OUR_KEY),
            "lb: nginx_lb_tls_key is (hidden): this has no effect while nginx_lb_tls is off: set nginx_lb_tls to own",
        ),
        (
            with_tls("internal", certificate=OURS),
            "lb: nginx_lb_tls_certificate is (hidden): this has no effect while nginx_lb_tls is inter",
        ),
        (
            with_tls("own", certificate=OURS, key=OUR_KEY, names=["models.example"]),
            "lb: nginx_lb_tls_names is ['models.example']: this has no effect while nginx_lb_tls is own: "
            "set nginx_lb_tls to internal",
        ),
        (
            with_tls("off", hsts_seconds=60),
            "lb: nginx_lb_tls_hsts_seconds is 60: this has no effect while nginx_lb_tls is off",
        ),
        (
            with_tls("internal", names=["https://models.example"]),
            "'https://models.example' is not a DNS name",
        ),
        (with_tls("internal", port=80), "lb: nginx_lb_port is 80: nginx_lb_tls_port of lb uses port 80"),
        (
            fleet(lb={"nginx_lb_private": OUR_KEY}),
            "lb: nginx_lb_private is (hidden): there is no such variable",
        ),
    ],
)
def test_tls_settings_that_can_not_work_are_reported_without_a_key(inventory: Inventory, error: str) -> None:
    (found,) = inventory_errors(*inventory, roles(SECRETS))
    assert error in found
    assert "KEY-----" not in found


def test_tls_is_the_same_on_all_load_balancers() -> None:
    hosts, groups = fleet(lb={"nginx_lb_tls": "internal"})
    (found,) = inventory_errors(hosts, {**groups, "load_balancers": ["lb", "n1"]}, roles(SECRETS))
    assert found == (
        "lb (internal), n1 (off): nginx_lb_tls is not the same on all: set it for the group load_balancers"
    )


def test_a_key_whose_template_fails_is_reported_without_the_error() -> None:
    class Broken(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            if name == "nginx_lb_tls_key":
                raise ValueError(f"no file for {OUR_KEY}")
            return super().__getitem__(name)

    hosts, groups = with_tls("own", certificate=OURS, key="")
    hosts["lb"] = Broken(hosts["lb"])
    (found,) = inventory_errors(hosts, groups, roles(SECRETS))
    assert found.startswith(
        "lb: nginx_lb_tls_key is (hidden): its template fails; to see why, run: ansible load_balan"
    )
    assert "KEY-----" not in found
