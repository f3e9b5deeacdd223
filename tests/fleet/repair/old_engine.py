"""Runs on a machine of the fleet: passes requests on to its Docker engine, and tells that this is an old one.

Ends when another socket has taken the place of its own.
"""

import contextlib
import pathlib
import re
import socket
import sys
import threading

VERSION = re.compile(rb"Server: Docker/[^ ]+")


def main(engine: str, own: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(own)
    listener.listen()
    listener.settimeout(0.5)
    bound = pathlib.Path(own).stat().st_ino
    while pathlib.Path(own).stat().st_ino == bound:
        with contextlib.suppress(socket.timeout):
            client = listener.accept()[0]
            client.settimeout(None)
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(engine)
            for way in ((client, connection), (connection, client)):
                threading.Thread(target=pass_on, args=way, daemon=True).start()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(VERSION.sub(b"Server: Docker/19.03.15", data))
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(*sys.argv[1:])
