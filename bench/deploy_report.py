"""What bench-deploy found: its steps, goals, table and chart."""

from __future__ import annotations

from chart import Bar, bars
from deploy_contestants import OURS, PLAIN
from report import Figures, Goal

SMALL, LARGE = 3, 10
COLD, NO_OP, MODEL, CODE, ROLLBACK, ADD = STEPS = (
    "cold deploy",
    "no-op run",
    "model-only release",
    "code release",
    "rollback",
    "adding a node",
)
# What a run of each step took each contestant, by step and contestant; and that of fleets, by their numbers of nodes.
Steps = dict[str, dict[str, Figures]]
Fleets = dict[int, Steps]


def build_seconds(figures: Figures) -> float:
    """Return the part of a run's time that went into building images, which the plain playbook leaves to others."""
    return float(sum(seconds for play, seconds in figures["plays"].items() if play.startswith("Build")))


def goals(fleets: Fleets) -> list[Goal]:
    """Return each goal that the fleets measured can answer, with the value that was reached; less is better in all."""

    def seconds(nodes: int, step: str, name: str = OURS) -> float:
        return float(fleets[nodes][step][name]["seconds"])

    shipped = max(steps[MODEL][OURS]["received_bytes"]["most"] for steps in fleets.values())
    reached = {
        "megabytes a node receives in a model-only release, Ansible's own included": (shipped / 1e6, 5.0)
    }
    if {SMALL, LARGE} <= fleets.keys():
        no_op = seconds(LARGE, NO_OP)
        growth = seconds(LARGE, MODEL) / seconds(SMALL, MODEL)
        reached |= {
            f"no-op run over {LARGE} nodes, in that over {SMALL}": (no_op / seconds(SMALL, NO_OP), 1.5),
            f"no-op run over {LARGE} nodes, in the plain playbook's": (
                no_op / seconds(LARGE, NO_OP, PLAIN),
                0.5,
            ),
            f"model-only release over {LARGE} nodes, in that over {SMALL}": (growth, 2.0),
        }
    return [Goal(text, value, "at_most", limit) for text, (value, limit) in reached.items()]


def table(fleets: Fleets) -> list[str]:
    lines = [f"{'nodes':5} {'step':20} {OURS:>10} {'(build)':>8} {PLAIN:>15}   seconds"]
    for nodes, steps in fleets.items():
        for step, both in steps.items():
            build = build_seconds(both[OURS])
            lines.append(
                f"{nodes:5} {step:20} {both[OURS]['seconds']:10.1f} {build:8.1f} {both[PLAIN]['seconds']:15.1f}"
            )
    return lines


def chart(fleets: Fleets) -> str:
    """Bars of seconds, one group a step."""

    def bar(nodes: int, name: str, figures: Figures) -> Bar:
        build = build_seconds(figures)
        text = f"{figures['seconds']:.1f}" + (f", build {build:.1f}" if build > 1 else "")
        return Bar(f"{name}, {nodes} nodes", figures["seconds"], text, name == OURS)

    groups = {
        step: [bar(nodes, name, fleets[nodes][step][name]) for nodes in fleets for name in (OURS, PLAIN)]
        for step in STEPS
    }
    return bars("Seconds a run takes (logarithmic; less is better)", groups, page_width=900)
