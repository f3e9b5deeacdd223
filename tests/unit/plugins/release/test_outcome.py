"""How a run ends: its verdict, its faults, and its line in the audit log."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.outcome import outcome

from unit.plugins.release.fleet import Fleet, Run


def said(run: Run, **facts: Any) -> str:
    """How a run ended, with these facts of all its hosts: its result and message as one text."""
    verdict = run.finish(**facts)["verdict"]
    return f"{verdict['result']}: {verdict['message']}"


def test_a_run_says_how_it_ended(fleet: Fleet) -> None:
    first = fleet.live
    assert said(fleet.run()) == f"unchanged: release {first} is live on 3 of 3 nodes"
    assert said(fleet.run(), nginx_lb_installed={"changed": True}).startswith("changed: ")
    drained = said(fleet.run("drain", node="n1"))
    assert drained == f"changed: release {first} is live on 2 of 3 nodes; drained: n1"
    fleet.run("undrain", node="n1")
    fleet.image = "image-2"
    canary = fleet.run(canary_percent=20)
    second = canary.plan["target"]["id"]
    assert said(canary).startswith(
        f"canary: release {first} is live on 3 of 3 nodes; {second} gets 20.0 % of the requests"
    )
    assert said(fleet.run("promote")).startswith(f"released: release {second} is live")
    assert said(fleet.run("rollback")).startswith(f"rolled back: release {first} is live")


def test_a_shadow_is_called_a_shadow(fleet: Fleet) -> None:
    fleet.image = "image-2"
    shadow = fleet.run(shadow_percent=10)
    second = shadow.plan["target"]["id"]
    assert said(shadow) == (
        f"shadow: release {fleet.live} is live on 3 of 3 nodes; {second}, a shadow, gets copies of 10.0 % of the "
        "requests"
    )
    assert fleet.run("rollback").plan["note"] == f"the shadow {second} is withdrawn"


def test_a_run_that_failed_says_what_went_wrong(fleet: Fleet) -> None:
    run = fleet.run()
    run.hostvars["n2"]["release_not_stopped"] = "n2: b"
    run.hostvars["lb"]["virtual_address_error"] = "lb: c"
    ended = run.finish(release_failure="n1: a")
    assert f"{ended['verdict']['result']}: {ended['verdict']['message']}" == (
        f"failed: release {fleet.live} is live on 3 of 3 nodes; n1: a; n2: b; lb: c"
    )
    assert ended["faults"] == ["n1: a", "n2: b", "lb: c"]
    assert ended["forgiving"]


def test_what_a_run_without_a_release_left_out_is_a_fault_though_the_run_goes_on(fleet: Fleet) -> None:
    fleet.runs["n2"].clear()
    ended = fleet.run(unready=["n2"]).finish()
    assert ended["verdict"]["result"] == "changed"
    assert ended["faults"] == ["n2: wrong answer\n  Its last log lines:\n    line"]


def test_a_run_says_what_will_go_wrong(fleet: Fleet) -> None:
    run = fleet.run()
    ended = outcome(
        run.plan,
        run.state,
        fleet.nodes,
        fleet.nodes,
        decided="",
        reloaded=False,
        faults=[],
        warnings=["it ends"],
    )
    assert ended["message"].endswith("; warning: it ends")
    assert (ended["result"], ended["warnings"]) == ("unchanged", ["it ends"])


def test_nothing_is_live_before_the_first_release(empty: Fleet) -> None:
    _, run = empty.planned("deploy")
    ended = run.finish(release_failure="no")["verdict"]
    assert (ended["live"], ended["candidate"], ended["previous"]) == ("", "", [])
    assert ended["message"].startswith("nothing is live; ")


def test_the_audit_log_gets_a_line_of_each_run_that_changed_something(fleet: Fleet) -> None:
    assert fleet.run().finish()["audit"] is None
    fleet.image = "image-2"
    run = fleet.run()
    assert run.finish()["audit"] == {
        "time": "1970-01-01T00:21:40+00:00",
        "result": "released",
        "live": fleet.live,
        "message": f"release {fleet.live} is live on 3 of 3 nodes",
    }


def test_hosts_that_were_away_are_forgiven_where_that_is_allowed_or_they_are_gone_for_good(
    fleet: Fleet,
) -> None:
    assert not fleet.run().finish()["forgiving"]
    assert fleet.run(allow_unreachable="yes").finish()["forgiving"]
    assert not fleet.run("remove", node="n1", unreachable=["n3"]).finish()["forgiving"]
    fleet.run("deploy")
    assert fleet.run("remove", node="n2", unreachable=["n2"]).finish()["forgiving"]


def test_a_run_that_looked_at_no_load_balancer_does_not_say_what_is_live(fleet: Fleet) -> None:
    _, run = fleet.planned("deploy", away=["lb"])
    assert not run.facts["release_looked"]
    ended = run.finish()["verdict"]
    assert ended["live"] is None
    assert ended["message"].startswith("what is live was not looked at; ")


def test_a_request_that_can_not_be_met_is_refused(fleet: Fleet) -> None:
    _, run = fleet.planned("promote")
    ended = run.finish()
    assert ended["verdict"]["result"] == "refused"
    assert ended["audit"] is not None
    assert ended["audit"]["result"] == "refused"


def test_the_audit_log_and_the_last_line_name_the_nodes_that_a_run_was_about_or_left_out(
    fleet: Fleet,
) -> None:
    audit = fleet.run("drain", node="n1").finish()["audit"]
    assert audit is not None
    assert audit["node"] == "n1"
    ended = fleet.run(unreachable=["n2"], min_nodes=1).finish()["verdict"]
    assert ended["left_out"] == ["n2"]
    assert ended["message"].endswith("; drained: n1")
