"""Prometheus collects from all that the inventory and the state name, and from nothing else."""

from fleet.confinement import violations
from fleet.deploy import FINE, deploy, live, state
from fleet.fleet import Fleet
from fleet.machine import open_from_here, wait_until
from fleet.monitoring.prometheus import faults, targets, values, wait_for_targets
from fleet.ports import ALERTMANAGER, EXPORTER, METRICS, PROMETHEUS, SSH


def endpoints(fleet: Fleet, *nodes: str) -> set[str]:
    """Return the instances of the nodes' endpoints that are live."""
    slot = state(fleet, "lb1")["live_slot"]
    return {f"{node}-{slot}" for node in nodes}


def test_all_targets_are_up(fleet: Fleet) -> None:
    wait_until("all targets are up", lambda: not faults(fleet), 90)
    found = targets(fleet)
    assert {job: instances.keys() for job, instances in found.items()} == {
        "endpoints": endpoints(fleet, "node1", "node2", "node3"),
        "load_balancers": {"lb1", "lb2"},
        "machines": {"lb1", "lb2", "node1", "node2", "node3", "watchtower"},
        "registry": {"lb1"},
        "prometheus": {"watchtower"},
        "alertmanager": {"watchtower"},
    }
    (labels,) = [found["endpoints"][name] for name in endpoints(fleet, "node1")]
    told = {name: labels[name] for name in ("endpoint", "release", "live", "state", "machine")}
    assert told == {
        "endpoint": "node1",
        "release": live(fleet),
        "live": "yes",
        "state": "up",
        "machine": "node1",
    }
    # Each endpoint tells of itself, though load balancers pass the question on.
    told_by = {series["endpoint"] for series in values(fleet, "flotilla_endpoint_info")}
    assert told_by == {"node1", "node2", "node3"}


def test_runs_tell_what_they_know_of_the_fleet(fleet: Fleet) -> None:
    def told(expression: str) -> set[float]:
        return {series["value"] for series in values(fleet, expression)}

    wait_until("the metrics of the fleet are collected", lambda: bool(told("flotilla_fleet_min_nodes")), 60)
    live_releases = {series["release"] for series in values(fleet, "flotilla_fleet_live_release_info")}
    assert live_releases == {live(fleet)}
    assert told('flotilla_fleet_nodes{state="up"}') == {3}
    assert told("flotilla_fleet_last_run_failed") == {0}
    wait_until("the lock is free", lambda: told("flotilla_fleet_lock_since_timestamp_seconds") == {0}, 60)
    assert len(values(fleet, "flotilla_fleet_nodes{state='up'}")) == len(fleet.load_balancers)
    # node_exporter reads them, and tells of the machine itself too.
    assert told("node_textfile_scrape_error") == {0}
    assert len(values(fleet, 'node_filesystem_avail_bytes{mountpoint="/var/lib/docker"}')) == len(
        fleet.machines
    )


def test_nothing_of_it_can_be_reached_from_elsewhere(fleet: Fleet) -> None:
    assert fleet.monitoring.listening_ports() & {PROMETHEUS, ALERTMANAGER} == set()
    assert open_from_here(fleet.monitoring.addressed({PROMETHEUS, ALERTMANAGER, EXPORTER, SSH})) == (
        fleet.monitoring.addressed({SSH})
    )
    asking = "import urllib.request as u; u.urlopen('http://127.0.0.1:{}/-/ready', timeout=5)"
    for port in (PROMETHEUS, ALERTMANAGER):
        fleet.monitoring.run("python3", "-c", asking.format(port))


def test_its_containers_are_confined(fleet: Fleet) -> None:
    assert {"flotilla-prometheus", "flotilla-alertmanager"} <= fleet.monitoring.container_names()
    assert all("flotilla-node-exporter" in machine.container_names() for machine in fleet.machines)
    assert violations(fleet.machines) == []


def test_status_finds_no_difference_and_tells_so(fleet: Fleet) -> None:
    assert deploy(fleet, "playbooks/status.yml").code == FINE
    wait_until(
        "the last look is collected",
        lambda: [series["value"] for series in values(fleet, "flotilla_fleet_differences")] == [0, 0],
        60,
    )


def test_a_node_that_is_drained_says_so_and_a_removed_one_is_gone_after_the_run(fleet: Fleet) -> None:
    deploy(fleet, "playbooks/drain.yml", node="node3").assert_ended(FINE, "changed")

    def states() -> dict[str, str]:
        return {labels["endpoint"]: labels["state"] for labels in targets(fleet)["endpoints"].values()}

    wait_until("node3 is drained", lambda: states()["node3"] == "drained", 30)
    wait_for_targets(fleet, "endpoints", endpoints(fleet, "node1", "node2", "node3"))
    deploy(fleet, "playbooks/remove_node.yml", node="node3").assert_ended(FINE, "changed")
    wait_for_targets(fleet, "endpoints", endpoints(fleet, "node1", "node2"))
    wait_for_targets(fleet, "machines", {"lb1", "lb2", "node1", "node2", "watchtower"})
    deploy(fleet).assert_ended(FINE, "changed")
    wait_for_targets(fleet, "endpoints", endpoints(fleet, "node1", "node2", "node3"))
    wait_for_targets(fleet, "machines", {"lb1", "lb2", "node1", "node2", "node3", "watchtower"})


def test_a_fleet_that_is_not_to_be_monitored_any_more_keeps_nothing_of_it(fleet: Fleet) -> None:
    nodes: dict[str, dict[str, object]] = {"node1": {}, "node2": {}, "node3": {}}
    assert deploy(fleet, "playbooks/down.yml", None, "--limit", "watchtower").code == FINE
    assert fleet.monitoring.container_names() == set()
    without = fleet.with_nodes(nodes, without="monitoring")
    deploy(without).assert_ended(FINE, "changed")
    for machine in without.machines:
        assert "flotilla-node-exporter" not in machine.container_names()
        assert machine.listening_ports() & {EXPORTER, METRICS} == set()
    deploy(without).assert_ended(FINE, "unchanged")
    deploy(fleet).assert_ended(FINE, "changed")
    wait_until("all targets are up", lambda: not faults(fleet), 90)
