"""A fault reaches whoever is to be told, and what is done on purpose does not."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from fleet import faults as endpoint_faults
from fleet.deploy import FINE, deploy, state
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import wait_until
from fleet.monitoring import webhook
from fleet.monitoring.prometheus import faults, values

TOLD_SECONDS = 60
PLANNED_SECONDS = 120
"""How long after a run alerts are silent about what it may have done."""


@pytest.fixture(scope="module", autouse=True)
def receiver(fleet: Fleet) -> None:
    """Have the alerts received."""
    webhook.begin(fleet)


def wait_until_alerts_count(fleet: Fleet) -> None:
    """Return once no alert is silent for a run."""
    wait_until("all targets are up", lambda: not faults(fleet), 90)

    def silent() -> bool:
        return any(series["value"] for series in values(fleet, "flotilla:changing"))

    wait_until("alerts count again", lambda: not silent(), PLANNED_SECONDS + 60)


def test_what_is_done_on_purpose_raises_nothing(fleet: Fleet) -> None:
    deploy(fleet, "playbooks/drain.yml", node="node3").assert_ended(FINE, "changed")
    deploy(fleet, "playbooks/undrain.yml", node="node3").assert_ended(FINE, "changed")
    wait_until_alerts_count(fleet)
    assert [alert["labels"] for alert in webhook.told(fleet)] == []


def test_a_killed_endpoint_is_told_within_a_minute_and_resolved_when_it_is_back(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    wait_until_alerts_count(fleet)
    node, slot = fleet.machine("node2"), state(fleet, "lb1")["live_slot"]
    container = f"flotilla-node2-{slot}"
    killed = time.time()
    node.run("docker", "kill", container)
    try:
        firing = {"endpoint": "node2", "severity": "critical"}
        wait_until(
            "the receiver is told",
            lambda: bool(webhook.named(fleet, "EndpointDown", "firing", **firing)),
            TOLD_SECONDS,
        )
        (alert, *_) = webhook.named(fleet, "EndpointDown", "firing", **firing)
        record_property("told_seconds", round(alert["at"] - killed, 1))
        assert "node2" in alert["annotations"]["summary"]
        assert alert["annotations"]["runbook"].startswith("docs/runbook.md#")
    finally:
        node.run("docker", "start", container)
    wait_until(
        "the receiver is told that it is over",
        lambda: bool(webhook.named(fleet, "EndpointDown", "resolved", endpoint="node2")),
        120,
    )
    others = {alert["labels"]["endpoint"] for alert in webhook.named(fleet, "EndpointDown", "firing")}
    assert others == {"node2"}


FULL_SECONDS = 120
DRIFT_SECONDS = 300
"""The scenario's minute of drift, and a rule's that is computed each minute."""
BURN_SECONDS = 240
DISK = "/srv/small"
ROWS = 200


@pytest.fixture
def small_disk(fleet: Fleet) -> Iterator[str]:
    """Give node1 a disk of 16 MB, which node_exporter sees as soon as it is started anew."""
    node = fleet.machine("node1")
    node.run("mkdir", "-p", DISK)
    node.run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", DISK)
    node.run("docker", "restart", "flotilla-node-exporter")
    try:
        yield DISK
    finally:
        node.run("umount", DISK)
        node.run("rmdir", DISK)
        node.run("docker", "restart", "flotilla-node-exporter")


def test_a_full_disk_is_told_and_resolved_when_there_is_room(fleet: Fleet, small_disk: str) -> None:
    disk = {"machine": "node1", "mountpoint": small_disk}
    free = f'node_filesystem_avail_bytes{{mountpoint="{small_disk}"}} / 1e6'
    wait_until("Prometheus sees the disk", lambda: any(found["value"] > 15 for found in values(fleet, free)))
    fleet.machine("node1").run("fallocate", "--length", "15900K", f"{small_disk}/filler")
    wait_until(
        "the receiver is told of the full disk",
        lambda: bool(webhook.named(fleet, "DiskFilling", "firing", severity="critical", **disk)),
        FULL_SECONDS,
    )
    fleet.machine("node1").run("rm", f"{small_disk}/filler")
    wait_until(
        "the receiver is told that there is room",
        lambda: bool(webhook.named(fleet, "DiskFilling", "resolved", **disk)),
        FULL_SECONDS,
    )


def send_rows(fleet: Fleet, rows: list[list[float]], times: int) -> None:
    """Have the fleet predict the same rows again and again, so that each endpoint gets many."""
    for number in range(times):
        url = fleet.urls[number % len(fleet.urls)]
        body = {"model": "iris", "instances": rows}
        answer = requests.post(f"{url}/predict", json=body, timeout=30)
        assert answer.status_code == 200, answer.text


def test_a_drifted_stream_is_told(fleet: Fleet) -> None:
    usual = [[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.0], [5.5, 2.5, 3.9, 1.2]]
    drifted = [[row[0] + 4.0, *row[1:]] for row in usual]
    column = {"model": "iris", "column": "sepal_length"}
    # The window is of 2,000 rows of each of the three endpoints.
    send_rows(fleet, drifted * (ROWS // len(drifted)), 100)
    wait_until(
        "the receiver is told of drift",
        lambda: bool(webhook.named(fleet, "InputDrift", "firing", **column)),
        DRIFT_SECONDS,
    )
    (alert, *_) = webhook.named(fleet, "InputDrift", "firing", **column)
    assert "sepal_length" in alert["annotations"]["summary"]


def test_a_bad_canary_is_told(fleet: Fleet, faulty: Path) -> None:
    with under_load(fleet.urls, rate=50) as load:
        outcome = deploy(
            fleet,
            source=faulty,
            model_endpoint_log_sample=endpoint_faults.FAILING,
            release_canary_percent=50,
        )
        outcome.assert_ended(FINE, "canary")
        try:
            # /predict names the model in its body, which load balancers do not read.
            wait_until(
                "the receiver is told that the budget burns",
                lambda: bool(
                    webhook.named(fleet, "ErrorBudgetBurning", "firing", severity="critical", model="(all)")
                ),
                BURN_SECONDS,
            )
        finally:
            deploy(fleet, "playbooks/rollback.yml")
        load.during(1)
    lost = load.record().lost
    assert lost
    assert {answer.status for answer in lost} == {500}
