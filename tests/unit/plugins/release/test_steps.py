"""What the steps of a run tell each other, and when a release is returned."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import gets_traffic, latest_state
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.commit import commit_step
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import present_balancers
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.traffic import (
    apply_errors,
    rotate_step,
    sync_step,
    undo_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.watch import (
    answering_step,
    judge_step,
)

from unit.plugins.release.fleet import STEPS, Fleet, Run, begins_at_once


def test_load_balancers_serve_the_baseline_unless_one_serves_something_else_or_a_canary_goes(
    fleet: Fleet,
) -> None:
    def machine(**changed: Any) -> dict[str, Any]:
        return {"state": {**fleet.state, "version": "v1", **changed}, "served": "v1"}

    assert begins_at_once(fleet, machine(), machine())
    assert not begins_at_once(fleet, machine(), machine(version="v2"))
    assert not begins_at_once(fleet, machine(), machine(serial=0))
    assert not begins_at_once(fleet, machine(), {"state": None, "served": ""})
    fleet.image = "image-2"
    fleet.run(canary_percent=20)
    assert not begins_at_once(fleet, machine(), operation="rollback")
    assert latest_state({"lb": machine()["state"]}) == fleet.state


def balancers(**facts: Any) -> dict[str, Any]:
    """The facts of two load balancers, those of lb2 given, and of a node."""
    common = {"release_state": "old", "release_failure": "", "release_result": ""}
    return {
        "lb1": {**common, "release_state": "new", "flotilla_machine": {"addresses": {"10.0.0.9": "eth0"}}}
        | {"virtual_address_ip": "10.0.0.9/24"},
        "lb2": {**common, "release_state": "new", "virtual_address_ip": "10.0.0.9/24", **facts},
        "n1": common,
    }


TWO_BALANCERS = {"load_balancers": ["lb1", "lb2"], "model_nodes": ["n1"]}


def test_the_load_balancer_that_holds_the_address_is_changed_last() -> None:
    hostvars: Any = balancers()
    assert present_balancers(hostvars, TWO_BALANCERS, ["n1", "lb1", "lb2"]) == ["lb2", "lb1"]
    assert present_balancers(hostvars, TWO_BALANCERS, ["n1", "lb1"]) == ["lb1"]


def test_all_hosts_hear_of_the_state_the_failure_and_the_result_of_the_load_balancers() -> None:
    hostvars: Any = balancers(release_failure="lb2: no", release_result="returned")
    synced: Any = sync_step(hostvars, TWO_BALANCERS, ["n1", "lb1", "lb2"])
    assert synced == {"state": "new", "failure": "lb2: no", "result": "returned"}
    hostvars["lb1"]["release_failure"] = "lb1: no"
    assert sync_step(hostvars, TWO_BALANCERS, ["n1", "lb1"])["failure"] == "lb1: no"
    # Without a load balancer the hosts go on with what they know.
    unheard: Any = sync_step(hostvars, TWO_BALANCERS, ["n1"])
    assert unheard == {"state": "old", "failure": "", "result": ""}


def test_a_state_that_a_load_balancer_refused_is_an_error_of_that_load_balancer() -> None:
    hostvars: Any = balancers(release_apply_error="lb2: Nginx refuses it")
    assert apply_errors(hostvars, TWO_BALANCERS, ["lb1", "lb2"]) == ["lb2: Nginx refuses it"]
    assert apply_errors(hostvars, TWO_BALANCERS, ["lb1"]) == []


def test_a_rotation_stops_where_a_host_is_missing() -> None:
    assert rotate_step(TWO_BALANCERS, ["lb1", "lb2", "n1"]) == ""
    assert rotate_step(TWO_BALANCERS, ["lb1"]).startswith(
        "lb2, n1: not every host could be given its certificates."
    )


def test_a_release_that_does_worse_is_returned(fleet: Fleet) -> None:
    first = fleet.live
    fleet.image = "image-2"
    run = fleet.run()
    state = undo_step(run.hostvars, run.present, fleet.now)
    assert state
    assert state["live"]
    assert (state["live"]["id"], state["candidate"]) == (first, None)
    run.share(release_failure="worse", release_undone=state)
    # It was tried; whether it worked is the load balancers' to say.
    assert run.finish()["verdict"]["result"] == "failed"
    run.share(release_state=state)
    assert run.finish()["verdict"]["result"] == "returned"
    assert not gets_traffic(run.plan, state)
    assert undo_step(run.hostvars, run.present, fleet.now) is None


def test_what_leaves_the_traffic_is_drained(fleet: Fleet) -> None:
    def draining(run: Run) -> list[tuple[str, int]]:
        found = commit_step(run.hostvars, run.groups, run.present)["draining"]
        return [(address["name"], address["port"]) for address in found]

    assert draining(fleet.run()) == []
    assert draining(fleet.run("drain", node="n2")) == [("n2", 5001)]
    assert draining(fleet.run("undrain", node="n2")) == []
    fleet.run(unreachable=["n3"])
    fleet.image = "image-2"
    run = fleet.run()
    assert draining(run) == [("n1", 5001), ("n2", 5001)]
    run.share(release_failure="lb: no")
    assert commit_step(run.hostvars, run.groups, run.present) == {
        "retired": [],
        "draining": [],
        "leftovers": [],
        "forget": [],
    }
    assert draining(fleet.run("remove", node="n1")) == [("n1", 5002)]
    fleet.image = "image-3"
    assert draining(fleet.run(canary_percent=5)) == []


def test_no_container_stops_while_a_load_balancer_is_away(fleet: Fleet) -> None:
    fleet.runs["n1"]["green"] = "old"
    run = fleet.run(away=["lb2"])
    assert commit_step(run.hostvars, run.groups, run.present)["retired"] == []
    run = fleet.run(steps=0)
    assert commit_step(run.hostvars, run.groups, run.present)["retired"] == [{"node": "n1", "slot": "green"}]


def sample(requests: int, failures: int) -> dict[str, Any]:
    return {"requests": requests, "failures": failures, "histogram": {"0": requests}}


def watched(run: Run, number: int, green: dict[str, Any], **before: Any) -> tuple[str, str]:
    """How a release in green is judged at a step: the verdict, and the failure that the verdict means."""
    log = {"slots": {"blue": sample(100, 0), "green": green}, "endpoints": {}, "releases": {}}
    run.hostvars["lb"]["release_access_log"] = {"sample": log}
    run.hostvars["lb"]["release_log_before"] = {"sample": {**log, "slots": before}}
    verdict = judge_step(run.hostvars, run.groups, run.present, number)
    return verdict["verdict"], verdict["failure"]


def test_a_release_is_judged_beside_the_live_one_and_at_the_end_beside_what_was_before(fleet: Fleet) -> None:
    fleet.image = "image-2"
    run = fleet.run(canary_steps=STEPS, watch_min_requests=10)
    name = run.plan["target"]["id"]
    assert watched(run, 0, sample(20, 0)) == ("pass", "")
    verdict, failure = watched(run, 0, sample(20, 5), blue=sample(100, 50))
    assert (verdict, failure.partition(": ")[0]) == ("worse", f"release {name} at 5.0 %")
    assert watched(run, 2, sample(20, 5), blue=sample(100, 50)) == ("pass", "")
    assert watched(run, 2, sample(9, 0)) == (
        "too few",
        f"release {name} at 100.0 %: it was asked 9 times, and 10 (release_watch_min_requests) make a judgement",
    )
    run.hostvars["lb"]["release_watch_too_few"] = "pass"
    assert watched(run, 2, sample(9, 0)) == ("too few", "")


def answered(cats: int, dogs: int) -> dict[str, Any]:
    return {"pets": {"predict": {"classes": ["cat", "dog"], "counts": [cats, dogs, 0, 0, 0]}}}


def reading(slot: str, release: str, models: dict[str, Any]) -> dict[str, Any]:
    return {"name": "n1", "slot": slot, "release": release, "start": 1.0, "models": models, "error": ""}


def answers_watched(run: Run, number: int, cats: int, dogs: int) -> Any:
    """How a release is judged that answered so during a bake, beside a live one that said cat half of the time."""
    live, new = run.plan["baseline"]["live"]["id"], run.plan["target"]["id"]
    log = {"slots": {"blue": sample(1000, 0), "green": sample(1000, 0)}, "endpoints": {}, "releases": {}}
    zero = [reading("blue", live, answered(7, 7)), reading("green", new, answered(0, 0))]
    now = [reading("blue", live, answered(507, 507)), reading("green", new, answered(cats, dogs))]
    run.share(
        release_access_log={"sample": log},
        release_log_before={"sample": log},
        release_answers_begun={"readings": zero},
        release_answers={"readings": now},
    )
    return judge_step(run.hostvars, run.groups, run.present, number)


def test_a_release_that_answers_differently_is_returned(fleet: Fleet) -> None:
    first = fleet.live
    fleet.image = "image-2"
    run = fleet.run(canary_steps=STEPS, watch_answers="5")
    name = run.plan["target"]["id"]
    found = answers_watched(run, 0, 900, 100)
    assert found["verdict"] == "worse"
    assert found["failure"] == f"release {name} at 5.0 %: {found['reason']}"
    assert found["reason"].startswith("pets answered cat to 90.0 % of 1000 requests, against 50.0 % of 1000")
    assert found["answers"] == [
        "answers of pets to 1000 requests (before: 1000): cat 90.0 % (before: 50.0 %), dog 10.0 % (before: 50.0 %)"
    ]
    assert answers_watched(run, 0, 510, 490)["verdict"] == "pass"
    assert answers_watched(run, 0, 510, 490)["failure"] == ""
    run.hostvars["lb"]["release_watch_answers"] = 100
    meant = answers_watched(run, 0, 900, 100)
    assert (meant["verdict"], meant["answers"]) == ("pass", found["answers"])
    assert first == run.plan["baseline"]["live"]["id"]


def test_failures_and_answers_are_both_named(fleet: Fleet) -> None:
    fleet.image = "image-2"
    run = fleet.run(canary_steps=STEPS, watch_answers=5, watch_failure_points=-1)
    found = answers_watched(run, 0, 900, 100)
    assert "0 of its 1000 answers were 5xx" in found["reason"]
    assert "; pets answered cat" in found["reason"]


def test_answers_are_read_only_where_chance_alone_chooses_the_release(fleet: Fleet) -> None:
    def read(number: int, **settings: Any) -> list[tuple[str, str, int]]:
        for name, value in settings.items():
            run.hostvars["lb"][f"release_{name}"] = value
        found = answering_step(run.hostvars, run.groups, run.present, number)
        return [(one["name"], one["slot"], one["port"]) for one in found]

    fleet.run("drain", node="n2")
    fleet.image = "image-2"
    run = fleet.run(canary_steps=STEPS, steps=1)
    assert read(0) == []
    assert answers_watched(run, 0, 900, 100)["answers"] == []
    assert read(0, watch_answers=5) == [
        ("n1", "blue", 5001),
        ("n3", "blue", 5001),
        ("n1", "green", 5002),
        ("n3", "green", 5002),
    ]
    assert read(2) == []
    (line,) = answers_watched(run, 2, 900, 100)["answers"]
    assert line.startswith("answers are not judged: the live release gets no requests any more")
    assert read(0, canary_key="X-Api-Key") == []
    (line,) = answers_watched(run, 0, 900, 100)["answers"]
    assert line.startswith("answers are not judged: each client stays with one release (release_canary_key)")
