"""No failure of endpoints and no reload costs a request; overload costs only the requests beyond the capacity."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fleet import faults
from fleet.deploy import FAILED, FINE, configurations, deploy
from fleet.edge.endpoints import Endpoint
from fleet.edge.virtual_address import address, holder_and_standby, wait_until_back
from fleet.fleet import Fleet
from fleet.load import under_load
from fleet.machine import Machine, wait_until

NODES: dict[str, dict[str, Any]] = {"node1": {}, "node2": {}, "node3": {}}
MAX_CONNS = 64  # of nginx_lb_max_conns, the half that is given while another endpoint is free
CONFIGURATION = "/etc/flotilla/nginx/nginx.conf"
LISTEN = "import socket, time; server = socket.create_server(('0.0.0.0', 8081)); time.sleep(600)"

# What a release of BUSY can do. The threads are of one worker: of two, each has what was sent to it, and one may wait
# while the other is idle.
CONCURRENCY = 2
CAPACITY = len(NODES) * CONCURRENCY / faults.BUSY_SECONDS

Note = Callable[[str, object], None]


@pytest.fixture
def url(fleet: Fleet) -> str:
    """Where clients send their requests."""
    return f"http://{address(fleet)}"


@pytest.fixture
def endpoints(fleet: Fleet) -> list[Endpoint]:
    return [Endpoint.of(node) for node in fleet.nodes]


@contextmanager
def released(fleet: Fleet, deployed: Fleet, source: Path, **settings: Any) -> Iterator[None]:
    """Release to a fleet that is edited, or has other settings, for as long as the block runs."""
    deploy(deployed, source=source, **settings).assert_ended(FINE, "released")
    try:
        yield
    finally:
        back = deploy(fleet)
    back.assert_ended(FINE, "released")


def test_reloads_lose_nothing(fleet: Fleet, url: str) -> None:
    holder, _ = holder_and_standby(fleet)
    with under_load([url], rate=300) as load:
        for _ in range(20):
            holder.run("docker", "exec", "flotilla-nginx", "/usr/sbin/nginx", "-s", "reload")
            load.during(0.7)
    load.record().assert_nothing_lost()


def test_an_engine_that_hangs_holds_up_nothing(fleet: Fleet, url: str) -> None:
    holder, _ = holder_and_standby(fleet)
    with under_load([url], rate=300) as load:
        holder.run("pkill", "-STOP", "--exact", "dockerd")
        try:
            load.during(6)
        finally:
            holder.run("pkill", "-CONT", "--exact", "dockerd")
        load.during(2)
    load.record().assert_nothing_lost()
    assert load.record().quantile(0.99) < 1


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_endpoints_that_end_one_after_another_lose_nothing(
    url: str, endpoints: list[Endpoint], signal: str, record_property: Note
) -> None:
    with under_load([url]) as load:
        times = []
        for endpoint in endpoints:
            times.append(time.monotonic())
            ended = endpoint.end(signal)
            wait_until(f"{endpoint.container} is back", partial(endpoint.came_back, ended))
        load.during(3)
    within = times[-1] - times[0]
    record_property("within_seconds", round(within, 1))
    load.record().assert_nothing_lost()
    assert within < 10, "too slow to show anything: one failure would be forgotten before the next"


def test_killed_endpoints_cost_nothing_while_one_is_left(
    url: str, endpoints: list[Endpoint], record_property: Note
) -> None:
    killed: list[Endpoint] = []
    with under_load([url]) as load:
        try:
            for endpoint in endpoints[:2]:
                since = time.time()
                endpoint.kill()
                killed.append(endpoint)
                load.during(5)
                slowest = load.record().between(since).quantile(0.99)
                record_property(f"p99_without_{len(killed)}", round(slowest, 3))
                assert slowest < 0.25
        finally:
            for endpoint in killed:
                endpoint.start()
        for endpoint in killed:
            wait_until(f"{endpoint.container} is ready", endpoint.ready)
        load.during(3)
    load.record().assert_nothing_lost()


def test_a_frozen_endpoint_slows_no_more_requests_than_it_may_have(
    url: str, endpoints: list[Endpoint], record_property: Note
) -> None:
    with under_load([url]) as load:
        endpoints[0].freeze()
        try:
            load.during(6)
        finally:
            endpoints[0].thaw()
        load.during(4)
    record = load.record()
    slow = [answer for answer in record.answers if answer.seconds > 1]
    record_property("slow", len(slow))
    record.assert_nothing_lost()
    assert 0 < len(slow) <= MAX_CONNS + 10


def test_an_endpoint_that_drains_is_passed_over(fleet: Fleet, url: str, faulty: Path) -> None:
    drains = fleet.with_nodes({**NODES, "node2": {"model_endpoint_log_sample": faults.DRAINING}})
    with under_load([url]) as load:
        with released(fleet, drains, faulty):
            looked = load.during(5)
        load.during(1)
    load.record().assert_nothing_lost()
    assert looked.by_endpoint().keys() == {"node1", "node3"}


def test_requests_slower_than_the_time_out_are_answered_by_another_endpoint(
    fleet: Fleet, url: str, faulty: Path, record_property: Note
) -> None:
    late = {"model_endpoint_log_sample": faults.LATE, "model_endpoint_threads": 8, "nginx_lb_read_timeout": 1}
    with released(fleet, fleet, faulty, **late), under_load([url]) as load:
        load.during(20)
    record = load.record()
    record_property("lost", len(record.lost))
    assert record.quantile(0.99) > 1, "nothing was slow"
    assert len(record.lost) < 0.01 * len(record.answers)


def test_overload_is_refused_at_once_and_what_is_accepted_is_answered(
    fleet: Fleet, url: str, faulty: Path, record_property: Note
) -> None:
    busy = {
        "model_endpoint_log_sample": faults.BUSY,
        "model_endpoint_workers": 1,
        "model_endpoint_threads": CONCURRENCY,
        "nginx_lb_max_conns": 2 * CONCURRENCY,
    }
    seconds = 20
    with released(fleet, fleet, faulty, **busy):
        with under_load([url], rate=2 * CAPACITY) as load:
            over = load.during(seconds)
        with under_load([url], rate=CAPACITY / 2) as load:
            load.during(10)
    record_property("goodput", round(len(over.right.answers) / seconds / CAPACITY, 3))
    record_property("accepted_p99", round(over.right.quantile(0.99), 3))
    record_property("refused_p99", round(over.refused.quantile(0.99), 3))
    assert over.lost == over.refused.answers
    assert len(over.right.answers) >= 0.9 * CAPACITY * seconds
    assert over.right.quantile(0.99) < 0.3
    assert over.refused.quantile(0.99) < 0.05
    load.record().assert_nothing_lost()


def test_an_outage_of_all_endpoints_ends_when_they_are_ready(
    url: str, endpoints: list[Endpoint], record_property: Note
) -> None:
    with under_load([url]) as load:
        for endpoint in endpoints:
            endpoint.kill()
        load.during(4)
        with ThreadPoolExecutor(len(endpoints)) as at_once:
            list(at_once.map(Endpoint.start, endpoints))
        wait_until("every endpoint is ready", lambda: all(endpoint.ready() for endpoint in endpoints))
        ready = time.time()
        load.during(6)
    record = load.record()
    last = max(answer.sent + answer.seconds for answer in record.lost)
    record_property("last_failure_after_ready", round(last - ready, 2))
    assert record.lost == record.refused.answers
    assert last - ready <= 2
    record.between(ready + 2).assert_nothing_lost()


@contextmanager
def port_in_use(balancer: Machine) -> Iterator[None]:
    """Have another program listen on 8081."""
    process = balancer.run("sh", "-c", f'python3 -c "{LISTEN}" >/dev/null 2>&1 & echo $!').strip()
    try:
        yield
    finally:
        balancer.run("kill", process)


@contextmanager
def changed_zone_key(balancer: Machine) -> Iterator[None]:
    """Have Nginx run with another key of a zone, which it can't change by a reload."""
    ours = balancer.run("cat", CONFIGURATION)
    other = ours.replace("limit_conn_zone $flotilla_address ", "limit_conn_zone $server_name ")
    assert other != ours
    balancer.run("tee", CONFIGURATION, stdin=other)
    balancer.run("docker", "restart", "flotilla-nginx")
    wait_until_back(balancer)
    try:
        yield
        assert balancer.run("cat", CONFIGURATION) == other
    finally:
        balancer.run("tee", CONFIGURATION, stdin=ours)
        balancer.run("docker", "restart", "flotilla-nginx")
        wait_until_back(balancer)


@pytest.mark.parametrize(
    ("hindrance", "settings", "said"),
    [
        (port_in_use, {"nginx_lb_port": 8081}, "8081 failed"),
        (changed_zone_key, {"nginx_lb_body_limit": "2m"}, "flotilla_in_flight"),
    ],
    ids=["port in use", "changed zone key"],
)
def test_a_reload_that_can_not_take_fails_the_run_and_the_old_configuration_serves(
    fleet: Fleet, url: str, hindrance: Any, settings: dict[str, Any], said: str
) -> None:
    _, standby = holder_and_standby(fleet)
    changed = fleet.with_nodes(NODES, {balancer.name: settings for balancer in fleet.load_balancers})
    with under_load([url]) as load, hindrance(standby):
        before = configurations(fleet)
        outcome = deploy(changed)
        load.during(2)
        assert configurations(fleet) == before
    assert outcome.code == FAILED
    assert said in " ".join(outcome.output.split())
    assert standby.name in outcome.verdict["message"]
    load.record().assert_nothing_lost()
    deploy(fleet).assert_ended(FINE, "unchanged")
