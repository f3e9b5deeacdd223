"""Every mistake in an inventory is named with its host, variable, value and fix."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.check import inventory_errors
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import SPECS as OWN_SPECS

from unit.plugins.inventory.inventories import SPECS, FailingTemplates, errors, fleet, only_error, roles


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"model_endpoint_weight": 3},
        {"model_endpoint_weight": "3"},
        {"model_endpoint_port": "6001", "model_endpoint_threads": "4", "model_endpoint_cpus": "1.5"},
        {"model_endpoint_port": 65534},
        {"model_endpoint_address": "::ffff:192.0.2.99"},
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


def test_one_host_in_every_group_named_by_its_address_is_fine() -> None:
    groups = {name: ["192.0.2.1"] for name in ("load_balancers", "model_nodes", "image_builder")}
    assert errors(({"192.0.2.1": {}}, groups)) == []


def test_hosts_that_share_a_mistake_share_a_line() -> None:
    hosts = {f"n{i}": {"ansible_host": f"192.0.2.{i}", "model_endpoint_wieght": 3} for i in range(1, 41)}
    groups = {"load_balancers": ["n1"], "model_nodes": list(hosts)}
    assert only_error((hosts, groups)).startswith(
        "n1, n2, n3, n4, n5 and 35 more: model_endpoint_wieght is 3:"
    )


def test_hosts_with_different_values_of_one_mistake_show_each() -> None:
    found = only_error(fleet(n1={"model_endpoint_weight": 0}, n3={"model_endpoint_weight": "x"}))
    assert found.startswith("n1 (0), n3 ('x'): model_endpoint_weight is wrong: set a whole number")


@pytest.mark.parametrize("variable", ["ansible_host", "model_endpoint_port", "model_endpoint_address"])
def test_a_template_that_fails_is_one_error(variable: str) -> None:
    hosts, groups = fleet()
    broken = FailingTemplates({"ansible_host": "192.0.2.11"}, {variable})
    # The roles' own settings: the name of a secret among them must not be taken for the variable's.
    found = inventory_errors({**hosts, "n1": broken}, groups, roles(OWN_SPECS))
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
