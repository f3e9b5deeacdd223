"""A release goes live on all nodes at once, goes back in seconds, and can be followed while it does."""

import json
import re
import time
from pathlib import Path
from typing import Any

from fleet import faults
from fleet.deploy import FAILED, FINE, assert_live, configurations, deploy, live, state
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import Machine
from fleet.ports import BLUE, GREEN

# One load balancer's reload: requests that its old worker had begun, and connections it took before.
RELOAD_SECONDS = 1.0
ROLLBACK_SECONDS = 15.0
KEEP_RELEASES = 5
SLOT_PORTS = {"blue": BLUE, "green": GREEN}


def test_check_mode_says_what_a_release_would_do_and_changes_nothing(
    fleet: Fleet, first: str, new_model: Path
) -> None:
    before = [node.endpoints() for node in fleet.nodes], configurations(fleet), state(fleet, "lb1")
    with under_load(fleet.urls) as load:
        outcome = deploy(fleet, "site.yml", new_model, "--check", "--diff")
        assert outcome.code == FINE, outcome.output[-6000:]
        assert_live(fleet, first, load.record())
    load.record().assert_nothing_lost()
    assert before == ([node.endpoints() for node in fleet.nodes], configurations(fleet), state(fleet, "lb1"))
    nodes = ", ".join(node.name for node in fleet.nodes)
    planned = re.search(rf"release (\w+) goes live on {nodes} in the (blue|green) slots", outcome.output)
    assert planned, outcome.output[-6000:]
    assert planned[1] != first
    for node in fleet.nodes:
        server = f"server {node.address}:{SLOT_PORTS[planned[2]]} "
        assert re.search(rf"^\+ *{re.escape(server)}", outcome.output, re.MULTILINE), server


def test_a_new_model_goes_live_everywhere_at_once_and_back(fleet: Fleet, first: str, new_model: Path) -> None:
    with under_load(fleet.urls) as load:
        outcome = deploy(fleet, source=new_model)
        outcome.assert_ended(FINE, "released")
        new = outcome.verdict["live"]
        assert_live(fleet, new, load.during(1))
        released = load.record()
        back = deploy(fleet, "playbooks/rollback.yml")
        back.assert_ended(FINE, "rolled back")
        assert_live(fleet, first, load.during(1))
        forth = deploy(fleet, "playbooks/rollback.yml", release=new)
        assert_live(fleet, new, load.during(1))
        home = deploy(fleet, "playbooks/rollback.yml", release=first)
        assert_live(fleet, first, load.during(1))
    record = load.record()
    record.assert_nothing_lost()
    assert set(record.by_release()) == {first, new}
    for url in fleet.urls:
        assert released.through(url).overlap(first, new) <= RELOAD_SECONDS
    assert [run.code for run in (back, forth, home)] == [FINE] * 3
    slowest = max((back, forth, home), key=lambda run: run.seconds)
    assert slowest.seconds < ROLLBACK_SECONDS, slowest.output


def test_a_rolling_release_replaces_one_node_after_another(fleet: Fleet, first: str, new_model: Path) -> None:
    with under_load(fleet.urls) as load:
        outcome = deploy(fleet, source=new_model, release_strategy="rolling")
        outcome.assert_ended(FINE, "released")
        new = outcome.verdict["live"]
        assert_live(fleet, new, load.during(1))
        there = time.time()
        home = deploy(fleet, release_strategy="rolling")
        home.assert_ended(FINE, "released")
        assert_live(fleet, first, load.during(1))
    record = load.record()
    record.assert_nothing_lost()
    record.between(0, there).assert_replaced_one_by_one(first, new, RELOAD_SECONDS)
    record.between(there).assert_replaced_one_by_one(new, first, RELOAD_SECONDS)


def test_a_rolling_release_that_fails_on_the_last_node_is_undone_on_all(
    fleet: Fleet, first: str, faulty: Path
) -> None:
    stuck = fleet.with_nodes({"node1": {}, "node2": {}, "node3": {"model_endpoint_log_sample": faults.STUCK}})
    with under_load(fleet.urls) as load:
        outcome = deploy(stuck, source=faulty, release_strategy="rolling", model_endpoint_ready_timeout=10)
        assert outcome.code == FAILED
        assert outcome.verdict["result"] in ("failed", "returned")
        assert_live(fleet, first, load.during(1))
    record = load.record()
    record.assert_nothing_lost()
    # The other two had it already.
    (new,) = record.by_release().keys() - {first}
    replaced = [answer for answer in record.answers if answer.release == new]
    assert {answer.endpoint for answer in replaced} == {"node1", "node2"}
    assert record.span(first)[1] > record.span(new)[1]


def test_status_tells_people_and_programs_of_every_node(fleet: Fleet, first: str, tmp_path: Path) -> None:
    status = deploy(fleet, "playbooks/status.yml", status_file=str(tmp_path / "status.json"))
    assert status.code == FINE, status.output[-6000:]
    found = json.loads((tmp_path / "status.json").read_text())
    assert found["live"] == first
    nodes = {name: (node["state"], node["live"], node["health"]) for name, node in found["nodes"].items()}
    assert nodes == {node.name: ("up", first, "ready") for node in fleet.nodes}
    for node in fleet.nodes:
        assert re.search(rf"\b{node.name} +up +1 +{first} ", status.output)


def test_history_and_logs_are_shown(fleet: Fleet, first: str) -> None:
    history = deploy(fleet, "playbooks/history.yml")
    assert history.code == FINE
    assert first in history.output
    assert "rolled back" in history.output
    logs = deploy(fleet, "playbooks/logs.yml", node="node1")
    assert logs.code == FINE
    assert re.search(r"flotilla-node1-(blue|green) \(Up .*\)", logs.output)


def audit(balancer: Machine) -> list[dict[str, Any]]:
    """Return the entries of a load balancer's audit log, the oldest first."""
    return [json.loads(line) for line in balancer.run("cat", "/var/lib/flotilla/audit.jsonl").splitlines()]


def test_every_load_balancer_keeps_who_did_what(
    fleet: Fleet, first: str, new_model: Path, faulty: Path
) -> None:
    before = {balancer.name: len(audit(balancer)) for balancer in fleet.load_balancers}
    deploy(fleet, source=faulty, model_endpoint_log_sample=faults.WRONG).assert_ended(FAILED, "failed")
    released = deploy(fleet, source=new_model, release_bake_seconds=0)
    released.assert_ended(FINE, "released")
    deploy(fleet, "playbooks/rollback.yml", release=first).assert_ended(FINE, "rolled back")
    for balancer in fleet.load_balancers:
        entries = audit(balancer)[before[balancer.name] :]
        told = [(entry["playbook"], entry["result"], entry["live"]) for entry in entries]
        assert told == [
            ("site.yml", "failed", first),
            ("site.yml", "released", released.verdict["live"]),
            ("rollback.yml", "rolled back", first),
        ]
        assert all({"time", "user", "controller", "message"} <= entry.keys() for entry in entries)


def images(node: Machine) -> set[str]:
    """Return the digests of the images of endpoints that a node has."""
    listing = node.run(
        "docker", "images", "--digests", "--format", "{{.Repository}} {{.Digest}}"
    ).splitlines()
    return {line.split()[1] for line in listing if "flotilla/model-endpoint" in line}


def live_image(fleet: Fleet) -> str:
    """Return the digest of the image of the release that is live."""
    return str(state(fleet, "lb1")["live"]["reference"].rpartition("@")[2])


def test_nodes_keep_the_images_of_the_last_five_releases_alone(
    fleet: Fleet, first: str, new_model: Path
) -> None:
    needed = live_image(fleet)
    deploy(fleet, source=new_model, release_bake_seconds=0).assert_ended(FINE, "released")
    unneeded = live_image(fleet)
    # Releases of the first image, each with another setting; the last one is the fifth after the new model.
    for threads in range(KEEP_RELEASES):
        for node in fleet.nodes:
            assert images(node) >= {needed, unneeded}, node.name
        changed = deploy(fleet, model_endpoint_threads=3 + threads, release_bake_seconds=0)
        changed.assert_ended(FINE, "released")
    content = state(fleet, "lb1")
    assert len([content["live"], *content["previous"]]) == KEEP_RELEASES
    for node in fleet.nodes:
        assert images(node) == {needed}, node.name
    deploy(fleet, release_bake_seconds=0).assert_ended(FINE, "released")
    assert live(fleet) == first
