"""Variables that are unknown, renamed or a role's own, and values of another type."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.check import inventory_errors
from ansible_collections.flotilla.fleet.plugins.plugin_utils.inventory.renamed import RENAMED
from ansible_collections.flotilla.fleet.plugins.plugin_utils.settings import SPECS as OWN_SPECS

from unit.plugins.inventory.inventories import SETTINGS, SPECS, FailingTemplates, fleet, only_error, roles


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
