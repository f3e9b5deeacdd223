"""Runs beside kept.py: sends predictions over kept connections with pauses, and counts those that are lost.

`kept_clients.py CLIENT URL` sends until its standard input ends, and then writes `{"sent": …, "lost": …, …}`. No
prediction is sent twice, unless the client's library does it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import socket
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import httpx
import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

BODY = b'{"model":"iris","instances":[[5.1,3.5,1.4,0.2]]}'
HEADERS = {"Content-Type": "application/json"}
TIMEOUT_SECONDS = 60
LAST_SECONDS = 5
READ_BYTES = 65536


class Careless:
    """Sends on a kept connection without a look whether the server has closed it."""

    def __init__(self, url: str) -> None:
        place = urllib.parse.urlsplit(url)
        self._place = place.hostname or "", place.port or 80
        head = f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(BODY)}\r\n\r\n"
        self._request = head.encode() + BODY
        self._connection: socket.socket | None = None

    def __call__(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None or not self.usable(connection):
            connection = socket.create_connection(self._place, TIMEOUT_SECONDS)
        connection.sendall(self._request)
        if self._read_answer(connection):
            connection.close()
        else:
            self._connection = connection

    def _read_answer(self, connection: socket.socket) -> bool:
        """Read an answer, and return whether the server will close the connection."""
        answer = b""
        while True:
            piece = connection.recv(READ_BYTES)
            if not piece:
                raise ConnectionResetError("the server closed the connection")
            answer += piece
            head, separator, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"\r\nContent-Length: (\d+)", head)
            if separator and length and len(body) == int(length[1]):
                break
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(head.decode())
        return b"\r\nConnection: close" in head

    def usable(self, connection: socket.socket) -> bool:
        return True


class LikeGo(Careless):
    """Notices when the server closes, gives up a connection after some idle seconds, and sends no POST again.

    So does the transport of Go's net/http for a request without the header Idempotency-Key.
    """

    def __init__(self, url: str, idle_seconds: float = 90) -> None:
        super().__init__(url)
        self._idle_seconds = idle_seconds
        self._used = 0.0

    def __call__(self) -> None:
        super().__call__()
        self._used = time.monotonic()

    def usable(self, connection: socket.socket) -> bool:
        if time.monotonic() - self._used > self._idle_seconds:
            connection.close()
            return False
        connection.setblocking(False)
        try:
            connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            connection.settimeout(TIMEOUT_SECONDS)
            return True
        except OSError:
            pass
        connection.close()
        return False


def with_requests(url: str, retries: Retry | None = None) -> Callable[[], None]:
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retries or 0))
    return lambda: session.post(url, BODY, headers=HEADERS, timeout=TIMEOUT_SECONDS).raise_for_status()


def with_httpx(url: str) -> Callable[[], None]:
    client = httpx.Client(timeout=TIMEOUT_SECONDS)

    def send() -> None:
        client.post(url, content=BODY, headers=HEADERS).raise_for_status()

    return send


# A prediction has no side effect, so it may be sent again.
CLIENTS: dict[str, Callable[[str], Callable[[], None]]] = {
    "careless": Careless,
    "requests": with_requests,
    "requests, one retry": partial(with_requests, retries=Retry(1, allowed_methods=None)),
    "httpx": with_httpx,
    "like Go": LikeGo,
    "like Go, 15 s idle": partial(LikeGo, idle_seconds=15),
}


class Count:
    """What became of the predictions."""

    def __init__(self) -> None:
        self.sent = self.lost = 0
        self.errors: Counter[str] = Counter()
        self.ended = threading.Event()
        self._lock = threading.Lock()

    def add(self, error: Exception | None) -> None:
        with self._lock:
            self.sent += 1
            if error:
                self.lost += 1
                self.errors[f"{type(error).__name__}: {str(error)[:40]}".partition("\r")[0]] += 1

    def result(self) -> dict[str, Any]:
        return {"sent": self.sent, "lost": self.lost, "errors": dict(self.errors)}


def pause(longest: float) -> float:
    """Return a time in seconds that is as likely to be any up to `longest`."""
    return random.uniform(0, longest)  # noqa: S311 - no secret


def send_in_thread(send: Callable[[], None], longest: float, count: Count) -> None:
    while not count.ended.wait(pause(longest)):
        try:
            send()
        except Exception as error:
            count.add(error)
        else:
            count.add(None)


async def send_with_aiohttp(url: str, connections: int, longest: float, count: Count) -> None:
    async def send_in_task(session: aiohttp.ClientSession) -> None:
        await asyncio.sleep(pause(longest))
        while not count.ended.is_set():
            try:
                async with session.post(url, data=BODY, headers=HEADERS) as answer:
                    answer.raise_for_status()
                    await answer.read()
            except Exception as error:
                count.add(error)
            else:
                count.add(None)
            await asyncio.sleep(pause(longest))

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(send_in_task(session)) for _ in range(connections)]
        await asyncio.to_thread(count.ended.wait)
        for task in running:
            task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=[*CLIENTS, "aiohttp"])
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--longest-pause", type=float, required=True, help="seconds")
    options = parser.parse_args()
    count = Count()

    def wait_for_end() -> None:
        with contextlib.suppress(OSError):
            sys.stdin.read()
        count.ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    if options.client == "aiohttp":
        asyncio.run(send_with_aiohttp(options.url, options.connections, options.longest_pause, count))
    else:
        threads = [
            threading.Thread(
                target=send_in_thread,
                args=(CLIENTS[options.client](options.url), options.longest_pause, count),
                daemon=True,
            )
            for _ in range(options.connections)
        ]
        for thread in threads:
            thread.start()
        count.ended.wait()
        # What is under way gets a moment, and is not counted if that is too short.
        end = time.monotonic() + LAST_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    print(json.dumps(count.result()))


if __name__ == "__main__":
    main()
