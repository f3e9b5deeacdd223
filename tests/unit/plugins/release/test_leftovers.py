"""Nodes that have left the inventory, and containers that are not as their release wants them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.leftovers import without_containers
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import (
    container_state,
    missing_container,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import forgotten_nodes
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.commit import (
    commit_step,
    forget_step,
)

from unit.plugins.release.fleet import Fleet, Run

NAME = "registry:5000/flotilla/model-endpoint@sha256"


def leftovers(run: Run) -> Any:
    return run.facts["release_commit"]["leftovers"]


def draining(run: Run) -> list[tuple[str, int]]:
    return [(address["name"], address["port"]) for address in run.facts["release_commit"]["draining"]]


def test_a_deleted_node_leaves_the_traffic_is_drained_and_is_removed_from_its_machine(shared: Fleet) -> None:
    first = shared.live
    del shared.hostvars["b"]
    run = shared.run()
    assert run.plan["target"] is None
    assert draining(run) == [("b", 5003)]
    (left,) = leftovers(run)
    assert (left["host"], left["hosts"], left["nodes"]) == ("a", ["a"], ["b"])
    # Its port needs no guard any more.
    assert left["containers"] == ["flotilla-b-blue"]
    assert shared.runs == {"a": {"blue": first}, "c": {"blue": first}}
    assert shared.servers() == {"blue": {"a": 100, "c": 100}}
    assert "forgotten" not in shared.state
    before = copy.deepcopy(shared.state)
    run = shared.run()
    assert (leftovers(run), draining(run)) == ([], [])
    assert shared.state == before


def test_a_deleted_node_is_removed_with_a_release_and_after_one(shared: Fleet) -> None:
    shared.ship("image-2")
    del shared.hostvars["b"]
    shared.image = "image-3"
    run = shared.run()
    assert draining(run) == [("a", 5002), ("b", 5004), ("c", 5002)]
    assert leftovers(run)[0]["nodes"] == ["b"]
    assert "b" not in shared.runs


def test_a_deleted_node_whose_machine_nobody_names_is_forgotten_until_told_so(shared: Fleet) -> None:
    del shared.hostvars["c"]
    run = shared.run()
    assert leftovers(run) == []
    assert shared.state["forgotten"] == [{"node": "c", "machine": "10.0.0.3", "since": shared.now}]
    assert shared.servers() == {"blue": {"a": 100, "b": 100}}
    line = (
        "c is forgotten: it has left the inventory, and what it left on 10.0.0.3 can't be reached: "
        "playbooks/remove_node.yml -e node=c ends this warning"
    )
    for _ in range(2):  # in every last line
        run = shared.run()
        assert run.finish()["verdict"]["message"].endswith(f"warning: {line}")
        assert forgotten_nodes(shared.state) == [line]
    assert run.finish()["verdict"]["result"] == "unchanged"
    run = shared.run("remove", node="c")
    assert run.plan["note"] == (
        "c is forgotten: what it left is removed from the machines that this run reaches, and stays on any other"
    )
    assert "forgotten" not in shared.state
    assert "warning" not in shared.run().finish()["verdict"]["message"]


def test_a_forgotten_node_whose_machine_is_there_again_is_removed(shared: Fleet) -> None:
    before = shared.hostvars.pop("c")
    shared.run()
    shared.hostvars["d"] = {**before, "model_endpoint_port": 5005}
    run = shared.run()
    assert [(left["host"], left["nodes"]) for left in leftovers(run)] == [("d", ["c"])]
    assert "forgotten" not in shared.state
    assert "c" not in shared.runs


def test_a_node_that_only_the_state_knows_may_be_removed_by_name_and_another_may_not(shared: Fleet) -> None:
    del shared.hostvars["b"]
    error = shared.plan("remove", node="nope")["error"]
    assert error == (
        "node is 'nope', which is no host of model_nodes (a, c) and none that has left it (b): -e node=NAME"
    )
    assert shared.plan("remove", ["a"], node="b")["error"].startswith("to forget a node is about every host")
    run = shared.run("remove", node="b")
    assert leftovers(run)[0]["nodes"] == ["b"]
    assert "b" not in shared.runs
    assert "forgotten" not in shared.state


def test_a_limited_run_removes_nothing(shared: Fleet) -> None:
    first = shared.live
    del shared.hostvars["b"]
    run = shared.run(limit=["a"])
    assert leftovers(run) == []
    assert shared.runs["b"] == {"blue": first}
    assert shared.servers() == {"blue": {"a": 100, "c": 100}}
    run = shared.run()
    assert leftovers(run)[0]["nodes"] == ["b"]
    assert "forgotten" not in shared.state


def test_what_could_not_be_removed_stays_noted(shared: Fleet) -> None:
    del shared.hostvars["b"]
    run = shared.run(steps=1)  # interrupted before anything was removed
    assert shared.state["forgotten"][0]["node"] == "b"
    run.hostvars["a"]["release_not_removed"] = "a: no"
    assert forget_step(run.hostvars, run.groups, run.present) is None
    assert "a: no" in run.finish()["faults"]
    assert leftovers(shared.run())[0]["nodes"] == ["b"]
    assert "forgotten" not in shared.state


def test_certificates_are_left_too_and_those_of_other_nodes_are_not(shared: Fleet) -> None:
    del shared.hostvars["b"]
    run = shared.run(steps=1)
    run.hostvars["a"]["flotilla_machine"] = {
        "containers": {},
        "images": {},
        "files": {f"/etc/flotilla/endpoints/{node}/server.pem": "x" for node in ("a", "b")},
    }
    assert commit_step(run.hostvars, run.groups, run.present)["leftovers"][0]["nodes"] == ["b"]


def test_a_container_of_another_fleet_is_left_alone(shared: Fleet) -> None:
    shared.runs["other"] = {"blue": "x"}
    shared.stands_on["other"] = "10.0.0.1"
    del shared.hostvars["b"]
    assert leftovers(shared.run())[0]["nodes"] == ["b"]
    assert shared.runs["other"] == {"blue": "x"}


def test_a_renamed_node_that_keeps_its_port_goes_over_in_one_run(shared: Fleet) -> None:
    first = shared.live
    shared.hostvars["b2"] = shared.hostvars.pop("b")
    run = shared.run(canary_percent=5)  # not a trial: it is the same release
    assert run.steps == [(100, 0)]
    assert run.plan["note"] == (
        "b2: its port is still that of flotilla-b-blue: the release is started anew in the other slots"
    )
    assert run.facts["probed"] == {"a": 5002, "c": 5002, "b2": 5004}
    assert draining(run) == [("a", 5001), ("b", 5003), ("c", 5001)]
    assert shared.live != first
    assert shared.state["previous"] == []  # it is no release to go back to
    assert shared.servers() == {"green": {"a": 100, "c": 100, "b2": 100}}
    assert "b" not in shared.runs
    assert "forgotten" not in shared.state
    before = copy.deepcopy(shared.state)
    assert shared.run().plan["target"] is None
    assert shared.state == before


def test_a_renamed_node_alone_serves_under_its_old_name_until_the_new_one_can(empty: Fleet) -> None:
    for node in ("n2", "n3"):
        del empty.hostvars[node]
    empty.run()
    empty.hostvars["m1"] = empty.hostvars.pop("n1")
    empty.image = "image-2"
    empty.run(unready=["m1"])
    assert empty.servers() == {"blue": {"n1": 100}}
    empty.run()
    assert empty.servers() == {"green": {"m1": 100}}
    assert empty.runs == {"m1": {"green": empty.live}}


def test_a_renamed_node_in_a_limited_run_is_refused(shared: Fleet) -> None:
    shared.hostvars["b2"] = shared.hostvars.pop("b")
    assert shared.plan("deploy", ["b2"])["error"] == (
        "b2: its endpoint is to have 10.0.0.1:5003 in the blue slot, where flotilla-b-blue still serves: run "
        "site.yml without --limit and with every load balancer, which first moves the traffic away"
    )


def test_a_renamed_node_with_a_canary_goes_over_when_the_canary_is_promoted(shared: Fleet) -> None:
    shared.hostvars["b2"] = shared.hostvars.pop("b")
    shared.ship("image-2", canary_percent=5)
    assert shared.servers() == {
        "blue": {"a": 100, "b": 100, "c": 100},
        "green": {"a": 100, "c": 100, "b2": 100},
    }
    run = shared.run("promote")
    assert ("b", 5003) in draining(run)
    assert shared.servers() == {"green": {"a": 100, "c": 100, "b2": 100}}
    assert "b" not in shared.runs


def test_a_node_that_moves_to_another_machine_is_removed_from_the_old_one_or_named(shared: Fleet) -> None:
    shared.hostvars["b"] = {"ansible_host": "10.0.0.7"}
    shared.make("b", "blue", shared.state["live"])
    shared.stands_on["b"] = "10.0.0.1"
    old = copy.deepcopy(shared.machine("a"))
    assert "flotilla-b-blue" in old["containers"]
    shared.stands_on["b"] = "10.0.0.7"
    shared.runs["b"] = {}
    run = shared.run(steps=1)
    assert shared.state["forgotten"] == [{"node": "b", "machine": "10.0.0.1", "since": shared.now}]
    assert shared.state["nodes"]["b"]["machine"] == "10.0.0.7"
    run.hostvars["a"]["flotilla_machine"] = old
    (left,) = commit_step(run.hostvars, run.groups, run.present)["leftovers"]
    assert (left["host"], left["nodes"]) == ("a", ["b"])


DIFFERENCES: list[dict[str, Any]] = [
    {"memory": 1 << 30},
    {"ports": ["10.0.0.2:7001:5001"]},
    {"volumes": []},
]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
def test_a_container_that_serves_and_differs_is_exchanged_by_the_other_slot(
    fleet: Fleet, difference: dict[str, Any]
) -> None:
    first = fleet.live
    fleet.made["flotilla-n2-blue"]["settings"].update(difference)
    run = fleet.run()
    (name,) = difference
    assert run.plan["note"] == (
        f"n2: flotilla-n2-blue is not as its release wants it ({name}): the release is started anew in the other slots"
    )
    assert fleet.servers() == {"green": {"n1": 100, "n2": 100, "n3": 100}}
    assert fleet.state["previous"] == []
    assert fleet.live != first
    # Neither is there anything left to do, nor is the next exchange taken for this one.
    assert fleet.run().plan["target"] is None
    second = fleet.live
    fleet.made["flotilla-n2-green"]["settings"].update(difference)
    fleet.run()
    assert len({first, second, fleet.live}) == 3


def test_a_container_of_another_image_is_exchanged(fleet: Fleet) -> None:
    fleet.made["flotilla-n1-blue"] |= {"image": "registry/other", "image_id": "other"}
    fleet.made["flotilla-n1-blue"]["labels"]["flotilla.image"] = "registry/other"
    assert "(image" in fleet.run().plan["note"]


def test_an_unhealthy_container_is_exchanged_and_one_that_only_starts_is_not(fleet: Fleet) -> None:
    fleet.made["flotilla-n1-blue"]["health"] = "starting"
    assert fleet.run().plan["target"] is None
    fleet.made["flotilla-n1-blue"]["health"] = "unhealthy"
    assert "flotilla-n1-blue is not as its release wants it (unhealthy)" in fleet.run().plan["note"]
    assert fleet.servers() == {"green": {"n1": 100, "n2": 100, "n3": 100}}


def test_a_differing_container_is_named_where_a_run_can_t_exchange_it(fleet: Fleet) -> None:
    fleet.made["flotilla-n2-blue"]["settings"]["memory"] = 1
    for run in (fleet.run(limit=["n1", "n2"]), fleet.run(away=["lb2"])):
        assert run.plan["target"] is None
        assert run.plan["note"] == (
            "n2: flotilla-n2-blue is not as its release wants it (memory): this is mended by site.yml without --limit "
            "and with every load balancer"
        )


def test_a_differing_container_without_traffic_is_made_anew_where_it_is(fleet: Fleet) -> None:
    fleet.run("drain", node="n2")
    fleet.made["flotilla-n2-blue"]["settings"]["memory"] = 1
    machine = fleet.machine("n2")
    for operation in ("deploy", "undrain"):
        plan = fleet.plan(operation, node="n2")
        assert plan["target"] is None
        missing = missing_container(plan, fleet.hostvars, "n2", machine)
        assert missing == {"release": fleet.state["live"], "slot": "blue"}
    fleet.run("undrain", node="n2")
    assert fleet.made["flotilla-n2-blue"]["settings"]["memory"] == 512 << 20


def test_a_stopped_container_that_differs_is_made_anew_too(fleet: Fleet) -> None:
    fleet.made["flotilla-n2-blue"].update(running=False)
    fleet.made["flotilla-n2-blue"]["settings"]["memory"] = 1
    run = fleet.run()
    assert run.plan["target"] is None
    assert fleet.made["flotilla-n2-blue"]["running"]
    assert fleet.made["flotilla-n2-blue"]["settings"]["memory"] == 512 << 20


def test_a_container_that_another_version_made_is_not_compared(fleet: Fleet) -> None:
    def found() -> str:
        live, machine = fleet.state["live"], fleet.machine("n2")
        return container_state(fleet.hostvars, machine, "n2", "blue", live)

    fleet.made["flotilla-n2-blue"]["settings"]["memory"] = 1
    assert found() == "missing"
    fleet.state["live"]["settings"]["common"]["recipe"] = "older"
    assert found() == "running"
    fleet.made["flotilla-n2-blue"]["running"] = False
    assert found() == "stopped"


def removed_images(fleet: Fleet, images: list[str]) -> list[tuple[str, list[str]]]:
    """Release a new image, and return the images that the run removes, by the host through which."""
    fleet.image = f"image-{fleet.now}"
    run = fleet.run(steps=1)
    for host in run.present:
        run.hostvars[host]["flotilla_machine"]["images"] = dict.fromkeys(images, "id")
    found = commit_step(run.hostvars, run.groups, run.present, "registry:5080")["leftovers"]
    return [(left["host"], left["images"]) for left in found if left["images"]]


def test_images_are_removed_once_a_machine_however_many_releases_go_by(shared: Fleet) -> None:
    for _ in range(7):
        pushed = "registry:5080/flotilla/model-endpoint@sha256:1"
        needed = shared.state["live"]["reference"]
        found = removed_images(shared, [f"{NAME}:1", needed, pushed, "flotilla/nginx@sha256:1"])
        # a and b are one machine, which is dealt with once; so is lb, which has no node and needs none.
        assert [(host, images) for host, images in found if host != "lb"] == [
            ("a", [f"{NAME}:1"]),
            ("c", [f"{NAME}:1"]),
        ]


def test_images_that_no_release_needs_go_and_all_with_the_last_node_of_a_machine(shared: Fleet) -> None:
    run = shared.run()
    needed = run.state["live"]["reference"]
    for host in run.present:
        run.hostvars[host]["flotilla_machine"]["images"] = {f"{NAME}:1": "id", needed: "live"}
    found = commit_step(run.hostvars, run.groups, run.present, "registry:5080")["leftovers"]
    assert {image for left in found if left["host"] != "lb" for image in left["images"]} == {f"{NAME}:1"}
    # The load balancer is on the machine of c, whose line is deleted.
    shared.hostvars["lb"]["ansible_host"] = "10.0.0.3"
    del shared.hostvars["c"]
    run = shared.run(steps=1)
    run.state["live"]["reference"] = f"{NAME}:2"  # which the other machines need
    seen = {"containers": {"flotilla-c-blue": shared.container("c", "blue", shared.live)}, "files": {}}
    run.hostvars["lb"]["flotilla_machine"] |= {**seen, "images": {f"{NAME}:1": "1", f"{NAME}:2": "2"}}
    found = commit_step(run.hostvars, run.groups, run.present, "registry:5080")["leftovers"]
    assert [(left["host"], left["nodes"], left["images"]) for left in found if left["images"]] == [
        ("lb", ["c"], [f"{NAME}:1", f"{NAME}:2"])
    ]


def test_an_image_that_a_machine_has_lost_is_fetched_unless_a_release_brings_it(shared: Fleet) -> None:
    def fetched(run: Run) -> list[tuple[str, list[str]]]:
        for host in ("a", "b"):
            run.hostvars[host]["flotilla_machine"]["images"] = {}
        found = commit_step(run.hostvars, run.groups, run.present, "registry:5080")["leftovers"]
        return [(left["host"], left["missing"]) for left in found if left["missing"]]

    # a and b are one machine.
    assert fetched(shared.run()) == [("a", [shared.state["live"]["reference"]])]
    assert fetched(shared.run(limit=["a", "b"])) == []
    shared.image = "image-2"
    assert fetched(shared.run()) == []


def test_a_port_that_nobody_is_to_have_any_more_needs_no_guard(fleet: Fleet) -> None:
    for node in fleet.nodes:
        fleet.hostvars[node]["model_endpoint_port"] = 6001
    assert leftovers(fleet.run()) == []  # the release before may still be gone back to
    fleet.runs["n1"]["blue"] = fleet.made["flotilla-n1-blue"]["labels"]["flotilla.release"]
    fleet.image = "image-2"
    found = leftovers(fleet.run())
    assert [(left["host"], left["containers"]) for left in found] == [("n1", ["flotilla-n1-blue"])]
    seen: Any = {"containers": {"x": {}, "y": {}}, "images": ["i"]}
    assert without_containers(seen, ["x"]) == {"containers": {"y": {}}, "images": ["i"]}


def test_an_image_that_no_release_needs_stays_while_a_stopped_container_has_it(fleet: Fleet) -> None:
    """The engine would refuse to remove it. A builder that was lost leaves such images behind."""
    _, run = fleet.planned("deploy")
    machine = run.hostvars["n1"]["flotilla_machine"]
    machine["images"] = {f"{NAME}:{number}": "id" for number in (1, 2)}
    stopped = {**fleet.container("n1", "green", "older"), "running": False, "image": f"{NAME}:1"}
    machine["containers"]["flotilla-n1-green"] = stopped

    def removed() -> list[str]:
        left = commit_step(run.hostvars, run.groups, run.present, "registry:5080")["leftovers"]
        return [image for entry in left for image in entry["images"]]

    assert removed() == [f"{NAME}:2"]
    # A release that is staged there replaces the container.
    run.share(release_plan={**run.plan, "target": fleet.state["live"], "target_slot": "green"})
    assert removed() == [f"{NAME}:1", f"{NAME}:2"]
