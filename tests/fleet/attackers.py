"""Clients with heavy requests, and what became of these.

Bounded in count and time, and written to take little of the machine that it shares with the fleet: all requests of one
size have one body, made before. `attack` runs it beside a test.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

SEED = 7
MOST_SECONDS = 60.0
ENDPOINT = Path(__file__).parents[2] / "model_endpoint" / "src"


@dataclass(frozen=True)
class Attack:
    """What to send to `url`: `connections` at a time, for `seconds`, requests of `rows` rows.

    With `rate` as many requests a second are begun, whatever became of those before; without, each connection sends one
    after another, and none for a second after 429 or 503. `senders` are the addresses that the requests come from by
    their X-Forwarded-For, in turn. With `hang_up` the client leaves as soon as it has sent a body. With `paced` it
    sends at most as many rows and requests at a time, and as few as `flotilla-model score` where answers become slower.
    """

    url: str
    rows: int
    senders: Sequence[str]
    seconds: float = 22.0
    connections: int = 1
    rate: float = 0.0
    requests: int = 100_000
    hang_up: bool = False
    paced: bool = False


@dataclass
class Outcome:
    """How many requests were answered, by status, and within how many seconds; 0 is for those without an answer."""

    statuses: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    rows: int = 0
    """The rows that were predicted."""

    def of(self, status: int) -> int:
        """Return how many requests were answered with a status."""
        return self.statuses.get(str(status), 0)

    def count(self, status: int) -> None:
        """Count a request that was answered with a status."""
        self.statuses[str(status)] = self.of(status) + 1


def body(rows: int) -> bytes:
    """Return a request of so many rows for the model of irises, of 62 bytes each."""
    pick = random.Random(SEED)
    lines = ["[" + ",".join(f"{pick.uniform(1, 8):.12f}" for _ in range(4)) + "]" for _ in range(500)]
    chosen = (lines * (rows // len(lines) + 1))[:rows]
    return b'{"model":"iris","instances":[' + ",".join(chosen).encode() + b"]}"


class Client:
    """Connections of an attack."""

    def __init__(self, attack: Attack) -> None:
        self._attack = attack
        self._body = body(attack.rows)
        self._host = urlsplit(attack.url)
        self._until = time.monotonic() + attack.seconds
        self._numbers = iter(range(attack.requests))
        self.outcome = Outcome()

    async def run(self) -> None:
        """Send all of it."""
        begun = time.monotonic()
        if self._attack.paced:
            await self._at_a_pace()
        elif self._attack.rate:
            await self._at_a_rate(begun)
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._attack.connections):
                    group.create_task(self._one_after_another())
        self.outcome.seconds = time.monotonic() - begun

    async def _at_a_rate(self, begun: float) -> None:
        together = self._attack.connections if self._attack.hang_up else 1
        async with asyncio.TaskGroup() as group:
            for number in self._numbers:
                due = begun + number // together * together / self._attack.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if time.monotonic() >= self._until:
                    break
                group.create_task(self._once(number))

    async def _at_a_pace(self) -> None:
        sys.path.append(str(ENDPOINT))
        from model_endpoint.packing.scoring.pace import Pace

        pace = Pace(self._attack.connections)
        pending: set[asyncio.Task[None]] = set()

        async def piece(rows: int, number: int) -> None:
            begun = time.monotonic()
            refusals = 0
            while (status := await self._once(number, body(rows))) in (429, 503):
                refusals += 1
                await asyncio.sleep(1)
                begun = time.monotonic()
            if status == 200:
                pace.answered(rows, time.monotonic() - begun, refusals)
                self.outcome.rows += rows

        for number in self._numbers:
            while len(pending) >= pace.under_way:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if time.monotonic() >= self._until:
                break
            pending.add(asyncio.create_task(piece(min(pace.rows, self._attack.rows), number)))
        await asyncio.gather(*pending)

    async def _once(self, number: int, content: bytes = b"") -> int:
        try:
            reader, writer = await asyncio.open_connection(self._host.hostname, self._host.port or 80)
        except OSError:
            self.outcome.count(0)
            return 0
        status = await self._ask(reader, writer, number, content)
        writer.close()
        return status

    async def _one_after_another(self) -> None:
        reader, writer = await asyncio.open_connection(self._host.hostname, self._host.port or 80)
        for number in self._numbers:
            if time.monotonic() >= self._until:
                break
            status = await self._ask(reader, writer, number)
            if status in (429, 503):
                await asyncio.sleep(1)
            if status == 0 or reader.at_eof():
                writer.close()
                reader, writer = await asyncio.open_connection(self._host.hostname, self._host.port or 80)
        writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, content: bytes = b""
    ) -> int:
        content = content or self._body
        sender = self._attack.senders[number % len(self._attack.senders)]
        head = (
            f"POST /predict HTTP/1.1\r\nHost: {self._host.hostname}\r\nX-Forwarded-For: {sender}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        status = 0
        try:
            writer.write(head.encode() + content)
            await writer.drain()
            if self._attack.hang_up:
                writer.close()
                return 0
            status = int((await reader.readline()).split()[1])
            length = 0
            while line := (await reader.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            await reader.readexactly(length)
        except (OSError, IndexError, asyncio.IncompleteReadError):
            status = 0
        finally:
            self.outcome.count(status)
        return status


@contextmanager
def attack(attack: Attack) -> Iterator["Running"]:
    """Run an attack as a process of its own for as long as the block runs, or until it is over."""
    running = Running(attack)
    try:
        yield running
    finally:
        running.end()


class Running:
    """An attack under way."""

    def __init__(self, attack: Attack) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, json.dumps(asdict(attack))], stdout=subprocess.PIPE, text=True
        )

    def outcome(self) -> Outcome:
        """Return what became of the requests, once all is over."""
        output, _ = self._process.communicate(timeout=2 * MOST_SECONDS)
        return Outcome(**json.loads(output))

    def end(self) -> None:
        """End it, wherever it is."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Read the attack from the command line, run it and write its outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attack", help="as JSON")
    os.nice(10)  # elsewhere, attackers have machines of their own
    wanted = Attack(**json.loads(parser.parse_args().attack))
    assert wanted.seconds <= MOST_SECONDS
    client = Client(wanted)
    asyncio.run(asyncio.wait_for(client.run(), 2 * MOST_SECONDS))
    sys.stdout.write(json.dumps(asdict(client.outcome)))


if __name__ == "__main__":
    main()
