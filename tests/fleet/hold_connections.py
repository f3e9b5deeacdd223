"""Hold connections to port 80 and print, as JSON, how many ended in what way: `hold.py KIND ADDRESS COUNT SECONDS`.

Each ends as the status of an answer, "closed", "refused", or "held" to the last. KIND is idle, headers or bodies:
nothing is sent; a header line a second; a byte of a body a second. Runs on a machine of the fleet, with nothing but
Python's own library.
"""

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections import Counter

FIRST = {
    "idle": b"",
    "headers": b"GET /v2 HTTP/1.1\r\nHost: x\r\n",
    "bodies": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n",
}
MORE = {"idle": b"", "headers": b"X-More: x\r\n", "bodies": b" "}
AT_ONCE = 200


async def hold(kind: str, address: str, until: float, gate: asyncio.Semaphore) -> str:
    """Hold one connection and return how it ended."""
    try:
        async with gate:
            reader, writer = await asyncio.open_connection(address, 80)
    except OSError:
        return "refused"
    try:
        writer.write(FIRST[kind])
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                line = await asyncio.wait_for(reader.readline(), min(1.0, left) if MORE[kind] else left)
                return line.split()[1].decode() if line else "closed"
            writer.write(MORE[kind])
        return "held"
    except OSError:
        return "closed"
    finally:
        writer.close()


async def main(kind: str, address: str, count: int, seconds: float) -> None:
    """Hold all of them at once."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    until = time.monotonic() + seconds
    gate = asyncio.Semaphore(AT_ONCE)
    ends = await asyncio.gather(*(hold(kind, address, until, gate) for _ in range(count)))
    print(json.dumps(Counter(ends)))  # noqa: T201


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
