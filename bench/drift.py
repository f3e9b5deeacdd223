"""Measure what drift costs and how well it is told from chance: `make bench-drift`.

The costs are those of a row inside the process, and the CPU time of a request to endpoints with and without drift, in
interleaved rounds. Months without drift, and shifts of one column, are simulated with the endpoint's own bins and
score. Results go to bench/results/drift.json.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import served
from model_endpoint.drift.counts import WINDOW_ROWS
from model_endpoint.drift.distribution import DISTRIBUTION_FILE
from model_endpoint.drift.report import report
from model_endpoint.drift.score import score
from report import Figures, Goal, exit_code, option_parser, say, write_results
from servers import OWN_COMMAND, OWN_LOCK, Running, Server, load, start
from unit.model_endpoint.drifting import drifted, model_counts, month_of_windows

CASES = {"iris, 4 columns": "iris", "forest, 30 columns": "breast_cancer"}
ROW_LIMITS = {4: 2.0, 30: 8.0}  # microseconds by columns
COLUMNS = 10
TRAININGS = (150, 500, 1_000, 10_000)
MODELS = 4  # that are simulated for a month
RATES = (1,)  # rows a second
SHIFTS = 10
SECONDS = 2.0
NEVER = 99_999
LEAST_TRAINING = 1000  # rows; with fewer, chance shifts a sample by as much


def row_microseconds(columns: int) -> float:
    """The time that counting one row costs, with its part of counting rows together."""
    generator = np.random.default_rng(0)
    counts = model_counts(drifted(generator, 1000, columns))
    rows = [drifted(generator, 1, columns) for _ in range(1000)]
    answer = np.zeros(1, np.int64)
    times = []
    for _ in range(30):
        begun = time.thread_time()
        for row in rows:
            counts.count(row, answer)
        times.append(time.thread_time() - begun)
    return statistics.median(times) / len(rows) * 1e6


def false_alarms(training: int, rate: int) -> float:
    """Alarms of a model in a month without drift; those that follow each other are one."""
    alarms = 0
    for seed in range(MODELS):
        for column in range(COLUMNS):
            windows, reference = month_of_windows(
                np.random.default_rng((training, rate, seed, column)), training, rate
            )
            drift = np.array(
                [bool(found and found.drift) for found in (score(one, reference) for one in windows)]
            )
            alarms += int((drift[1:] & ~drift[:-1]).sum() + drift[:1].sum())
    return alarms / MODELS


def rows_until_seen(training: int) -> list[int | None]:
    """For each of some shifts by half a standard deviation, after how many rows it is seen; None if it is not."""
    found: list[int | None] = []
    for seed in range(SHIFTS):
        generator = np.random.default_rng((training, seed))
        counts = model_counts(drifted(generator, training, COLUMNS))
        for row in drifted(generator, 2 * WINDOW_ROWS, COLUMNS):
            counts.count(row[np.newaxis], np.zeros(1))
        found.append(None)
        for rows in range(100, 2 * WINDOW_ROWS, 100):
            counts.count(drifted(generator, 100, COLUMNS, shift=0.5), np.zeros(100))
            counts.flush()
            first = report(counts).columns[0].score
            if first and first.drift:
                found[-1] = rows
                break
    return found


def request_costs(rounds: int) -> dict[str, dict[str, list[float]]]:
    """CPU seconds per 1,000 requests, with drift and without, by case and round."""
    costs: dict[str, dict[str, list[float]]] = {case: {"with": [], "without": []} for case in CASES}
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as name:
        folder = Path(name)
        running: dict[str, Running] = {}
        plain = {"FLOTILLA_MODELS": str(folder / "plain")}
        try:
            running["with"] = start(
                Server("with", OWN_LOCK, OWN_COMMAND), 24710, "iris", folder, served.SHIPPED_FOLDER
            )
            shutil.copytree(
                folder / "ours", folder / "plain", ignore=shutil.ignore_patterns(DISTRIBUTION_FILE)
            )
            without = Server("without", OWN_LOCK, OWN_COMMAND, environ=plain)
            running["without"] = start(without, 24720, "iris", folder, served.SHIPPED_FOLDER)
            for number in range(rounds):
                for case, model in CASES.items():
                    rows = served.rows_of(served.SHIPPED_FOLDER, model, 1)
                    body = served.body("instances", model, rows).decode()
                    for kind in ("with", "without") if number % 2 else ("without", "with"):
                        cost = load(
                            running[kind].url(model),
                            body,
                            SECONDS,
                            folder,
                            {"cpu": running[kind].cpu_seconds},
                        )
                        costs[case][kind].append(cost["cpu_seconds_per_1000"])
                say(f"round {number + 1} of {rounds} done")
        finally:
            for one in running.values():
                one.stop()
    return costs


def simulate() -> tuple[Figures, list[Goal]]:
    """False alarms and rows until a shift is seen, by the number of rows of training."""
    alarms, seen, goals = {}, {}, []
    for training in TRAININGS:
        for rate in RATES:
            case = f"{training} rows of training, {rate} a second"
            alarms[case] = false_alarms(training, rate)
            words = f"false alarms of a model of {COLUMNS} columns in 30 days, {case}"
            goals.append(Goal(words, alarms[case], "at_most", 1))
        seen[str(training)] = rows_until_seen(training)
        worst = max(NEVER if rows is None else rows for rows in seen[str(training)])
        if training >= LEAST_TRAINING:
            words = f"rows until a shift is seen, {training} rows of training"
            goals.append(Goal(words, worst, "at_most", WINDOW_ROWS))
        say(f"simulated {training} rows of training")
    return {"false_alarms_in_30_days": alarms, "rows_until_a_shift_is_seen": seen}, goals


def measure(rounds: int) -> tuple[Figures, list[Goal]]:
    """What a row costs inside the process, and a request."""
    rows = {columns: row_microseconds(columns) for columns in ROW_LIMITS}
    goals = [
        Goal(f"microseconds to count a row of {columns} columns", rows[columns], "at_most", limit)
        for columns, limit in ROW_LIMITS.items()
    ]
    requests = request_costs(rounds)
    for case, taken in requests.items():
        pairs = [one / other for one, other in zip(taken["with"], taken["without"], strict=True)]
        words = f"{case}: CPU time of a request with drift, in that without"
        goals.append(Goal(words, statistics.median(pairs), "at_most", 1.03))
    return {"microseconds_a_row": rows, "cpu_seconds_per_1000_requests": requests}, goals


def benchmark(rounds: int) -> None:
    """Measure and simulate, write the results, and say which goals were met."""
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "load_average": os.getloadavg()}
    measured, of_costs = measure(rounds)
    simulated, of_alarms = simulate()
    goals = [*of_costs, *of_alarms]
    outcome = {
        "machine": machine,
        "rounds": rounds,
        **measured,
        **simulated,
        "goals": [goal.row() for goal in goals],
    }
    write_results("drift", outcome)
    for goal in goals:
        print(goal.line())


def main() -> int:
    options = option_parser(__doc__, rounds=10, rounds_help="rounds of requests").parse_args()
    return exit_code(lambda: benchmark(options.rounds), "the endpoints are stopped")


if __name__ == "__main__":
    sys.exit(main())
