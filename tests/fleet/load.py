"""A load of predictions that counts every lost or wrong answer: `load.py URL... --answers FILE [--questions FILE]`.

Open loop: requests are sent when they are due, however long others take, over kept-alive connections. No
request is sent twice. It is bounded in count and time, and ends early when its standard input does, so it never
outlives who started it. `under_load` runs it beside a test.
"""

import argparse
import asyncio
import json
import math
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import aiohttp

# Two irises that no model worth serving confuses.
PREDICTION = {"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2], [6.9, 3.1, 5.4, 2.1]]}
RIGHT = ["setosa", "virginica"]
TOLD = ("X-Release", "X-Endpoint", "Retry-After")
TIMEOUT_SECONDS = 15.0
# A client must give up an idle connection before the server does (Nginx keeps it 16 s at least), or a request
# meets its end.
IDLE_SECONDS = 5.0
LISTED = 5


@dataclass(frozen=True)
class Question:
    """A prediction to ask for, and the right answer to it."""

    prediction: Mapping[str, Any]
    right: Sequence[Any]


IRIS = Question(PREDICTION, RIGHT)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    `sent` is when it was due, in seconds since the epoch, and `seconds` the time from then to the end of the
    answer or of the hope for one. Without an answer `status` is 0. `error` is empty for the right answer.
    """

    sent: float
    seconds: float
    url: str
    status: int = 0
    release: str = ""
    endpoint: str = ""
    error: str = ""
    retry_after: str = ""


@dataclass(frozen=True)
class Record:
    """Answers in the order their requests were due."""

    answers: Sequence[Answer]

    @property
    def lost(self) -> list[Answer]:
        """The requests that got no answer, or not the right one."""
        return [answer for answer in self.answers if answer.error]

    @property
    def right(self) -> "Record":
        """What was answered, and right."""
        return Record([answer for answer in self.answers if not answer.error])

    @property
    def refused(self) -> "Record":
        """What was answered by 503 and a number of seconds after which to try again."""
        return Record(
            [answer for answer in self.answers if answer.status == 503 and answer.retry_after.isdecimal()]
        )

    def assert_nothing_lost(self) -> None:
        """Fail, with the first errors, unless there are answers and all of them are right."""
        assert self.answers, "nothing was sent"
        lost = self.lost
        first = self.answers[0].sent
        lines = [
            f"{answer.sent - first:.2f} s, {answer.url} {answer.endpoint} {answer.release}: {answer.error}"
            for answer in lost[:LISTED]
        ]
        assert not lost, "\n".join([f"{len(lost)} of {len(self.answers)} lost or wrong:", *lines])

    def between(self, since: float, until: float = math.inf) -> "Record":
        """Keep what was sent in an interval, both ends included, in seconds since the epoch."""
        return Record([answer for answer in self.answers if since <= answer.sent <= until])

    def through(self, url: str) -> "Record":
        """Keep what was sent to one load balancer."""
        return Record([answer for answer in self.answers if answer.url == url])

    def by_release(self) -> Counter[str]:
        """Count the answers of each release, wrong ones included."""
        return Counter(answer.release for answer in self.answers if answer.release)

    def by_endpoint(self) -> Counter[str]:
        """Count the answers of each endpoint, wrong ones included."""
        return Counter(answer.endpoint for answer in self.answers if answer.endpoint)

    def endpoint_shares(self) -> dict[str, float]:
        """Return the share, from 0 to 1, of the answers that each endpoint gave."""
        counts = self.by_endpoint()
        return {endpoint: count / counts.total() for endpoint, count in counts.items()}

    def release_share(self, release: str) -> float:
        """Return the share, from 0 to 1, of the answers that a release gave."""
        counts = self.by_release()
        return counts[release] / counts.total()

    def quantile(self, share: float) -> float:
        """Return the seconds within which this share of the requests, above 0, was answered."""
        times = sorted(answer.seconds for answer in self.answers)
        return times[math.ceil(share * len(times)) - 1]

    def silence(self) -> tuple[float, float]:
        """Return when the longest time without a right answer began and ended; raises if there are not two."""
        times = sorted(answer.sent + answer.seconds for answer in self.answers if not answer.error)
        return max(pairwise(times), key=lambda pair: pair[1] - pair[0])

    def span(self, release: str) -> tuple[float, float]:
        """Return when the first and the last request that a release answered were sent; raises if none was."""
        times = [answer.sent for answer in self.answers if answer.release == release]
        assert times, f"{release} answered nothing; these did: {dict(self.by_release())}"
        return times[0], times[-1]

    def overlap(self, one: str, other: str) -> float:
        """Return for how many seconds both of two releases answered."""
        (one_first, one_last), (other_first, other_last) = self.span(one), self.span(other)
        return max(0.0, min(one_last, other_last) - max(one_first, other_first))

    def switches(self, old: str, new: str) -> list[tuple[str, float, float]]:
        """Return how endpoints went from one release to another: each with the time of the last answer of the old one
        and of the first of the new one, in the order of the latter; raises where an endpoint lacks either.
        """
        found = []
        for endpoint in self.by_endpoint():
            of_it = Record([answer for answer in self.answers if answer.endpoint == endpoint])
            found.append((endpoint, of_it.span(old)[1], of_it.span(new)[0]))
        return sorted(found, key=lambda switch: switch[2])

    def assert_replaced_one_by_one(self, old: str, new: str, apart_seconds: float) -> None:
        """Fail unless each endpoint served the old release until the one before it served the new one.

        And unless the first answers of the new release by any two of them are more than `apart_seconds` apart, as they
        are not where a reload gives all of them the new release at once.
        """
        switches = self.switches(old, new)
        assert len(switches) > 1, f"only {[endpoint for endpoint, _, _ in switches]} answered"
        for (before, _, served), (endpoint, left, follows) in pairwise(switches):
            assert left > served, f"{endpoint} left {old} before {before} served {new}"
            assert follows - served > apart_seconds, f"{before} and {endpoint} went to {new} at once"


class Load:
    """A load that runs as a process of its own, and what it has recorded so far."""

    def __init__(
        self,
        urls: Sequence[str],
        rate: float,
        seconds: float,
        folder: Path,
        authority: Path | None,
        questions: Sequence[Question],
    ) -> None:
        answers, asked = folder / "answers", folder / "questions"
        asked.write_text(json.dumps([asdict(question) for question in questions]))
        command = [sys.executable, "-P", __file__, *urls, "--answers", str(answers)]
        command += ["--questions", str(asked), "--rate", str(rate), "--seconds", str(seconds)]
        command += ["--authority", str(authority)] if authority else []
        answers.touch()
        self._file = answers
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        self._record: Record | None = None

    def wait_until_under_way(self) -> None:
        """Return once the first request is answered, or lost."""
        while not self._file.stat().st_size and self._process.poll() is None:
            time.sleep(0.05)

    def record(self) -> Record:
        """Return the answers there are by now; once the load has ended, all of them."""
        return self._record or self._read()

    def during(self, seconds: float) -> Record:
        """Let the load run on and return the answers of this time, late ones aside."""
        since = time.time()
        time.sleep(seconds)
        until = time.time()
        time.sleep(0.3)
        return self.record().between(since, until)

    def stop(self) -> None:
        """End the load once everything that was sent is answered or given up; raises if it had ended before."""
        ended = self._process.poll()
        self._process.communicate(timeout=TIMEOUT_SECONDS + 10)
        self._record = self._read()
        assert ended is None, f"the load ended before the test did, with exit code {ended}"
        assert self._process.returncode == 0, f"the load failed with exit code {self._process.returncode}"

    def kill(self) -> None:
        """End the load at once, wherever it is."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> Record:
        whole, _, _ = self._file.read_text().rpartition("\n")
        answers = [Answer(**json.loads(line)) for line in whole.splitlines()]
        return Record(sorted(answers, key=lambda answer: answer.sent))


@contextmanager
def under_load(
    urls: Sequence[str],
    rate: float = 100,
    seconds: float = 900,
    authority: Path | None = None,
    questions: Sequence[Question] = (IRIS,),
) -> Iterator[Load]:
    """Send `rate` predictions a second for as long as the block runs: each question in turn, to each URL in turn.

    The block may take no longer than `seconds`: a load that ended before it is an error. `authority` is the file of
    the certificates that are trusted.
    """
    with TemporaryDirectory(prefix="flotilla-load-") as folder:
        load = Load(urls, rate, seconds, Path(folder), authority, questions)
        try:
            load.wait_until_under_way()
            load.during(1)
            yield load
            load.stop()
        finally:
            load.kill()


def fault(answer: Answer, content: bytes, right: Sequence[Any]) -> str:
    """Return what is wrong with an answer and its body; empty when all is right."""
    if answer.status != 200:
        return f"status {answer.status}: {content[:200]!r}"
    if not (answer.release and answer.endpoint):
        return f"X-Release is {answer.release!r}, X-Endpoint {answer.endpoint!r}"
    try:
        predictions = json.loads(content)["predictions"]
    except (ValueError, KeyError, TypeError):
        return f"no predictions: {content[:200]!r}"
    return "" if predictions == right else f"predictions {predictions!r}"


async def ask(session: aiohttp.ClientSession, request: Answer, question: Question) -> Answer:
    """Send one request, once, and return what became of it."""
    answered = request
    try:
        # A POST is one of the methods that aiohttp never sends a second time by itself.
        sent = session.post(f"{request.url}/predict", json=question.prediction, allow_redirects=False)
        async with sent as answer:
            release, endpoint, retry_after = (answer.headers.get(name, "") for name in TOLD)
            answered = replace(
                request, status=answer.status, release=release, endpoint=endpoint, retry_after=retry_after
            )
            error = fault(answered, await answer.read(), question.right)
    except TimeoutError:
        error = "no answer in time"
    except (aiohttp.ClientError, OSError) as exception:
        error = f"{type(exception).__name__}: {exception}"
    return replace(answered, seconds=time.time() - request.sent, error=error)


async def send(
    urls: Sequence[str],
    questions: Sequence[Question],
    rate: float,
    seconds: float,
    timeout_seconds: float,
    trust: ssl.SSLContext | bool,
    answers: TextIO,
    end: asyncio.Event,
) -> None:
    """Send `rate` requests a second for `seconds` or until `end`, and write each answer as a line of JSON."""

    async def one(request: Answer, question: Question) -> None:
        answer = await ask(session, request, question)
        answers.write(json.dumps(asdict(answer)) + "\n")
        answers.flush()

    start = time.time()
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=trust),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        ) as session,
        asyncio.TaskGroup() as requests,
    ):
        for number in range(int(rate * seconds)):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.time()))
            if end.is_set():
                break
            turn, at = divmod(number, len(urls))
            question = questions[turn % len(questions)]
            requests.create_task(one(Answer(due, 0.0, urls[at]), question))


async def run(arguments: argparse.Namespace) -> None:
    """Send the load that the command line asks for."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()

    def input_ended() -> None:
        loop.remove_reader(sys.stdin)
        end.set()

    loop.add_reader(sys.stdin, input_ended)
    trust = ssl.create_default_context(cafile=arguments.authority) if arguments.authority else True
    questions = [IRIS]
    if arguments.questions:
        questions = [Question(**question) for question in json.loads(arguments.questions.read_text())]
    with arguments.answers.open("w") as answers:
        await send(
            arguments.urls,
            questions,
            arguments.rate,
            arguments.seconds,
            arguments.timeout,
            trust,
            answers,
            end,
        )


def main() -> None:
    """Read the command line and send the load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "urls", nargs="+", metavar="URL", help="of the load balancers, which get requests in turn"
    )
    parser.add_argument("--answers", type=Path, required=True, help="file for a line of JSON per answer")
    parser.add_argument("--questions", type=Path, help="file of what is asked; default: two irises")
    parser.add_argument("--rate", type=float, default=100, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60, help="how long, at most")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_SECONDS, help="seconds to wait for an answer"
    )
    parser.add_argument("--authority", help="file of the certificates to trust; default: the machine's")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
