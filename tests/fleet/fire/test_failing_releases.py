"""A release that is not right goes live nowhere, and the fleet serves on as if it had not been tried."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fleet import faults
from fleet.deploy import FAILED, Outcome, assert_live, configurations, deploy, state
from fleet.fleet import Fleet
from fleet.load import Load, under_load
from fleet.machine import Machine

# What the registry is asked through, from other machines; the builder itself still reaches it.
REFUSAL = ("DOCKER-USER", "-p", "tcp", "-m", "conntrack", "--ctorigdstport", "5000", "-j", "REJECT")
SPARE_BYTES = 4 << 20


def assert_untouched(fleet: Fleet, first: str, load: Load, outcome: Outcome) -> None:
    """Check that nothing is left of the release that failed."""
    outcome.assert_ended(FAILED, "failed")
    assert outcome.verdict["live"] == first
    assert_live(fleet, first, load.record())
    content = state(fleet, fleet.load_balancer.name)
    kept = {release["id"] for release in [content["live"], *content["previous"]]}
    for node in fleet.nodes:
        assert node.endpoints().keys() <= kept, node.name


# The first two come before any node has the image of the new model.
def test_a_release_without_a_registry_fails_at_stage(fleet: Fleet, first: str, new_model: Path) -> None:
    builder = fleet.load_balancer
    with under_load(fleet.urls) as load:
        builder.run("iptables", "-I", *REFUSAL)
        try:
            outcome = deploy(fleet, source=new_model)
        finally:
            builder.run("iptables", "-D", *REFUSAL)
        assert_untouched(fleet, first, load, outcome)
    assert f"{builder.address}:5000" in outcome.output
    load.record().assert_nothing_lost()


def fill_disk(machine: Machine, path: str, spare_bytes: int) -> str:
    """Fill the disk below a path but for some bytes and return the file that does."""
    free = int(machine.run("df", "--block-size=1", "--output=avail", path).split()[-1])
    filler = f"{path}/filler"
    machine.run("fallocate", "--length", str(free - spare_bytes), filler)
    return filler


def test_a_full_disk_on_one_node_is_named(fleet: Fleet, first: str, new_model: Path) -> None:
    node = fleet.machine("node3")
    with under_load(fleet.urls) as load:
        filler = fill_disk(node, "/var/lib/docker", SPARE_BYTES)
        try:
            outcome = deploy(fleet, source=new_model)
        finally:
            node.run("rm", filler)
        assert_untouched(fleet, first, load, outcome)
    assert re.search(r"node3: .*/var/lib/docker", outcome.verdict["message"])
    load.record().assert_nothing_lost()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model_endpoint_log_sample": faults.WRONG}, r"node\d: .*iris"),
        (
            {"model_endpoint_log_sample": faults.TARDY, "model_endpoint_answer_seconds": 0.2},
            r"took 0\.\d+ s, 0\.20? s are allowed",
        ),
    ],
    ids=["wrong", "slow"],
)
def test_a_release_whose_model_answers_wrong_or_slowly_fails_the_gate(
    fleet: Fleet, first: str, faulty: Path, settings: Mapping[str, Any], said: str
) -> None:
    with under_load(fleet.urls) as load:
        outcome = deploy(fleet, source=faulty, **settings)
        assert_untouched(fleet, first, load, outcome)
    assert re.search(said, outcome.output)
    load.record().assert_nothing_lost()


def test_a_release_that_never_gets_ready_on_one_node_fails_the_gate(
    fleet: Fleet, first: str, faulty: Path
) -> None:
    stuck = fleet.with_nodes(
        {"node1": {}, "node2": {"model_endpoint_log_sample": faults.STUCK}, "node3": {}},
    )
    with under_load(fleet.urls) as load:
        outcome = deploy(stuck, source=faulty, model_endpoint_ready_timeout=10)
        assert_untouched(fleet, first, load, outcome)
    assert "node2: " in outcome.verdict["message"]
    load.record().assert_nothing_lost()


def test_an_nginx_configuration_that_does_not_pass_its_test_is_used_nowhere(fleet: Fleet, first: str) -> None:
    # The first load balancer has something to reload for; it must not, as the second can't follow.
    heavier = fleet.with_nodes(
        {"node1": {"model_endpoint_weight": 2}, "node2": {}, "node3": {}},
        {"lb2": {"nginx_lb_body_limit": "plenty"}},
    )
    before = configurations(fleet)
    with under_load(fleet.urls) as load:
        outcome = deploy(heavier)
        assert_untouched(fleet, first, load, outcome)
        since = time.time()
        load.during(4)
        fleet.assert_shared(load.record().between(since).by_endpoint())
    assert configurations(fleet) == before
    assert re.search(
        r'lb2: .*"client_max_body_size" directive invalid value', " ".join(outcome.output.split())
    )
    load.record().assert_nothing_lost()
