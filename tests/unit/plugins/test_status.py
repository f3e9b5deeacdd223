"""What a person sees of a fleet, and of what has been done to it."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    certificate_pem,
    issue,
    make_authority,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.status import (
    FleetStatus,
    fleet_status,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.status_table import status_table, status_verdict

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


READY = {"ready": True, "in_flight": 2, "certificate_end": NOW + 31 * 86400, "error": ""}
TIMED_OUT = {"ready": False, "in_flight": None, "error": "timed out"}


def balancer(live: dict[str, Any], candidate: dict[str, Any] | None = None) -> dict[str, Any]:
    """A load balancer's facts, with what it has seen of the endpoints of either release, by node."""
    slots = {"new": live} | ({"next": candidate} if candidate else {})
    results = [{"item": {"release": release}, "endpoints": seen} for release, seen in slots.items()]
    return {**machine(), "release_probes": {"results": results}}


HOSTVARS: dict[str, dict[str, Any]] = {
    "lb1": balancer({"n1": READY, "n2": READY}),
    "lb2": balancer({"n1": READY, "n2": TIMED_OUT}),
    "n1": {**machine(n1_green=("new", True), n1_blue=("old", False)), "model_endpoint_weight": "3"},
    "n2": machine(n2_green=("new", True)),
    "n3": machine(),
}
NO_REQUESTS: dict[str, Any] = {"slots": {}, "endpoints": {}, "releases": {}}


def status(**changes: Any) -> FleetStatus:
    arguments: dict[str, Any] = {
        "hostvars": HOSTVARS,
        "groups": GROUPS,
        "in_scope": ["lb1", "lb2", "n1", "n2", "n3"],
        "reached": ["lb1", "lb2", "n1", "n2", "n3"],
        "state": STATE,
        "samples": [],
        "older_samples": [],
        "differences": [],
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
        "requests_per_second": 0.0,
        "failure_share": 0.0,
        "certificate_end": NOW + 31 * 86400,
        "last_seen": NOW,
    }


def test_a_node_that_is_not_right_says_why() -> None:
    down = {"status": "down", "share": 100, "since": 1, "reason": "it can't be reached"}
    found = status(state={**STATE, "nodes": {"n2": down}})["nodes"]
    assert (found["n2"]["state"], found["n2"]["reason"]) == ("down", "it can't be reached")
    assert found["n2"]["health"] == "lb2: timed out"
    assert (found["n3"]["state"], found["n3"]["health"]) == ("not in the traffic", "")
    assert (found["n3"]["live"], found["n3"]["in_flight"]) == ("", None)


def test_drained_is_drained_by_the_playbook_or_by_the_inventory() -> None:
    hostvars = {**HOSTVARS, "n2": {**HOSTVARS["n2"], "model_endpoint_state": "drained"}}
    found = status(state={**STATE, "drained": ["n1"]}, hostvars=hostvars)["nodes"]
    assert [node["state"] for node in found.values()] == ["drained", "drained", "not in the traffic"]


def test_a_node_that_can_t_be_reached_was_last_seen_when_it_last_answered() -> None:
    counts = {"requests": 1, "failures": 0}
    answered = [
        {**NO_REQUESTS, "endpoints": {"n2": {**counts, "last": NOW - 60}}},
        {**NO_REQUESTS, "endpoints": {"n1": {**counts, "last": NOW - 5}, "n2": {**counts, "last": NOW - 30}}},
    ]
    whole = status(reached=["lb1", "lb2"], older_samples=answered)
    assert [line.split("  ")[0] for line in status_table(whole) if "not looked at" in line] == [
        "n1",
        "n2",
        "n3",
    ]
    assert any("seen 07:59:30Z" in line for line in status_table(whole))
    found = whole["nodes"]
    assert found["n1"]["last_seen"] == NOW  # a load balancer found it ready just now
    assert found["n2"]["last_seen"] == NOW - 30
    assert found["n3"]["last_seen"] is None
    assert found["n2"]["live"] == ""  # what it runs is not known


def test_the_releases_and_the_load_balancers() -> None:
    candidate = {"release": {"id": "next"}, "percent": 12.5, "shadow": 0, "nodes": ["n1"]}
    found = status(state={**STATE, "candidate": candidate}, reached=["lb1", "n1"])
    assert (found["live"], found["live_slot"], found["previous"]) == ("new", "green", ["old", "older"])
    assert found["candidate"] == {"release": "next", "percent": 12.5, "shadow": 0}
    assert found["load_balancers"] == {
        "lb1": {"asked": True, "reached": True, "serves": "v1", "holds": "", "certificate_end": None},
        "lb2": {"asked": True, "reached": False, "serves": "", "holds": "", "certificate_end": None},
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
    assert "lb1 does not serve, lb2 does not serve and holds 10.0.0.100; lock free" in status_table(found)


DAY = 86400
CERTIFICATE = issue(make_authority("test"), "frontend", "server", [], ["models.example"])[0]
END = CERTIFICATE.not_valid_after_utc.timestamp()


def test_the_end_of_the_certificate_that_clients_see_is_told() -> None:
    shown = {"certificate": certificate_pem(CERTIFICATE)}
    hostvars = HOSTVARS | {"lb2": {"flotilla_machine": {**machine()["flotilla_machine"], **shown}}}
    assert status(hostvars=hostvars)["load_balancers"]["lb2"]["certificate_end"] == END


def test_the_status_is_json() -> None:
    assert json.loads(json.dumps(status())) == status()


CANDIDATE = {"release": {"id": "next"}, "percent": 12.5, "shadow": 0, "nodes": ["n1"]}
SAMPLE = {
    "slots": {
        "green": {"requests": 600, "failures": 6, "histogram": {"100": 600}},
        "blue": {"requests": 60, "failures": 0, "histogram": {"200": 60}},
    },
    "endpoints": {"n1": {"requests": 660, "failures": 6, "last": NOW}},
    "releases": {},
}
DIFFERENCE = {
    "host": "n2",
    "thing": "clock",
    "wanted": "within 5 s",
    "found": "9 s ahead",
    "mended_by": "",
    "change": "",
}
MENDED = {
    **DIFFERENCE,
    "thing": "firewall",
    "wanted": "in place",
    "found": "missing",
    "mended_by": "site.yml",
}


def test_the_table() -> None:
    state = {**STATE, "candidate": CANDIDATE, "drained": ["n3"]}
    reached = ["lb1", "n1", "n2", "n3"]
    found = status(state=state, reached=reached, samples=[SAMPLE], differences=[DIFFERENCE, MENDED])
    assert status_table(found) == [
        "live: new (green), canary: next gets 12.5 %, drained: 1, before: old, older",
        "lb1 serves v1, lb2 not looked at; lock free",
        "new: 10.0 req/s, 1.0 % failed, p95 7 ms; next: 1.0 req/s, 0.0 % failed, p95 54 ms",
        "node  state      weight  live  other slot  health  req/s  failed  in flight",
        "n1    up         3       new   (old)       ready   11.0   0.9 %   2",
        "n2    up (25 %)  1       new   -           ready   0.0    0.0 %   2",
        "n3    drained    1       -     -           -       0.0    0.0 %   -",
        "n2: clock: wanted within 5 s, found 9 s ahead",
        "n2: firewall: wanted in place, found missing: site.yml",
        "2 differences: run site.yml, no run mends 1 of them",
    ]


def test_one_difference_that_no_run_mends_is_told_as_such() -> None:
    assert status_verdict(status(differences=[DIFFERENCE])) == "1 difference: no run mends it"


def test_a_shadow_is_called_a_shadow() -> None:
    shadow = {**CANDIDATE, "percent": 0.0, "shadow": 10}
    lines = status_table(status(state={**STATE, "candidate": shadow}))
    assert lines[0].startswith("live: new (green), shadow: next gets copies of 10 %")


def test_both_releases_of_a_canary_are_to_be_ready() -> None:
    hostvars = {**HOSTVARS, "lb1": balancer({"n1": READY}, {"n1": TIMED_OUT}), "lb2": balancer({"n1": READY})}
    found = status(hostvars=hostvars, state={**STATE, "candidate": CANDIDATE})
    assert found["nodes"]["n1"]["health"] == "lb1: timed out"


def test_what_no_load_balancer_has_looked_at_does_not_look_fine() -> None:
    nodes = ["n1", "n2", "n3"]
    found = status(reached=nodes)
    lines = status_table(found)
    assert lines[0] == "live: not looked at, as no load balancer could be reached"
    assert lines[1] == "lb1 not looked at, lb2 not looked at; lock not looked at"
    assert lines[2] == "requests: not looked at"
    assert found["nodes"]["n1"]["health"] == found["nodes"]["n1"]["state"] == "not looked at"
    # Nobody has tried to reach them where --limit leaves them out.
    limited = status_table(status(in_scope=nodes, reached=nodes))
    assert limited == ["live: not looked at, as --limit names no load balancer", *lines[1:]]


def test_twenty_nodes_fit_on_a_screen() -> None:
    names = [f"node{number}" for number in range(20)]
    up = dict.fromkeys(names, UP)
    hostvars = HOSTVARS | dict.fromkeys(names, machine()) | {"lb1": balancer(dict.fromkeys(names, TIMED_OUT))}
    groups = {**GROUPS, "model_nodes": names}
    release = {"id": "0123456789ab"}
    state = {**STATE, "nodes": up, "live": release, "candidate": {**CANDIDATE, "release": release}}
    found = status(hostvars=hostvars, groups=groups, reached=["lb1", *names], state=state, samples=[SAMPLE])
    lines = status_table(found)
    *table, verdict = lines
    assert verdict == status_verdict(found) == "nothing differs from what the inventory and the state want"
    assert len(table) <= 24
    assert max(map(len, lines)) <= 100


def test_the_table_of_a_fleet_without_a_release() -> None:
    empty = {**STATE, "live_slot": "blue", "live": None, "previous": [], "nodes": {}}
    bare = dict.fromkeys(HOSTVARS, machine())
    lines = status_table(status(state=empty, hostvars=bare))
    assert lines[0] == "live: nothing (blue), before: nothing"
    assert "no traffic" in lines[-2]
