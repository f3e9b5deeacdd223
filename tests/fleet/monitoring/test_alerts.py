"""A fault reaches whoever is to be told, and what is done on purpose does not."""

import time
from collections.abc import Callable

import pytest

from fleet.deploy import FINE, deploy, state
from fleet.fleet import Fleet
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
