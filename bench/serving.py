"""Compare Flotilla's endpoint with other ways of serving the same models: `make bench-serve`.

Each server runs in an environment of its own, made from a lock with hashes and kept in the cache. Rounds are
interleaved, so that a noisy machine is noisy for all. The figure is the CPU time a server's processes take per
1,000 requests, read from /proc; requests per second and latencies, by wrk, stand beside it. Results go to
bench/results/serving.json and serving.svg.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_models
import served
from chart import Bar, bars
from report import exit_code, medians, option_parser, say, verdict, write_results
from servers import HERE, OWN_COMMAND, OWN_LOCK, Running, Server, load, start

OURS, OURS_FLASK = "Flotilla, fast path", "Flotilla, Flask view"
CONSTANT, CONSTANT_FLASK = "constant reply", "constant reply from Flask"
CASES = {
    "iris, 1 row": ("iris", 1),
    "forest, 1 row": ("breast_cancer", 1),
    "forest, 100 rows": ("breast_cancer", 100),
    "mixed, 1 row": ("mixed", 1),
    "mixed boosting, 1 row": ("mixed boosting", 1),
    "text, 1 row": ("text", 1),
    "XGBoost, 1 row": ("xgboost", 1),
}
Goals = dict[str, tuple[float, float]]
# What the peers' CPU time per request is to be at least, in ours: with the Flask view, with the fast path.
_SHIPPED_MODELS: Goals = {"iris, 1 row": (8, 30), "forest, 1 row": (30, 100), "forest, 100 rows": (8, 8)}
_SMALL_MODELS: Goals = {"text, 1 row": (4, 8), "XGBoost, 1 row": (3, 7)}
_FRAMES: Goals = {"mixed, 1 row": (30, 80), "mixed boosting, 1 row": (50, 120)}
GOALS: dict[str, Goals] = {
    "FastAPI": {
        "iris, 1 row": (2.5, 8),
        "forest, 1 row": (20, 60),
        "forest, 100 rows": (5, 5),
        "mixed, 1 row": (20, 50),
        "mixed boosting, 1 row": (50, 120),
        **_SMALL_MODELS,
    },
    **dict.fromkeys(("BentoML", "MLServer", "MLflow"), _SHIPPED_MODELS | _FRAMES | _SMALL_MODELS),
    "LitServe": _SHIPPED_MODELS,
    "Flask development server": {
        "iris, 1 row": (8, 30),
        "forest, 1 row": (40, 120),
        "forest, 100 rows": (10, 10),
    },
    CONSTANT: {"iris, 1 row": (0.75, 0.6)},
}
# The routes for a frame and for texts, of the peers that ask for a type each.
OWN_PATHS = {
    **dict.fromkeys(served.FRAMES, "/predict_frame"),
    **dict.fromkeys(served.TEXTS, "/predict_texts"),
}


def servers() -> list[Server]:
    """Return all contestants: Flotilla's endpoint, with and without its fast path, and its peers."""
    locks = HERE / "requirements"
    return [
        Server(OURS, OWN_LOCK, OWN_COMMAND),
        Server(OURS_FLASK, OWN_LOCK, OWN_COMMAND, environ={"FLOTILLA_FAST_PATH": "false"}),
        Server(CONSTANT, OWN_LOCK, "{python} constant.py {port} wsgi", models=served.SHIPPED),
        Server(CONSTANT_FLASK, OWN_LOCK, "{python} constant.py {port} flask", models=served.SHIPPED),
        Server(
            "FastAPI",
            locks / "fastapi.txt",
            "{python} -m uvicorn fastapi_app:app --port {port} --workers 2 --no-access-log",
            own_paths=OWN_PATHS,
        ),
        Server(
            "BentoML",
            locks / "bentoml.txt",
            "{bin}/bentoml serve bentoml_app:Bench --host 127.0.0.1 --port {port}",
            own_paths=OWN_PATHS,
        ),
        Server(
            "MLServer",
            locks / "mlserver.txt",
            "{bin}/mlserver start {folder}",
            prepare="{python} mlserver_prepare.py {folder} {port}",
            path="/v2/models/{model}/infer",
            form="v2",
        ),
        Server("LitServe", locks / "litserve.txt", "{python} litserve_app.py {port}", models=served.SHIPPED),
        Server(
            "MLflow",
            locks / "mlflow.txt",
            "{bin}/mlflow models serve -m {folder} --env-manager local -p {port} -w 2",
            prepare="{python} mlflow_prepare.py {folder} {model}",
            path="/invocations",
            form="mlflow",
            one_model=True,
        ),
        Server("Flask development server", OWN_LOCK, "{python} flask_app.py {port}", models=served.SHIPPED),
    ]


def measure(running: Running, case: str, seconds: float, folder: Path, models: Path) -> dict[str, float]:
    """Put load on a server for a while and say what a request cost it; see `load`."""
    model, count = CASES[case]
    body = served.body(running.server.form, model, served.rows_of(models, model, count)).decode()
    return load(running.url(model), body, seconds, folder, {"cpu": running.cpu_seconds})


@contextlib.contextmanager
def all_running(
    chosen: list[Server], folder: Path, models: Path, missing: dict[str, str]
) -> Iterator[dict[tuple[str, str], Running]]:
    """Start all servers, by name and model; those that can't be are named in `missing` with the reason."""
    running: dict[tuple[str, str], Running] = {}
    port = 24100
    try:
        for server in chosen:
            try:
                for model in server.models:
                    if server.one_model or not any(name == server.name for name, _ in running):
                        port += 10
                        running[server.name, model] = start(server, port, model, folder, models)
                    else:
                        running[server.name, model] = running[server.name, "iris"]
                say(f"{server.name}: ready after {running[server.name, 'iris'].seconds:.2f} s")
            except (RuntimeError, subprocess.SubprocessError, OSError) as error:
                missing[server.name] = str(error)[:300]
                say(f"{server.name}: not measured: {missing[server.name]}")
        yield running
    finally:
        for each in {id(one): one for one in running.values()}.values():
            each.stop()


def run(chosen: list[Server], rounds: int, seconds: float) -> dict[str, Any]:
    """Measure all servers in interleaved rounds; a result is the median over the rounds."""
    missing: dict[str, str] = {}
    samples: dict[str, dict[str, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as name:
        folder, models = Path(name), Path(name) / "models"
        make_models.make(models)
        with all_running(chosen, folder, models, missing) as running:
            for number in range(rounds):
                for case, (model, _) in CASES.items():
                    for server in chosen:
                        if server.name in missing or model not in server.models:
                            continue
                        try:
                            sample = measure(running[server.name, model], case, seconds, folder, models)
                        except (RuntimeError, subprocess.SubprocessError) as error:
                            missing[server.name] = f"{case}: {error}"
                            continue
                        samples.setdefault(server.name, {}).setdefault(case, []).append(sample)
                say(f"round {number + 1} of {rounds} done")
            ours = running[OURS, "iris"]
            facts = {"ready_seconds": ours.seconds, "worker_memory_bytes": ours.proportional_memory()}
    results = {
        server: {case: medians(taken) for case, taken in cases.items()}
        for server, cases in samples.items()
        if server not in missing
    }
    machine = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average_after": os.getloadavg(),
    }
    return {
        "machine": machine,
        "rounds": rounds,
        "seconds_per_round": seconds,
        "flotilla": facts,
        "results": results,
        "ratios": ratios(results),
        "not_measured": missing,
    }


def ratios(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Each peer's CPU time per request in ours, beside the goal."""
    rows = []
    for peer, goals in GOALS.items():
        for case, wanted in goals.items():
            for ours, goal in zip((OURS_FLASK, OURS), wanted, strict=True):
                other = CONSTANT_FLASK if peer == CONSTANT and ours == OURS_FLASK else peer
                if other not in results or ours not in results:
                    continue
                theirs = results[other][case]["cpu_seconds_per_1000"]
                ratio = theirs / results[ours][case]["cpu_seconds_per_1000"]
                row = {"peer": other, "ours": ours, "case": case, "ratio": ratio, "goal": goal}
                rows.append(row | {"met": ratio >= goal})
    return rows


def table(outcome: dict[str, Any]) -> str:
    lines = [f"{'':26} {'case':22} {'CPU s / 1,000':>14} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}"]
    for server, cases in outcome["results"].items():
        for case, value in cases.items():
            lines.append(
                f"{server:26} {case:22} {value['cpu_seconds_per_1000']:14.3f} {value['requests_per_second']:11.0f} "
                f"{value['p50_ms']:8.2f} {value['p99_ms']:8.2f}"
            )
    lines.append("")
    for row in outcome["ratios"]:
        against = f"goal {row['goal']:6}: {verdict(row['met'])}"
        lines.append(f"{row['peer']:26} in {row['ours']:21} {row['case']:22} {row['ratio']:7.2f}, {against}")
    for server, reason in outcome["not_measured"].items():
        lines.append(f"{server}: not measured: {reason}")
    return "\n".join(lines)


def chart(outcome: dict[str, Any]) -> str:
    """Bars of CPU time per 1,000 requests, one group a case."""
    groups = {}
    for case in CASES:
        costs = {
            server: cases[case]["cpu_seconds_per_1000"]
            for server, cases in outcome["results"].items()
            if case in cases
        }
        groups[case] = [
            Bar(server, costs[server], f"{costs[server]:.3f}", server in (OURS, OURS_FLASK))
            for server in sorted(costs, key=lambda name: costs[name])
        ]
    return bars("Server CPU seconds per 1,000 requests (logarithmic; less is better)", groups)


def compare(options: argparse.Namespace) -> None:
    """Measure all servers, show the outcome and write it."""
    if not shutil.which("wrk"):
        raise RuntimeError("wrk is not installed; apt-get install wrk")
    chosen = [server for server in servers() if not options.only or server.name in (OURS, *options.only)]
    outcome = run(chosen, options.rounds, options.seconds)
    print(table(outcome))
    write_results("serving", outcome, chart(outcome))


def main() -> int:
    parser = option_parser(__doc__, rounds=3)
    parser.add_argument(
        "--seconds", type=float, default=2, help="of load for each server and case in a round"
    )
    parser.add_argument("--only", action="append", help="a server's name; may be given several times")
    options = parser.parse_args()
    return exit_code(lambda: compare(options), "the servers are stopped")


if __name__ == "__main__":
    sys.exit(main())
