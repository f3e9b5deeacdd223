"""A release goes live on all nodes at once, goes back in seconds, and can be followed while it does."""

import json
import re
from pathlib import Path

from fleet.fire import faults
from fleet.fire.deploy import FAILED, FINE, assert_live, configurations, deploy, live, state
from fleet.fleet import Fleet
from fleet.load import under_load

# One load balancer's reload: requests that its old worker had begun, and connections it took before.
RELOAD_SECONDS = 1.0
ROLLBACK_SECONDS = 15.0
KEPT = 5


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
    for node in fleet.nodes:
        assert re.search(rf"{node.name}\b", outcome.output)
    assert f"server {fleet.nodes[0].address}:500" in outcome.output


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
    assert max(run.seconds for run in (back, forth, home)) < ROLLBACK_SECONDS


def test_a_rolling_release_replaces_one_node_after_another(fleet: Fleet, first: str, new_model: Path) -> None:
    with under_load(fleet.urls) as load:
        outcome = deploy(fleet, source=new_model, release_strategy="rolling")
        outcome.assert_ended(FINE, "released")
        assert_live(fleet, outcome.verdict["live"], load.during(1))
        home = deploy(fleet, release_strategy="rolling")
        home.assert_ended(FINE, "released")
        assert_live(fleet, first, load.during(1))
    load.record().assert_nothing_lost()


def test_a_rolling_release_that_fails_on_the_last_node_is_undone_on_all(
    fleet: Fleet, first: str, faulty: Path
) -> None:
    stuck = fleet.with_nodes({"node1": {}, "node2": {}, "node3": {"model_endpoint_log_sample": faults.STUCK}})
    with under_load(fleet.urls) as load:
        outcome = deploy(stuck, source=faulty, release_strategy="rolling", model_endpoint_ready_timeout=10)
        assert outcome.code == FAILED
        assert outcome.verdict["result"] in ("failed", "returned")
        assert_live(fleet, first, load.during(1))
    load.record().assert_nothing_lost()


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


def test_every_load_balancer_keeps_who_did_what(fleet: Fleet, first: str) -> None:
    for balancer in fleet.load_balancers:
        lines = balancer.run("cat", "/var/lib/flotilla/audit.jsonl").splitlines()
        entries = [json.loads(line) for line in lines]
        assert {"time", "user", "controller", "playbook", "result", "live", "message"} <= entries[-1].keys()
        assert {"released", "failed", "rolled back"} <= {entry["result"] for entry in entries}
    assert live(fleet) == first


def test_nodes_keep_the_images_of_the_last_five_releases_alone(
    fleet: Fleet, first: str, new_model: Path
) -> None:
    deploy(fleet, source=new_model, release_bake_seconds=0).assert_ended(FINE, "released")
    content = state(fleet, "lb1")
    kept = [content["live"], *content["previous"]]
    assert len(kept) <= KEPT
    references = {release["reference"].rpartition("@")[2] for release in kept}
    for node in fleet.nodes:
        digests = node.run(
            "docker", "images", "--digests", "--format", "{{.Repository}} {{.Digest}}"
        ).splitlines()
        images = {line.split()[1] for line in digests if "flotilla/model-endpoint" in line}
        assert images <= references, node.name
    deploy(fleet, "playbooks/rollback.yml", release=first).assert_ended(FINE, "rolled back")
