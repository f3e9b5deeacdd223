"""What a person sees of a fleet, and of what has been done to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.status import (
    FleetStatus,
    certificate_warnings,
    fleet_status,
    status_table,
)

NOW = 1_800_000_000.0
GROUPS = {"load_balancers": ["lb1", "lb2"], "model_nodes": ["n1", "n2", "n3"]}
UP = {"status": "up", "share": 100, "since": 1, "reason": ""}
STATE: dict[str, Any] = {
    "serial": 4,
    "live_slot": "green",
    "live": {"id": "new"},
    "candidate": None,
    "previous": [{"id": "old"}, {"id": "older"}],
    "nodes": {"n1": UP, "n2": {**UP, "share": 25}},
    "drained": [],
}


def machine(**containers: tuple[str, bool]) -> dict[str, Any]:
    """A machine's facts, from containers as n1_green=("new", True): release, and whether it runs."""
    return {
        "flotilla_machine": {
            "served": "v1",
            "containers": {
                f"flotilla-{name.replace('_', '-')}": {
                    "running": runs,
                    "labels": {"flotilla.release": release},
                }
                for name, (release, runs) in containers.items()
            },
        }
    }


HOSTVARS: dict[str, dict[str, Any]] = {
    "lb1": machine(),
    "lb2": machine(),
    "n1": {**machine(n1_green=("new", True), n1_blue=("old", False)), "model_endpoint_weight": "3"},
    "n2": machine(n2_green=("new", True)),
    "n3": machine(),
}
READY = {"ready": True, "in_flight": 2, "certificate_end": NOW + 31 * 86400, "error": ""}
PROBED = {"n1": READY, "n2": {"ready": False, "in_flight": None, "error": "timed out"}}


def status(**changes: Any) -> FleetStatus:
    arguments: dict[str, Any] = {
        "hostvars": HOSTVARS,
        "groups": GROUPS,
        "reached": ["lb1", "lb2", "n1", "n2", "n3"],
        "state": STATE,
        "probed": PROBED,
        "samples": [],
        "now": NOW,
    }
    return fleet_status(**{**arguments, **changes})


def test_a_node_s_line_says_what_it_runs_and_how_it_is() -> None:
    assert status()["nodes"]["n1"] == {
        "state": "up",
        "reason": "",
        "weight": 3,
        "share": 100,
        "live": "new",
        "staged": "(old)",
        "reached": True,
        "health": "ready",
        "in_flight": 2,
        "certificate_end": NOW + 31 * 86400,
        "last_seen": NOW,
    }


def test_a_node_that_is_not_right_says_why() -> None:
    down = {"status": "down", "share": 100, "since": 1, "reason": "it can't be reached"}
    found = status(state={**STATE, "nodes": {"n2": down}})["nodes"]
    assert (found["n2"]["state"], found["n2"]["reason"]) == ("down", "it can't be reached")
    assert found["n2"]["health"] == "timed out"
    assert (found["n3"]["state"], found["n3"]["health"]) == ("not in the traffic", "not ready")
    assert (found["n3"]["live"], found["n3"]["in_flight"]) == ("", None)


def test_drained_is_drained_by_the_playbook_or_by_the_inventory() -> None:
    hostvars = {**HOSTVARS, "n2": {**HOSTVARS["n2"], "model_endpoint_state": "drained"}}
    found = status(state={**STATE, "drained": ["n1"]}, hostvars=hostvars)["nodes"]
    assert [node["state"] for node in found.values()] == ["drained", "drained", "not in the traffic"]


def test_a_node_that_can_t_be_reached_was_last_seen_when_it_last_answered() -> None:
    answered = [
        {"endpoints": {"n2": {"last": NOW - 60}}},
        {"endpoints": {"n1": {"last": NOW - 5}, "n2": {"last": NOW - 30}}},
    ]
    found = status(reached=["lb1", "lb2"], samples=answered)["nodes"]
    assert found["n1"]["last_seen"] == NOW  # a load balancer found it ready just now
    assert found["n2"]["last_seen"] == NOW - 30
    assert found["n3"]["last_seen"] is None
    assert found["n2"]["live"] == ""  # what it runs is not known


def test_the_releases_and_the_load_balancers() -> None:
    candidate = {"release": {"id": "next"}, "percent": 12.5, "shadow": 0, "nodes": ["n1"]}
    found = status(state={**STATE, "candidate": candidate}, reached=["lb1", "n1"])
    assert (found["live"], found["live_slot"], found["previous"]) == ("new", "green", ["old", "older"])
    assert found["candidate"] == {"release": "next", "percent": 12.5}
    assert found["load_balancers"] == {
        "lb1": {"reached": True, "serves": "v1", "holds": "", "certificate_end": None},
        "lb2": {"reached": False, "serves": "", "holds": "", "certificate_end": None},
    }


def test_the_load_balancer_that_has_the_virtual_address_holds_it() -> None:
    address = {"virtual_address_ip": "10.0.0.100/24"}
    seen = {"lb1": {"10.0.0.1": "eth0"}, "lb2": {"10.0.0.2": "eth0", "10.0.0.100": "eth0"}}
    hostvars = dict(HOSTVARS) | {
        name: {**HOSTVARS[name], **address, "flotilla_machine": {**machine(), "addresses": addresses}}
        for name, addresses in seen.items()
    }
    found = status(hostvars=hostvars)
    assert {name: lb["holds"] for name, lb in found["load_balancers"].items()} == {
        "lb1": "",
        "lb2": "10.0.0.100",
    }
    assert "load balancer lb2: does not serve, holds 10.0.0.100" in status_table(found)


DAY = 86400
CERTIFICATE = issue(make_authority("test"), "frontend", "server", [], ["models.example"])[0]
END = CERTIFICATE.not_valid_after_utc.timestamp()


def with_certificate(days_left: float, *names: str) -> FleetStatus:
    """The status so long before the end of the certificate that these load balancers show."""
    shown = {"certificate": certificate_pem(CERTIFICATE)}
    hostvars = HOSTVARS | {
        name: {"flotilla_machine": {**machine()["flotilla_machine"], **shown}} for name in names
    }
    return status(hostvars=hostvars, probed={}, now=END - days_left * DAY)


def test_the_end_of_a_certificate_is_told() -> None:
    found = with_certificate(31, "lb2")
    assert found["load_balancers"]["lb2"]["certificate_end"] == END
    assert found["warnings"] == []
    line = f"load balancer lb2: serves v1, certificate until {CERTIFICATE.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}"
    assert line in status_table(found)


@pytest.mark.parametrize(
    ("days_left", "words"),
    [(29.5, "ends in 29 days"), (1.5, "ends in 1 day ("), (0.5, "ends in 0 days"), (-1, "has ended")],
)
def test_a_certificate_that_ends_soon_is_warned_of(days_left: float, words: str) -> None:
    found = with_certificate(days_left, "lb1", "lb2")
    (warning,) = found["warnings"]
    assert warning.startswith(f"lb1, lb2: the certificate that clients see {words}")
    assert f"warning: {warning}" in status_table(found)


def test_a_run_warns_of_what_it_gave_the_load_balancers_to_show() -> None:
    text = certificate_pem(CERTIFICATE)
    own = {"nginx_lb_tls": "own", "nginx_lb_tls_certificate": text}
    issued = {"internal_ca_issued": {"certificates": {"frontend-lb2": {"certificate": text}}}}
    for variables, warned in (
        (own, True),
        ({"nginx_lb_tls": "internal", **issued}, True),
        ({"nginx_lb_tls": "internal"}, False),  # this run has had nothing issued
        ({**own, "nginx_lb_tls": "off"}, False),
    ):
        found = certificate_warnings({"lb1": {}, "lb2": variables}, ["lb1", "lb2"], END - DAY)
        assert [line.partition(":")[0] for line in found] == (["lb2"] if warned else [])


def test_the_status_is_json() -> None:
    assert json.loads(json.dumps(status())) == status()


def test_a_certificate_that_ends_within_a_month_is_told() -> None:
    soon = {**PROBED, "n2": {**READY, "certificate_end": NOW + 29 * 86400}}
    told = [line for line in status_table(status(probed=soon)) if "certificate" in line]
    assert len(told) == 1
    assert told[0].startswith("warning: the certificate of n2 ends at ")
    assert told[0].endswith(": run site.yml, which issues another")


def test_the_table() -> None:
    candidate = {"release": {"id": "next"}, "percent": 12.5, "shadow": 0, "nodes": ["n1"]}
    lines = status_table(status(state={**STATE, "candidate": candidate}, reached=["lb1", "n1", "n2"]))
    assert lines == [
        "live: new (green)",
        "canary: next gets 12.5 % of the requests",
        "to go back to: old, older",
        "load balancer lb1: serves v1",
        "load balancer lb2: does not serve",
        "",
        "node  state               weight  live  staged  health     in flight  last seen",
        "n1    up                  3       new   (old)   ready      2          2027-01-15 08:00:00Z",
        "n2    up (25 %)           1       new   -       timed out  -          2027-01-15 08:00:00Z",
        "n3    not in the traffic  1       -     -       not ready  -          unknown",
    ]


def test_the_table_of_a_fleet_without_a_release() -> None:
    empty = {**STATE, "live_slot": "blue", "live": None, "previous": [], "nodes": {}}
    bare = dict.fromkeys(HOSTVARS, machine())
    lines = status_table(status(state=empty, hostvars=bare, probed={}))
    assert lines[:2] == ["live: nothing (blue)", "to go back to: nothing"]
    assert "not in the traffic" in lines[-1]
