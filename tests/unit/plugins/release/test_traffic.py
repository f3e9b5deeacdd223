"""The servers that Nginx is given for each slot."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import upstream_servers
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import endpoint_address

from unit.plugins.release.fleet import Fleet


def test_servers_have_their_address_port_weight_share_and_concurrency(empty: Fleet) -> None:
    empty.hostvars["n1"]["model_endpoint_port"] = "6001"
    empty.hostvars["n2"].update(model_endpoint_threads="3", model_endpoint_address="2001:db8::2")
    empty.run()
    # Not released yet, apart from the weight, which is not the release's.
    empty.hostvars["n2"].update(model_endpoint_threads=9, model_endpoint_address="2001:db8::9")
    empty.hostvars["n1"].update(model_endpoint_weight=3, model_endpoint_port=7001)
    empty.state["nodes"]["n1"]["share"] = 50
    empty.state["nodes"]["n3"]["status"] = "down"
    assert upstream_servers(empty.hostvars, empty.nodes, empty.state) == {
        "blue": [
            {
                "name": "n1",
                "address": "10.0.0.1",
                "port": 6001,
                "weight": 150,
                "concurrency": 2,
                "down": False,
            },
            {
                "name": "n2",
                "address": "2001:db8::2",
                "port": 5001,
                "weight": 100,
                "concurrency": 6,
                "down": False,
            },
            {
                "name": "n3",
                "address": "10.0.0.3",
                "port": 5001,
                "weight": 100,
                "concurrency": 2,
                "down": True,
            },
        ]
    }


def test_the_green_slot_has_the_next_port_and_a_host_may_be_named_by_its_address() -> None:
    assert endpoint_address({"10.0.0.9": {}}, "10.0.0.9", "green") == {
        "name": "10.0.0.9",
        "address": "10.0.0.9",
        "port": 5002,
    }


def test_servers_are_the_state_s_nodes_in_the_inventory_s_order(fleet: Fleet) -> None:
    fleet.state["nodes"] = {name: fleet.state["nodes"][name] for name in ("n3", "n1")}
    fleet.state["nodes"]["gone"] = fleet.state["nodes"]["n1"]
    fleet.hostvars["n4"] = {"ansible_host": "10.0.0.4"}
    assert fleet.servers() == {"blue": {"n1": 100, "n3": 100}}


def test_a_candidate_is_served_by_its_members_alone(fleet: Fleet) -> None:
    fleet.ship("image-2", canary_percent=5)
    fleet.state["candidate"]["nodes"] = ["n2", "n3", "gone"]
    fleet.state["drained"] = ["n3"]
    assert fleet.servers() == {"blue": {"n1": 100, "n2": 100}, "green": {"n2": 100}}


def test_no_configuration_without_a_server_that_is_up(fleet: Fleet) -> None:
    fleet.ship("image-2", canary_percent=5)
    fleet.state["candidate"]["nodes"] = []
    with pytest.raises(
        AnsibleFilterError, match="no green endpoint would be left to take traffic: bring a host"
    ):
        fleet.servers()
    for entry in fleet.state["nodes"].values():
        entry["status"] = "down"
    with pytest.raises(AnsibleFilterError, match="no blue endpoint would be left"):
        fleet.servers()
