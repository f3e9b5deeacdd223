"""Servers that run as processes of this machine: how they are started, what they cost, and load to put on them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import served
from report import say

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
ENDPOINT = HERE.parent / "model_endpoint"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flotilla" / "bench"
TICKS = os.sysconf("SC_CLK_TCK")
# How Flotilla's endpoint is started.
OWN_LOCK = ENDPOINT / "requirements-build.txt"
OWN_COMMAND = "{python} -m model_endpoint"


@dataclass
class Server:
    """One way to serve: its lock, how to start it, and where and how it is asked.

    `command` and `prepare`, run without a shell, may hold {python}, {bin}, {port}, {folder} and {model}. A server is
    asked on `path`, for a model in `own_paths` on that path. It serves `models`; one of `one_model` is started once for
    each of them. A server that speaks TLS is asked with `client`.
    """

    name: str
    lock: Path
    command: str
    prepare: str = ""
    path: str = "/predict"
    own_paths: Mapping[str, str] = field(default_factory=dict)
    form: str = "instances"
    models: tuple[str, ...] = served.ALL
    environ: dict[str, str] = field(default_factory=dict)
    one_model: bool = False
    client: ssl.SSLContext | None = None


def environment(lock: Path) -> Path:
    """The bin folder of a virtual environment with what a lock names; made once for each content of the lock."""
    folder = CACHE / f"{lock.parent.name}-{lock.stem}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        say(f"installing {lock.relative_to(HERE.parent)}")
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
        scheme = "https" if self.server.client else "http"
        path = self.server.own_paths.get(model, self.server.path)
        return f"{scheme}://127.0.0.1:{self.port}{path.format(model=served.place(model))}"

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)

    def proportional_memory(self) -> list[int]:
        """Bytes of each of its processes, largest first, pages they share counted in parts."""
        sizes = []
        for process in family(self.process.pid):
            with contextlib.suppress(OSError):
                text = (process / "smaps_rollup").read_text()
                sizes.append(int(re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)[0]) * 1024)
        return sorted(sizes, reverse=True)

    def stop(self) -> None:
        processes = family(self.process.pid)
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
        self.process.wait()


def family(process: int) -> list[Path]:
    """The folders in /proc of a process and of all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(_fields(stat)[1]), []).append(int(stat.parent.name))
    members = [process]
    for member in members:  # grows while it is walked
        members += children.get(member, [])
    return [Path(f"/proc/{member}") for member in members]


def cpu_seconds(process: int) -> float:
    """User and system time of a process and its descendants, with those of their children that have ended."""
    total = 0
    for member in family(process):
        with contextlib.suppress(OSError):
            total += sum(int(ticks) for ticks in _fields(member / "stat")[11:15])
    return total / TICKS


def own_cpu_seconds(process: int) -> float:
    """User and system time of a process alone."""
    return sum(int(ticks) for ticks in _fields(Path(f"/proc/{process}/stat"))[11:13]) / TICKS


def parent(process: int) -> int:
    return int(_fields(Path(f"/proc/{process}/stat"))[1])


def _fields(stat: Path) -> list[str]:
    """The fields of /proc/PID/stat after the command's name, which may hold blanks: state, parent, group, session…"""
    return stat.read_text().rpartition(")")[2].split()


def start(server: Server, port: int, model: str, folder: Path, models: Path) -> Running:
    """Start a server of the models in `models` and wait until it answers right.

    Raises RuntimeError with the end of its output.
    """
    bin_folder = environment(server.lock)
    environ = variables(server, port, bin_folder, models, folder / "ours")
    if server.lock == OWN_LOCK and not (folder / "ours").exists():
        build_models(models, folder / "ours", environ)
    place = {
        "python": str(bin_folder / "python"),
        "bin": str(bin_folder),
        "port": str(port),
        "folder": str(folder / f"served-{port}"),
        "model": served.place(model),
    }
    prepare, command = (
        [word.format(**place) for word in shlex.split(line)] for line in (server.prepare, server.command)
    )
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        if prepare:
            subprocess.run(
                prepare, env=environ, cwd=PEERS, check=True, stdout=output, stderr=output, timeout=120
            )
        began = time.monotonic()
        process = subprocess.Popen(command, env=environ, cwd=PEERS, stdout=output, stderr=output)
    running = Running(server, process, port, 0.0)
    try:
        if answers_right(running, model, models, began + 120):
            running.seconds = time.monotonic() - began
            return running
    except KeyboardInterrupt:
        running.stop()
        raise
    running.stop()
    end = " / ".join(log.read_text(errors="replace").splitlines()[-3:])
    raise RuntimeError(f"{server.name} did not answer right: {end}")


def variables(server: Server, port: int, bin_folder: Path, models: Path, ours: Path) -> dict[str, str]:
    """Return the environment variables of a server of `models`; Flotilla's endpoint has them built in `ours`."""
    return os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "BENCH_MODELS": str(models),
        "PYTHONPATH": f"{ENDPOINT / 'src'}:{PEERS}",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "FLOTILLA_MODELS": str(ours),
        "FLOTILLA_ADDRESS": "127.0.0.1",
        "FLOTILLA_PORT": str(port),
        "FLOTILLA_WORKERS": "2",
        "FLOTILLA_THREADS": "1",
        **server.environ,
    }


def build_models(models: Path, ours: Path, environ: dict[str, str]) -> None:
    """Write what Flotilla's image holds of the models, with this environment's libraries, which made them."""
    build = "import sys; from pathlib import Path; from model_endpoint.packing import image; "
    build += "image.build(*map(Path, sys.argv[1:]))"
    command = [sys.executable, "-c", build, str(models), str(ours)]
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)


def answers_right(running: Running, model: str, models: Path, deadline: float) -> bool:
    """Ask a server until its first answer and tell whether that is right; no answer by the deadline is not."""
    body = served.body(running.server.form, model, served.rows_of(models, model, 1))
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            answer = ask(running.url(model), body, running.server.client)
            return served.expected(models, model) in "".join(answer.split())
        except OSError:
            time.sleep(0.02)
    return False


def ask(url: str, body: bytes, client: ssl.SSLContext | None = None) -> str:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20, context=client) as answer:
        text: str = answer.read().decode()
    return text


def load(
    url: str,
    body: str,
    seconds: float,
    folder: Path,
    cpu: Mapping[str, Callable[[], float]],
    connections: int = 8,
    right: str | None = None,
) -> dict[str, float]:
    """Put load on a URL for a while, after a second to warm up, and say what a request cost by each clock of `cpu`.

    Raises RuntimeError when an answer was no success, or was not `right`.
    """
    script = folder / "request.lua"
    check = f"if body ~= [==[{right}]==] then wrong = wrong + 1 end" if right is not None else ""
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{body}]==]\n'
        "local threads = {}\n"
        "setup = function(thread) table.insert(threads, thread) end\n"
        "wrong = 0\n"
        + (f"response = function(status, headers, body) {check} end\n" if check else "")
        + "done = function(summary, latency)\n"
        "  local e, p50, p99 = summary.errors, latency:percentile(50), latency:percentile(99)\n"
        "  local failed = e.status + e.connect + e.read + e.write + e.timeout\n"
        '  for _, thread in ipairs(threads) do failed = failed + thread:get("wrong") end\n'
        '  io.write(string.format("@ %d %d %f %f %d\\n", summary.requests, summary.duration, p50, p99, failed))\n'
        "end\n"
    )
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--script", str(script), url]
    subprocess.run([*command, "--duration", "1s"], check=True, stdout=subprocess.DEVNULL)
    before = {name: clock() for name, clock in cpu.items()}
    output = subprocess.run(
        [*command, "--duration", f"{seconds:.0f}s"], check=True, stdout=subprocess.PIPE, text=True
    )
    spent = {name: clock() - before[name] for name, clock in cpu.items()}
    values = [float(value) for value in output.stdout.rpartition("@ ")[2].split()]
    requests, duration, p50, p99, errors = values
    if errors or not requests:
        raise RuntimeError(f"{errors:.0f} of {requests:.0f} requests failed")
    return {
        **{f"{name}_seconds_per_1000": seconds / requests * 1000 for name, seconds in spent.items()},
        "requests_per_second": requests / duration * 1e6,
        "p50_ms": p50 / 1000,
        "p99_ms": p99 / 1000,
    }
