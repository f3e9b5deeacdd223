"""What a verdict says, by what a run gave, what failed and what was seen."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from ansible_collections.flotilla.fleet.plugins.callback.verdict import conclude, what_is_live
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.lines import one_line
from ansible_collections.flotilla.fleet.plugins.plugin_utils.output.results import error_message
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.seen import Knowledge, Seen

ROOT = Path(__file__).parents[3]
SECRET = "open-sesame"


def test_a_run_that_ends_before_its_result_has_failed() -> None:
    verdict = conclude({"live": "old"}, {}, {"lb1": "no route"})
    assert verdict["result"] == "failed"
    assert verdict["message"] == "the run ended early; release old is live; left out: lb1"


def test_a_release_that_was_returned_stays_returned_when_its_run_fails() -> None:
    verdict = conclude({"result": "returned", "message": "new was slow; old is live"}, {"lb1": "x"}, {})
    assert (verdict["result"], verdict["message"]) == ("returned", "new was slow; old is live")


def test_hosts_left_out_by_the_run_and_those_out_of_reach_are_counted_once() -> None:
    verdict = conclude({"result": "released", "left_out": ["n2", "n1"]}, {}, {"n2": "x"})
    assert verdict["left_out"] == ["n1", "n2"]


def test_a_host_that_its_message_begins_with_is_not_named_twice() -> None:
    verdict = conclude({"result": "released"}, {"lb1": "lb1: taken", "lb2": "y"}, {})
    assert verdict["message"] == "lb1: taken (and 1 more); what is live was not looked at"


def test_a_host_that_another_host_speaks_of_is_not_named_twice() -> None:
    verdict = conclude({}, {"lb1": "lb2: taken"}, {}, hosts=["lb1", "lb2"])
    assert verdict["message"].startswith("lb2: taken; ")


def test_a_run_that_looked_at_nothing_says_so() -> None:
    verdict = conclude({}, {"lb1": "Missing sudo password"}, {})
    assert verdict["message"] == "lb1: Missing sudo password; what is live was not looked at"
    assert (verdict["result"], verdict["live"]) == ("failed", None)


def test_a_long_error_leaves_room_for_what_is_live() -> None:
    verdict = conclude({}, {"n1": "word " * 200}, {}, Seen("old"))
    assert verdict["message"].endswith("…; release old is live")


def test_a_run_that_was_refused_the_lock_says_so() -> None:
    assert conclude({}, {"lb1": "lb1: taken"}, {}, refused=True)["result"] == "refused"


def test_a_run_that_ends_early_names_what_it_saw() -> None:
    verdict = conclude({}, {"n1": "no"}, {"n2": "away"}, Seen("old", drained=("n3",), down=("n4",)))
    assert verdict["message"] == "n1: no; release old is live; drained: n3; left out: n2, n4"
    assert (verdict["live"], verdict["left_out"]) == ("old", ["n2", "n4"])
    assert what_is_live({}, Seen("")) == "nothing is live"


STATE = {
    "serial": 4,
    "live": {"id": "old"},
    "drained": ["n3"],
    "nodes": {"n1": {"status": "up"}, "n4": {"status": "down"}},
}


def test_the_state_of_the_load_balancer_that_was_written_last_is_what_a_run_saw() -> None:
    knowledge = Knowledge()
    knowledge.learn({"state": STATE, "served": "v"})
    knowledge.learn({"state": {**STATE, "serial": 3, "live": {"id": "older"}}, "served": "v"})
    knowledge.learn({"state": None, "served": ""})
    knowledge.learn({"state": "started"})
    assert knowledge.seen == Seen("old", ("n3",), ("n4",))


def test_the_state_file_of_a_load_balancer_that_refused_the_lock_is_read() -> None:
    knowledge, file = Knowledge(), "/var/lib/flotilla/state.json"
    knowledge.learn({"source": file, "content": "no base64"})
    assert knowledge.seen is None
    knowledge.learn({"source": file, "content": base64.b64encode(json.dumps(STATE).encode()).decode()})
    assert knowledge.seen == Seen("old", ("n3",), ("n4",))


def test_while_the_traffic_changes_nobody_knows_what_is_live() -> None:
    knowledge = Knowledge()
    knowledge.learn({"ansible_facts": {"release_state": STATE, "release_looked": True}})
    knowledge.learn({"ansible_facts": {"__release_next": {**STATE, "serial": 5}}})
    assert knowledge.seen == Seen("old", ("n3",), ("n4",))
    knowledge.learn({"ansible_facts": {"__release_next": {**STATE, "live": {"id": "new"}}}})
    assert knowledge.seen is None
    knowledge.learn({"ansible_facts": {"release_state": {**STATE, "live": {"id": "new"}}}})
    assert knowledge.seen == Seen("new", ("n3",), ("n4",))


def test_a_state_that_nobody_looked_at_is_not_known() -> None:
    knowledge = Knowledge()
    knowledge.learn({"ansible_facts": {"release_state": {**STATE, "live": None}, "release_looked": False}})
    assert knowledge.seen is None


def test_the_line_is_one_line_however_long_the_message() -> None:
    assert one_line("a\n  b") == "a b"
    assert len(one_line("word " * 200)) == 300


def test_the_failed_item_of_a_loop_is_found_as_each_ansible_core_marks_it() -> None:
    good, bad = {"rc": 0, "msg": ""}, {"rc": 3, "msg": "The command failed.", "stderr": "first\nthe cause"}
    for mark in ({"failed": True}, {"exception": "(traceback unavailable)"}):
        result = {"msg": "One or more items failed", "results": [good, {**bad, **mark}]}
        assert error_message(result, "Try", hidden=False) == "The command failed: the cause"
