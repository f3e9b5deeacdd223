"""What a run shows is short, names what is live, and is kept in the history, whatever became of the run."""

import json
import re
import time
import uuid

from fleet.deploy import FAILED, FINE, live, verdict_file
from fleet.fleet import Fleet
from fleet.playbook import OWN_OUTPUT, attempt_playbook

MOST_LINES = 25
PROGRESS = "  … "
"""How a line begins that says what takes long, which depends on the machine that runs the tests."""
LOCK = "/var/lib/flotilla/lock.json"
STATE = "/var/lib/flotilla/state.json"
NOT_LOOKED = "what is live was not looked at"


def run(fleet: Fleet, playbook: str, *arguments: str) -> tuple[int, list[str]]:
    """Run a playbook as a user does; return its exit code and its lines."""
    code, output = attempt_playbook(playbook, fleet.inventory, *arguments, output=OWN_OUTPUT)
    return code, output.splitlines()


def test_a_run_with_nothing_to_do_fits_on_a_screen(fleet: Fleet) -> None:
    code, lines = run(fleet, "site.yml")
    text = "\n".join(lines)
    assert code == FINE, text
    assert len([line for line in lines if not line.startswith(PROGRESS)]) <= MOST_LINES, text
    assert re.search(r"^Inspect every machine +\d+\.\d s$", text, re.MULTILINE)
    assert lines[-2] == "nothing changed", text
    assert lines[-1] == f"flotilla: unchanged: release {live(fleet)} is live on 3 of 3 nodes"


def test_a_run_that_would_leave_out_steps_is_refused(fleet: Fleet) -> None:
    before = fleet.load_balancer.run("cat", STATE)
    code, lines = run(fleet, "site.yml", "--tags", "stage")
    assert code != FINE
    assert "--tags stage is refused" in "\n".join(lines)
    assert fleet.load_balancer.run("cat", STATE) == before


def test_history_has_the_runs_that_failed_and_were_refused(fleet: Fleet) -> None:
    release, balancer = live(fleet), fleet.load_balancers[-1]
    # No machine answers at this port: nobody was asked what is live.
    code, lines = run(fleet, "site.yml", "--extra-vars", "ansible_port=1")
    assert code != FINE
    assert NOT_LOOKED in lines[-1]
    assert json.loads(verdict_file(fleet).read_text())["live"] is None
    # Another run has the lock of one load balancer. The load balancer is asked all the same.
    holder = {"user": "ann", "controller": "elsewhere", "playbook": "site.yml", "pid": 1, "started": 1}
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    balancer.run("tee", LOCK, stdin=json.dumps({**holder, "pid_space": "x", "time": now}))
    try:
        code, lines = run(fleet, "site.yml")
    finally:
        balancer.run("rm", LOCK)
    assert code == FAILED, "\n".join(lines)
    assert lines[-1].startswith(
        f"flotilla: refused: {balancer.name}: ann@elsewhere has been deploying since "
    )
    assert f"release {release} is live" in lines[-1]
    assert f"{balancer.name}: {balancer.name}: " not in "\n".join(lines)
    code, lines = run(fleet, "playbooks/history.yml", "--extra-vars", "entries=2")
    history = "\n".join(lines)
    assert code == FINE
    assert re.search(r"  \S+  refused +site\.yml by \S+@\S+: .* ann@elsewhere", history), history
    assert re.search(rf"  \S+  failed +site\.yml by \S+@\S+: .*{NOT_LOOKED}", history), history


def test_a_request_is_found_in_the_logs_by_its_status_and_id(fleet: Fleet) -> None:
    request_id, balancer = uuid.uuid4().hex, fleet.load_balancer.name
    status = fleet.get("/v2/models/none", {"X-Request-Id": request_id}).status_code
    asked = json.dumps({"balancer": balancer, "status": f"{status // 100}xx", "request_id": request_id})
    code, lines = run(fleet, "playbooks/logs.yml", "--extra-vars", asked)
    text = "\n".join(lines)
    assert code == FINE, text
    assert re.search(
        rf"Z  {status} +\d+\.\d ms  GET /v2/models/none .*  id {request_id}$", text, re.MULTILINE
    ), text
    assert text.count(request_id) == 1
