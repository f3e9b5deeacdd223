"""Compare Flotilla's endpoint with other ways of serving the same models: `make bench-serve`.

Each server runs in an environment of its own, made from a lock with hashes and kept in the cache. Rounds are
interleaved, so that a noisy machine is noisy for all. The figure is the CPU time a server's processes take per
1,000 requests, read from /proc; requests per second and latencies, by wrk, stand beside it. Results go to
bench/results/serving.json and serving.svg.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chart import Bar, bars

HERE = Path(__file__).resolve().parent
ENDPOINT = HERE.parent / "model_endpoint"
MODELS = ENDPOINT / "models"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flotilla" / "bench"
TICKS = os.sysconf("SC_CLK_TCK")
OURS, OURS_FLASK = "Flotilla, fast lane", "Flotilla, Flask view"
CONSTANT, CONSTANT_FLASK = "constant reply", "constant reply from Flask"
CASES = {
    "iris, 1 row": ("iris", 1),
    "forest, 1 row": ("breast_cancer", 1),
    "forest, 100 rows": ("breast_cancer", 100),
}
# What the peers' CPU time per request is to be at least, in ours: with the Flask view, with the fast lane.
FRAMEWORKS = ((8, 30, 8), (30, 100, 8))
GOALS = {
    "FastAPI": ((2.5, 20, 5), (8, 60, 5)),
    "BentoML": FRAMEWORKS,
    "MLServer": FRAMEWORKS,
    "LitServe": FRAMEWORKS,
    "MLflow": FRAMEWORKS,
    "Flask development server": ((8, 40, 10), (30, 120, 10)),
    CONSTANT: ((0.75, None, None), (0.6, None, None)),
}


@dataclass
class Server:
    """One way to serve: its lock, how to start it, and where and how it is asked.

    `command` and `prepare` may hold {python}, {bin}, {port}, {folder} and {model}. A server of `one_model` is
    started once for each.
    """

    name: str
    lock: Path
    command: list[str]
    prepare: list[str] = field(default_factory=list)
    path: str = "/predict"
    form: str = "instances"
    environ: dict[str, str] = field(default_factory=dict)
    one_model: bool = False

    def body(self, model: str, rows: list[list[float]]) -> bytes:
        content: dict[str, Any] = {"model": model, "instances": rows}
        if self.form == "v2":
            flat = [value for row in rows for value in row]
            tensor = {"name": "input", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": flat}
            content = {"inputs": [tensor]}
        elif self.form == "mlflow":
            content = {"instances": rows}
        return json.dumps(content).encode()


def servers() -> list[Server]:
    locks = HERE / "requirements"
    own = ENDPOINT / "requirements-build.txt"
    ours = ["{python}", "-m", "model_endpoint"]
    return [
        Server(OURS, own, ours),
        Server(OURS_FLASK, own, ours, environ={"FLOTILLA_FAST_LANE": "false"}),
        Server(CONSTANT, own, ["{python}", "constant.py", "{port}", "wsgi"]),
        Server(CONSTANT_FLASK, own, ["{python}", "constant.py", "{port}", "flask"]),
        Server(
            "FastAPI",
            locks / "fastapi.txt",
            [
                "{python}",
                "-m",
                "uvicorn",
                "fastapi_app:app",
                "--port",
                "{port}",
                "--workers",
                "2",
                "--no-access-log",
            ],
        ),
        Server(
            "BentoML",
            locks / "bentoml.txt",
            ["{bin}/bentoml", "serve", "bentoml_app:Bench", "--host", "127.0.0.1", "--port", "{port}"],
        ),
        Server(
            "MLServer",
            locks / "mlserver.txt",
            ["{bin}/mlserver", "start", "{folder}"],
            prepare=["{python}", "mlserver_prepare.py", "{folder}", "{port}"],
            path="/v2/models/{model}/infer",
            form="v2",
        ),
        Server("LitServe", locks / "litserve.txt", ["{python}", "litserve_app.py", "{port}"]),
        Server(
            "MLflow",
            locks / "mlflow.txt",
            [
                "{bin}/mlflow",
                "models",
                "serve",
                "-m",
                "{folder}",
                "--env-manager",
                "local",
                "-p",
                "{port}",
                "-w",
                "2",
            ],
            prepare=["{python}", "mlflow_prepare.py", "{folder}", "{model}"],
            path="/invocations",
            form="mlflow",
            one_model=True,
        ),
        Server("Flask development server", own, ["{python}", "flask_app.py", "{port}"]),
    ]


def environment(lock: Path) -> Path:
    """The bin folder of a virtual environment with what a lock names; made once for each content of the lock."""
    folder = CACHE / f"{lock.parent.name}-{lock.stem}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        print(f"installing {lock.relative_to(HERE.parent)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        uv = shutil.which("uv")
        if uv:
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
        else:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            install = [str(folder / "bin" / "pip"), "install", "--quiet"]
        subprocess.run([*install, "--require-hashes", "-r", lock], check=True, timeout=600)
        (folder / "complete").touch()
    return folder / "bin"


@dataclass
class Running:
    """A server that answers; `seconds` is how long it took from its start to its first right answer."""

    server: Server
    process: subprocess.Popen[bytes]
    port: int
    seconds: float

    def url(self, model: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.server.path.format(model=model)}"

    def processes(self) -> list[Path]:
        """The process that was started and all that descend from it."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                children.setdefault(int(_fields(stat)[1]), []).append(int(stat.parent.name))
        family = [self.process.pid]
        for process in family:  # grows while it is walked
            family += children.get(process, [])
        return [Path(f"/proc/{process}") for process in family]

    def cpu_seconds(self) -> float:
        """User and system time of all its processes, with those of children that have ended."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                total += sum(int(ticks) for ticks in _fields(process / "stat")[11:15])
        return total / TICKS

    def proportional_memory(self) -> list[int]:
        """Bytes of each of its processes, largest first, pages they share counted in parts."""
        sizes = []
        for process in self.processes():
            with contextlib.suppress(OSError):
                text = (process / "smaps_rollup").read_text()
                sizes.append(int(re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)[0]) * 1024)
        return sorted(sizes, reverse=True)

    def stop(self) -> None:
        family = [int(process.name) for process in self.processes()]
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        for process in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


def _fields(stat: Path) -> list[str]:
    """The fields of /proc/PID/stat after the command's name, which may hold blanks: state, parent, group, session…"""
    return stat.read_text().rpartition(")")[2].split()


def start(server: Server, port: int, model: str, folder: Path) -> Running:
    """Start a server and wait until it answers right. Raises RuntimeError with the end of its output."""
    bin_folder = environment(server.lock)
    place = {"python": str(bin_folder / "python"), "bin": str(bin_folder), "port": str(port), "model": model}
    place["folder"] = str(folder / f"served-{port}")
    served = folder / "ours"
    environ = os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "BENCH_MODELS": str(MODELS),
        "PYTHONPATH": f"{ENDPOINT / 'src'}:{HERE / 'peers'}",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "FLOTILLA_MODELS": str(served),
        "FLOTILLA_ADDRESS": "127.0.0.1",
        "FLOTILLA_PORT": str(port),
        "FLOTILLA_WORKERS": "2",
        "FLOTILLA_THREADS": "1",
        **server.environ,
    }
    if server.lock.parent == ENDPOINT and not served.exists():
        build = "import sys, pathlib; from model_endpoint import image; image.build(*map(pathlib.Path, sys.argv[1:]))"
        arguments = [place["python"], "-c", build, str(MODELS), str(served)]
        subprocess.run(arguments, env=environ, check=True, stdout=subprocess.DEVNULL)
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        if server.prepare:
            prepare = [word.format(**place) for word in server.prepare]
            subprocess.run(
                prepare,
                env=environ,
                cwd=HERE / "peers",
                check=True,
                stdout=output,
                stderr=output,
                timeout=120,
            )
        began = time.monotonic()
        process = subprocess.Popen(
            [word.format(**place) for word in server.command],
            env=environ,
            cwd=HERE / "peers",
            stdout=output,
            stderr=output,
        )
    running = Running(server, process, port, 0.0)
    body = server.body(model, rows_of(model, 1))
    while time.monotonic() - began < 120 and process.poll() is None:
        try:
            if expected(model) in ask(running.url(model), body):
                running.seconds = time.monotonic() - began
                return running
            break
        except OSError:
            time.sleep(0.02)
    running.stop()
    raise RuntimeError("it did not answer: " + " / ".join(log.read_text(errors="replace").splitlines()[-3:]))


def ask(url: str, body: bytes) -> str:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        text: str = answer.read().decode()
    return text


def rows_of(model: str, count: int) -> list[list[float]]:
    golden = json.loads((MODELS / model / "golden.json").read_text())
    rows = [request["rows"][0] for request in golden]
    return [rows[index % len(rows)] for index in range(count)]


def expected(model: str) -> str:
    golden = json.loads((MODELS / model / "golden.json").read_text())
    label: str = golden[0]["outputs"]["predict"][0]
    return "setosa" if model == "iris" else label


def measure(running: Running, case: str, seconds: float, folder: Path) -> dict[str, float]:
    """Put load on a server for a while and say what a request cost it.

    Raises RuntimeError when an answer was no success.
    """
    model, count = CASES[case]
    script = folder / "request.lua"
    body = running.server.body(model, rows_of(model, count)).decode()
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{body}]==]\n'
        "done = function(summary, latency)\n"
        "  local e, p50, p99 = summary.errors, latency:percentile(50), latency:percentile(99)\n"
        "  local failed = e.status + e.connect + e.read + e.write + e.timeout\n"
        '  io.write(string.format("@ %d %d %f %f %d\\n", summary.requests, summary.duration, p50, p99, failed))\n'
        "end\n"
    )
    command = ["wrk", "--threads", "1", "--connections", "8", "--script", str(script), running.url(model)]
    subprocess.run([*command, "--duration", "1s"], check=True, stdout=subprocess.DEVNULL)
    before = running.cpu_seconds()
    output = subprocess.run(
        [*command, "--duration", f"{seconds:.0f}s"], check=True, stdout=subprocess.PIPE, text=True
    )
    spent = running.cpu_seconds() - before
    values = [float(value) for value in output.stdout.rpartition("@ ")[2].split()]
    requests, duration, p50, p99, errors = values
    if errors or not requests:
        raise RuntimeError(f"{errors:.0f} of {requests:.0f} requests failed")
    return {
        "cpu_seconds_per_1000": spent / requests * 1000,
        "requests_per_second": requests / duration * 1e6,
        "p50_ms": p50 / 1000,
        "p99_ms": p99 / 1000,
    }


@contextlib.contextmanager
def all_running(
    chosen: list[Server], folder: Path, missing: dict[str, str]
) -> Iterator[dict[tuple[str, str], Running]]:
    """Start all servers, by name and model; those that can't be are named in `missing` with the reason."""
    running: dict[tuple[str, str], Running] = {}
    port = 24100
    try:
        for server in chosen:
            try:
                for model in ("iris", "breast_cancer"):
                    if server.one_model or not any(name == server.name for name, _ in running):
                        port += 10
                        running[server.name, model] = start(server, port, model, folder)
                    else:
                        running[server.name, model] = running[server.name, "iris"]
                print(f"{server.name}: ready after {running[server.name, 'iris'].seconds:.2f} s", flush=True)
            except (RuntimeError, subprocess.SubprocessError, OSError) as error:
                missing[server.name] = str(error)[:300]
                print(f"{server.name}: not measured: {missing[server.name]}", flush=True)
        yield running
    finally:
        for each in {id(one): one for one in running.values()}.values():
            each.stop()


def run(chosen: list[Server], rounds: int, seconds: float) -> dict[str, Any]:
    """Measure all servers in interleaved rounds; a result is the median over the rounds."""
    missing: dict[str, str] = {}
    samples: dict[str, dict[str, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as name:
        folder = Path(name)
        with all_running(chosen, folder, missing) as running:
            for number in range(rounds):
                for case, (model, _) in CASES.items():
                    for server in chosen:
                        if server.name in missing:
                            continue
                        try:
                            sample = measure(running[server.name, model], case, seconds, folder)
                        except (RuntimeError, subprocess.SubprocessError) as error:
                            missing[server.name] = f"{case}: {error}"
                            continue
                        samples.setdefault(server.name, {}).setdefault(case, []).append(sample)
                print(f"round {number + 1} of {rounds} done", flush=True)
            ours = running[OURS, "iris"]
            facts = {"ready_seconds": ours.seconds, "worker_memory_bytes": ours.proportional_memory()}
    results = {
        server: {
            case: {key: statistics.median(sample[key] for sample in taken) for key in taken[0]}
            for case, taken in cases.items()
        }
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
        for ours, goal in zip((OURS_FLASK, OURS), goals, strict=True):
            other = CONSTANT_FLASK if peer == CONSTANT and ours == OURS_FLASK else peer
            if other not in results or ours not in results:
                continue
            for case, wanted in zip(CASES, goal, strict=True):
                if wanted is None:
                    continue
                theirs = results[other][case]["cpu_seconds_per_1000"]
                ratio = theirs / results[ours][case]["cpu_seconds_per_1000"]
                rows.append(
                    {
                        "peer": other,
                        "ours": ours,
                        "case": case,
                        "ratio": ratio,
                        "goal": wanted,
                        "met": ratio >= wanted,
                    }
                )
    return rows


def table(outcome: dict[str, Any]) -> str:
    lines = [f"{'':26} {'case':18} {'CPU s / 1,000':>14} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}"]
    for server, cases in outcome["results"].items():
        for case, value in cases.items():
            lines.append(
                f"{server:26} {case:18} {value['cpu_seconds_per_1000']:14.3f} {value['requests_per_second']:11.0f} "
                f"{value['p50_ms']:8.2f} {value['p99_ms']:8.2f}"
            )
    lines.append("")
    for row in outcome["ratios"]:
        verdict = f"goal {row['goal']:6}: {'met' if row['met'] else 'NOT met'}"
        lines.append(f"{row['peer']:26} in {row['ours']:21} {row['case']:18} {row['ratio']:7.2f}, {verdict}")
    for server, reason in outcome["not_measured"].items():
        lines.append(f"{server}: not measured: {reason}")
    return "\n".join(lines)


def chart(outcome: dict[str, Any]) -> str:
    """Bars of CPU time per 1,000 requests, one group a case."""
    groups = {}
    for case in CASES:
        costs = {server: cases[case]["cpu_seconds_per_1000"] for server, cases in outcome["results"].items()}
        groups[case] = [
            Bar(server, costs[server], f"{costs[server]:.3f}", server in (OURS, OURS_FLASK))
            for server in sorted(costs, key=lambda name: costs[name])
        ]
    return bars("Server CPU seconds per 1,000 requests (logarithmic; less is better)", groups)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=2, help="of load for each server and case in a round"
    )
    parser.add_argument("--only", action="append", help="a server's name; may be given several times")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        print("error: wrk is not installed; apt-get install wrk", file=sys.stderr)
        return 1
    chosen = [server for server in servers() if not options.only or server.name in (OURS, *options.only)]
    outcome = run(chosen, options.rounds, options.seconds)
    print(table(outcome))
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "serving.json").write_text(json.dumps(outcome, indent=1) + "\n")
    (results / "serving.svg").write_text(chart(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
