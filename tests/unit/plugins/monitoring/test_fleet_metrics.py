"""The metrics that runs leave for node_exporter."""

from __future__ import annotations

import pathlib
import re
from typing import Any

from ansible_collections.flotilla.fleet.plugins.module_utils.lock_metrics import (
    metrics_text,
    run_metrics,
    write_lock_metrics,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.fleet_metrics import (
    difference_metrics,
    fleet_metrics_step,
)

from watched_fleet import GROUPS, HOSTVARS, candidate, entry, state

LINE = re.compile(r"(?P<name>[a-z_]+(\{.*\})?) (?P<value>\S+)")


def read(text: str) -> dict[str, float]:
    """Return the values by name and labels."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = [match for line in lines if (match := LINE.fullmatch(line))]
    assert len(found) == len(lines)
    return {match["name"]: float(match["value"]) for match in found}


def left(result: str = "released", faults: list[str] | None = None, **facts: Any) -> dict[str, float]:
    """Return the metrics that a run leaves whose hosts have these `facts`, except for those of the run itself."""
    known = {"release_plan": {"operation": "deploy", "node": ""}, "release_state": state(), **facts}
    hostvars: Any = {name: {**variables, **known} for name, variables in HOSTVARS.items()}
    outcome: Any = {"verdict": {"result": result}, "faults": faults or []}
    files = fleet_metrics_step(hostvars, GROUPS, ["lb1"], outcome, "site.yml", 5000.5)
    assert {file["path"].rpartition("/")[0] for file in files} == {"/var/lib/flotilla/metrics"}
    return {name: value for file in files for name, value in read(file["content"]).items()}


def test_a_run_leaves_what_is_live_and_how_the_nodes_are() -> None:
    nodes = {"node1": entry(), "node2": entry("down")}
    found = left(release_state=state(nodes=nodes, candidate=candidate("r2", ["node1"])))
    info = [name for name in found if name.startswith("flotilla_fleet_last_run_info{")]
    assert len(info) == 1
    assert 'playbook="site.yml"' in info[0]
    assert 'outcome="released"' in info[0]
    assert {name: value for name, value in found.items() if name not in info} == {
        'flotilla_fleet_live_release_info{release="r1"}': 1,
        "flotilla_fleet_live_since_timestamp_seconds": 1000,
        'flotilla_fleet_nodes{state="wanted"}': 2,
        'flotilla_fleet_nodes{state="up"}': 1,
        'flotilla_fleet_nodes{state="down"}': 1,
        'flotilla_fleet_nodes{state="drained"}': 0,
        "flotilla_fleet_min_nodes": 1,
        "flotilla_fleet_candidate_since_timestamp_seconds": 2000,
        "flotilla_fleet_candidate_percent": 5,
        "flotilla_fleet_last_run_timestamp_seconds": 5000.5,
        "flotilla_fleet_last_run_failed": 0,
    }


def test_a_drained_node_is_neither_up_nor_down_and_a_removed_one_is_not_wanted() -> None:
    found = left(release_state=state(drained=["node2"]))
    assert found['flotilla_fleet_nodes{state="up"}'] == 1
    assert found['flotilla_fleet_nodes{state="drained"}'] == 1
    assert found['flotilla_fleet_nodes{state="down"}'] == 0
    removed = left(
        release_plan={"operation": "remove", "node": "node2"},
        release_state=state(nodes={"node1": entry()}),
    )
    assert removed['flotilla_fleet_nodes{state="wanted"}'] == 1


def test_a_run_that_did_not_do_what_it_was_to_do_has_failed() -> None:
    assert left()["flotilla_fleet_last_run_failed"] == 0
    assert left("unchanged")["flotilla_fleet_last_run_failed"] == 0
    for result in ("failed", "refused", "returned"):
        assert left(result)["flotilla_fleet_last_run_failed"] == 1
    assert left(faults=["node1: its container still runs"])["flotilla_fleet_last_run_failed"] == 1


def test_a_run_that_looked_at_no_load_balancer_says_nothing_of_the_fleet() -> None:
    assert {name.partition("{")[0] for name in left(release_looked=False)} == {
        "flotilla_fleet_last_run_timestamp_seconds",
        "flotilla_fleet_last_run_failed",
        "flotilla_fleet_last_run_info",
    }


def test_a_label_can_hold_any_text() -> None:
    text = run_metrics("1", "site.yml", 'a "b"\\\n', "failed", failed=True)
    assert text.splitlines()[-1] == (
        'flotilla_fleet_last_run_info{playbook="site.yml",operator="a \\"b\\"\\\\\\n",outcome="failed"} 1'
    )


def test_metrics_of_one_name_have_one_heading() -> None:
    text = metrics_text([("a", "A.", {"x": "1"}, 1), ("a", "A.", {"x": "2"}, 2), ("b", "B.", {}, 3)])
    assert text.splitlines() == [
        *("# HELP a A.", "# TYPE a gauge", 'a{x="1"} 1', 'a{x="2"} 2'),
        *("# HELP b B.", "# TYPE b gauge", "b 3"),
    ]


def test_a_comparison_leaves_how_much_differs_and_when_that_was_seen() -> None:
    (file,) = difference_metrics([{"host": "node1"}, {"host": "node2"}], 70.0)
    assert read(file["content"]) == {
        "flotilla_fleet_differences": 2,
        "flotilla_fleet_differences_seen_timestamp_seconds": 70,
    }


def test_the_lock_s_metrics_are_written_only_where_metrics_are_collected(tmp_path: pathlib.Path) -> None:
    write_lock_metrics(tmp_path, 10, 20)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "metrics").mkdir()
    write_lock_metrics(tmp_path, 10, 20)
    assert read((tmp_path / "metrics" / "lock.prom").read_text()) == {
        "flotilla_fleet_lock_since_timestamp_seconds": 10,
        "flotilla_fleet_changing_timestamp_seconds": 20,
    }


def test_a_lock_whose_metrics_can_t_be_written_is_a_lock_all_the_same(tmp_path: pathlib.Path) -> None:
    (tmp_path / "metrics" / "lock.prom").mkdir(parents=True)
    write_lock_metrics(tmp_path, 10, 20)
