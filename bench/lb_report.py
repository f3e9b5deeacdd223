"""What bench-lb found: its figures, goals, table and chart."""

from __future__ import annotations

from collections.abc import Callable

from chart import Bar, bars
from lb_balancers import COUNTED, HAPROXY, NAIVE, OLD, OURS, Balancer
from report import Figures, Goal, medians

RELOAD, RESTART = "reload", "rolling restart"


def summary(balancer: Balancer) -> Figures:
    """Return a load balancer's figures: medians of its throughput, and all that it lost."""
    lost = {
        step: {key: sum(sample[step][key] for sample in balancer.samples) for key in ("sent", "lost")}
        for step in (RELOAD, RESTART)
    }
    speed = [{key: sample[key] for key in sample if key not in lost} for sample in balancer.samples]
    return {"version": balancer.version(), **medians(speed), **lost, "samples": balancer.samples}


def goals(results: dict[str, Figures]) -> list[Goal]:
    """Return each goal with the value that was reached."""
    ours = results[OURS]

    def ratio(key: str, other: str) -> float:
        return float(ours[key] / results[other][key])

    def cost(other: str) -> float:
        return cpu_microseconds(ours) / cpu_microseconds(results[other])

    def lost(name: str) -> int:
        return int(sum(results[name][step]["lost"] for step in (RELOAD, RESTART)))

    speed = "requests_per_second"
    found = [Goal(f"lost by {OURS}, {step}", ours[step]["lost"], "at_most", 0) for step in (RELOAD, RESTART)]
    for name in (NAIVE, OLD):
        found += [
            Goal(f"requests/s in those of the {name}", ratio(speed, name), "at_least", 1.5),
            Goal(f"CPU per request in that of the {name}", cost(name), "at_most", 0.5),
            Goal(f"lost by the {name}", lost(name), "at_least", 2000),
        ]
    return [
        *found,
        Goal(f"requests/s in those of {HAPROXY}", ratio(speed, HAPROXY), "at_least", 0.9),
        Goal(f"CPU per request in that of {HAPROXY}", cost(HAPROXY), "at_most", 1.1),
        Goal(f"p99 in that of {HAPROXY}", ratio("p99_ms", HAPROXY), "at_most", 1.1),
        Goal("CPU per request with metrics in that without", 1 / cost(COUNTED), "at_most", 1.03),
    ]


def cpu_microseconds(figures: Figures) -> float:
    """What a request takes of the load balancer's processes and of the engine, which copies what they log."""
    return float(figures["cpu_seconds_per_1000"] + figures["log_cpu_seconds_per_1000"]) * 1000


def table(results: dict[str, Figures], inventories: dict[int, Figures]) -> list[str]:
    lines = [
        f"{'':25} {'requests/s':>10} {'CPU µs':>7} {'of log':>7} {'p50 ms':>7} {'p99 ms':>7} "
        f"{'lost: ' + RELOAD:>15} {RESTART:>16}"
    ]
    for name, figures in results.items():
        reload, restart = (f"{figures[step]['lost']}/{figures[step]['sent']}" for step in (RELOAD, RESTART))
        lines.append(
            f"{name:25} {figures['requests_per_second']:10.0f} {cpu_microseconds(figures):7.1f} "
            f"{figures['log_cpu_seconds_per_1000'] * 1000:7.1f} "
            f"{figures['p50_ms']:7.2f} {figures['p99_ms']:7.2f} {reload:>15} {restart:>16}"
        )
    lines.append(f"{'nodes':>6} {'check s':>8} {'render s':>9} {'nginx -t s':>11} {'reload s':>9} {'kB':>6}")
    for count, figures in inventories.items():
        lines.append(
            f"{count:6} {figures['check_seconds']:8.2f} {figures['render_seconds']:9.2f} "
            f"{figures['test_seconds']:11.2f} {figures['reload_seconds']:9.3f} "
            f"{figures['configuration_bytes'] / 1000:6.0f}"
        )
    return lines


def chart(results: dict[str, Figures]) -> str:
    """Bars of each figure, one group a figure."""
    shown: dict[str, Callable[[Figures], float]] = {
        "requests/s (more is better)": lambda figures: figures["requests_per_second"],
        "CPU µs of the load balancer and its log per request": cpu_microseconds,
        "p99, ms": lambda figures: figures["p99_ms"],
        f"lost per 10,000 requests, {RELOAD}": lambda figures: share_lost(figures[RELOAD]),
        f"lost per 10,000 requests, {RESTART}": lambda figures: share_lost(figures[RESTART]),
    }
    groups = {
        group: [
            Bar(name, of(figures), f"{of(figures):,.4g}", name == OURS) for name, figures in results.items()
        ]
        for group, of in shown.items()
    }
    return bars("Load balancers in front of two endpoints", groups, own_scales=True)


def share_lost(counts: dict[str, int]) -> float:
    return counts["lost"] / counts["sent"] * 10_000
