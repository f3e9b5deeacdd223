"""Try TCP ports until standard input ends, and print how often each accepted a connection: `poll.py ADDRESS:PORT...`

Runs on a machine of the fleet.
"""

import json
import socket
import sys
import threading

TIMEOUT_SECONDS = 0.3
CONNECTIONS = 6
"""How many are tried at once for a port, so that one which waits for an answer hides no moment."""


def poll(port: str, accepted: dict[str, int], ended: threading.Event) -> None:
    """Try one port again and again."""
    address, _, number = port.rpartition(":")
    while not ended.wait(0.005):
        try:
            with socket.create_connection((address, int(number)), timeout=TIMEOUT_SECONDS):
                accepted[port] += 1
        except OSError:
            continue


def main() -> None:
    """Try all ports at once."""
    accepted, ended = dict.fromkeys(sys.argv[1:], 0), threading.Event()
    threads = [
        threading.Thread(target=poll, args=(port, accepted, ended))
        for port in accepted
        for _ in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    sys.stdout.write("polling\n")
    sys.stdout.flush()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(accepted))


if __name__ == "__main__":
    main()
