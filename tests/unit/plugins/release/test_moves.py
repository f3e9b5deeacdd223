"""Endpoints that publish elsewhere than before: a changed port or address, ports that change hands, older states."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.places import (
    published_address,
    with_found_places,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import upstream_servers

from unit.plugins.release.fleet import Fleet


def ports(fleet: Fleet) -> dict[str, list[int]]:
    """The ports that Nginx sends requests to, by node."""
    found: dict[str, list[int]] = {}
    for servers in upstream_servers(fleet.hostvars, fleet.nodes, fleet.state).values():
        for server in servers:
            found.setdefault(server["name"], []).append(server["port"])
    return found


def test_a_changed_port_is_a_release_that_is_staged_and_probed_there_before_it_gets_traffic(
    fleet: Fleet,
) -> None:
    first = fleet.live
    for node in fleet.nodes:
        fleet.hostvars[node]["model_endpoint_port"] = 6001
    run = fleet.run()
    assert run.facts["probed"] == {"n1": 6002, "n2": 6002, "n3": 6002}
    assert fleet.live != first
    assert ports(fleet) == {"n1": [6002], "n2": [6002], "n3": [6002]}
    assert fleet.run().plan["target"] is None
    # What went before is still where it was.
    fleet.run("rollback")
    assert fleet.live == first
    assert ports(fleet) == {"n1": [5001], "n2": [5001], "n3": [5001]}


def test_a_changed_port_where_nobody_answers_changes_no_traffic(fleet: Fleet) -> None:
    before = copy.deepcopy(fleet.state)
    fleet.hostvars["n2"]["model_endpoint_port"] = 6001
    run = fleet.run(unseen=["n2"])
    assert run.gate["errors"] == ["n2: lb can't use it: timed out"]
    assert fleet.state == before
    assert ports(fleet) == {"n1": [5001], "n2": [5001], "n3": [5001]}


def test_a_changed_address_moves_one_node(fleet: Fleet) -> None:
    fleet.hostvars["n2"]["model_endpoint_address"] = "10.1.0.2"
    fleet.run()
    servers = upstream_servers(fleet.hostvars, fleet.nodes, fleet.state)["green"]
    assert [server["address"] for server in servers] == ["10.0.0.1", "10.1.0.2", "10.0.0.3"]
    assert "forgotten" not in fleet.state  # the machine is the same


def test_a_limited_run_leaves_requests_where_they_are_answered(fleet: Fleet) -> None:
    fleet.hostvars["n2"]["model_endpoint_port"] = 6001
    run = fleet.run(limit=["n2"])
    assert run.plan["note"].endswith("stays live until site.yml runs without --limit")
    assert ports(fleet) == {"n1": [5001], "n2": [5001], "n3": [5001]}


def test_two_nodes_of_a_machine_exchange_their_ports_in_one_run(shared: Fleet) -> None:
    shared.hostvars["a"]["model_endpoint_port"] = 5003
    shared.hostvars["b"]["model_endpoint_port"] = 5001
    assert shared.run().plan["error"] == ""
    assert ports(shared) == {"a": [5004], "b": [5002], "c": [5002]}
    assert shared.run().plan["target"] is None


def test_a_port_that_a_container_has_that_serves_is_refused_before_anything_is_staged(shared: Fleet) -> None:
    shared.ship("image-2")  # live is green: a has 5002, b has 5004
    shared.hostvars["a"]["model_endpoint_port"] = 5004
    shared.hostvars["b"]["model_endpoint_port"] = 5006
    step, run = shared.planned("deploy")
    assert step["plan"]["error"] == (
        "a: its endpoint is to have 10.0.0.1:5004 in the blue slot, where flotilla-b-green still serves: set "
        "model_endpoint_port to one that no container on the machine has"
    )
    assert (step["plan"]["target"], step["plan"]["baseline"]) == (None, step["state"])
    assert step["hosts"] == []
    assert run.facts["release_failure"]
    shared.runs["a"].clear()
    shared.hostvars["a"].pop("model_endpoint_port")
    shared.make("c", "green", shared.state["live"])
    shared.made["flotilla-c-green"]["settings"]["ports"] = ["10.0.0.1:5002:5001"]
    shared.stands_on["c"] = "10.0.0.1"
    # What keeps one node from being started is no reason to refuse the drain of another.
    assert shared.plan("drain", node="b")["error"] == ""


def test_a_rolling_release_may_use_the_port_of_the_container_that_it_stops(shared: Fleet) -> None:
    shared.ship("image-2")
    shared.hostvars["c"]["model_endpoint_port"] = 5002
    assert shared.plan("deploy", rolling=True)["error"] == ""
    assert "c: its endpoint is to have 10.0.0.3:5002" in shared.plan("deploy")["error"]


def of_earlier_version(fleet: Fleet) -> None:
    """Take out of the state what an earlier version did not write."""
    for release in [fleet.state["live"], *fleet.state["previous"]]:
        for own in [release["settings"]["common"], *release["settings"]["nodes"].values()]:
            own.pop("port", None)
            own.pop("address", None)
    for entry in fleet.state["nodes"].values():
        entry.pop("machine", None)


def test_the_release_of_an_earlier_version_is_where_its_containers_are_found(fleet: Fleet) -> None:
    of_earlier_version(fleet)
    fleet.hostvars["n2"]["model_endpoint_port"] = 6001  # changed together with the version
    run = fleet.run(limit=["n1"])
    assert run.plan["target"] is None
    assert ports(fleet) == {"n1": [5001], "n2": [5001], "n3": [5001]}
    fleet.run()
    assert ports(fleet) == {"n1": [5002], "n2": [6002], "n3": [5002]}
    assert fleet.run().plan["target"] is None


def test_the_release_of_an_earlier_version_whose_machine_is_away_is_where_the_inventory_says(
    fleet: Fleet,
) -> None:
    of_earlier_version(fleet)
    hostvars: Any = {
        **fleet.hostvars,
        "n2": {**fleet.hostvars["n2"], "flotilla_machine": {"unreachable": True}},
    }
    live = with_found_places(fleet.state, hostvars)["live"]
    assert live is not None
    assert published_address(hostvars, live, "n2", "blue")["port"] == 5001
    assert published_address({}, live, "n2", "green") == {"name": "n2", "address": "10.0.0.2", "port": 5002}


def test_a_release_of_an_earlier_version_that_is_gone_back_to_gets_the_inventory_s_ports(
    fleet: Fleet,
) -> None:
    first = fleet.live
    fleet.ship("image-2")
    fleet.ship("image-3")
    of_earlier_version(fleet)
    fleet.run("rollback", release=first)
    assert ports(fleet) == {"n1": [5002], "n2": [5002], "n3": [5002]}
    assert published_address({}, fleet.state["live"], "n3", "green")["address"] == "10.0.0.3"


def test_what_takes_traffic_is_probed_whenever_the_configuration_may_differ(fleet: Fleet) -> None:
    everything = {"n1": 5001, "n2": 5001, "n3": 5001}
    fleet.hostvars["n1"]["model_endpoint_weight"] = 3
    assert fleet.run().facts["probed"] == everything
    assert fleet.run("drain", node="n2").facts["probed"] == {"n1": 5001, "n3": 5001}
    assert fleet.run("undrain", node="n2").facts["probed"] == everything
    assert fleet.run(unreachable=["n3"]).facts["probed"] == {"n1": 5001, "n2": 5001}


def test_an_endpoint_that_no_longer_answers_is_left_out_when_the_traffic_changes(fleet: Fleet) -> None:
    run = fleet.run("undrain", node="n2", unseen=["n2"])
    assert run.gate["passed"]
    assert run.gate["errors"] == ["n2: lb can't use it: timed out"]
    assert fleet.servers() == {"blue": {"n1": 100, "n2": 0, "n3": 100}}
    before = copy.deepcopy(fleet.state)
    run = fleet.run(unseen=fleet.nodes)
    assert not run.gate["passed"]
    assert fleet.state == before
