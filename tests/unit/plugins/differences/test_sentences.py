"""What a run in check mode would do is told in a sentence for each group of hosts, or in one that says nothing."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.differences.sentences import sentences

from unit.plugins.differences.fleet import GROUPS, LIVE, compared, fleet

PLAN: dict[str, Any] = {"target": None, "steps": [], "shadow": 0.0, "target_slot": "blue"}
NODES = GROUPS["model_nodes"]


def told(plan: dict[str, Any], differences: Any = ()) -> list[str]:
    return sentences({**PLAN, **plan}, NODES, differences)  # type: ignore[typeddict-item]


def test_where_nothing_differs_nothing_would_change() -> None:
    assert told({}, compared(fleet())) == ["nothing would change"]


def test_a_difference_that_no_run_mends_would_stay() -> None:
    hostvars = fleet()
    hostvars["node2"]["flotilla_machine"]["clock"] += 100
    assert told({}, compared(hostvars)) == ["nothing would change"]


def test_hosts_that_would_change_alike_share_a_sentence_and_changes_of_a_kind_are_counted() -> None:
    hostvars = fleet()
    for host in ("cohosted", "node2"):
        found = hostvars[host]["flotilla_machine"]
        found["files"] = {path: state for path, state in found["files"].items() if "certs.d" not in path}
    hostvars["lb2"]["flotilla_machine"]["served"] = "v0"
    hostvars["node2"]["flotilla_machine"]["containers"]["flotilla-node2-green"]["running"] = False
    assert told({}, compared(hostvars)) == [
        "cohosted: would write 3 certificates",
        "node2: would write 3 certificates, start the container flotilla-node2-green",
        "lb2: would reload Nginx",
    ]
    hostvars["node2"]["flotilla_machine"]["containers"]["flotilla-node2-green"]["running"] = True
    assert told({}, compared(hostvars))[0] == "cohosted, node2: would write 3 certificates"


def test_a_release_is_told_with_what_it_would_get() -> None:
    def release(percent: float, shadow: float = 0.0) -> str:
        (line,) = told({"target": LIVE, "steps": [{"percent": percent}], "shadow": shadow})
        return line

    started = f"release {LIVE['id']} would be started on node1, cohosted, node2 in the blue slots and get"
    assert release(100) == f"{started} all requests"
    assert release(5) == f"{started} 5 % of the requests"
    assert release(0, 10) == f"{started} no request and copies of 10 %, as a shadow"


def test_a_release_takes_the_place_of_live_containers_that_differ() -> None:
    hostvars = fleet()
    hostvars["node2"]["flotilla_machine"]["containers"]["flotilla-node2-green"]["running"] = False
    hostvars["lb2"]["flotilla_machine"]["served"] = "v0"
    lines = told({"target": LIVE, "steps": [{"percent": 100}]}, compared(hostvars))
    assert lines[1:] == ["lb2: would reload Nginx"]
