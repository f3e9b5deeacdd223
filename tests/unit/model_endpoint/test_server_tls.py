"""An endpoint with certificates: which clients it serves, and how it takes new certificates while it serves."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    Pair,
    certificate_pem,
    issue,
    make_authority,
)

from certificates import pem
from model_endpoint.runtime import tls
from unit.model_endpoint.server import SOURCE, Server, wait_until

pytestmark = pytest.mark.long

NAME = "node_1.endpoint.flotilla"
# The server with less time between a change of its certificates and the end of the last worker that has the old ones.
POLL_SECONDS = 0.1
QUICK = f"""
import sys
import model_endpoint.__main__ as endpoint
from model_endpoint.runtime import tls
endpoint.RESPAWN_SECONDS = 0.5
tls.POLL_SECONDS = {POLL_SECONDS}
sys.exit(endpoint.main())
"""
SETOSA = b'{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}'


class Certificates:
    """Two authorities, and the folder of an endpoint's certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fleet, self.balancers = make_authority("fleet"), make_authority("load balancers")
        self.serve(issue(self.fleet, "endpoint-node_1", "server", names=[NAME]))
        self.trust(self.balancers)

    def serve(self, pair: Pair) -> None:
        self._write(tls.SERVER, pem(pair))

    def trust(self, *authorities: Pair) -> None:
        self._write(tls.CLIENTS, "".join(certificate_pem(certificate) for certificate, _ in authorities))

    def _write(self, name: str, content: str) -> None:
        part = self.folder / f".{name}"
        part.write_text(content)
        part.replace(self.folder / name)

    def client(self, pair: Pair | None) -> ssl.SSLContext:
        """The TLS context of a client that trusts the fleet and has the certificate `pair`, or none."""
        context = ssl.create_default_context(cadata=certificate_pem(self.fleet[0]))
        if pair:
            file = self.folder / "client.pem"
            file.write_text(pem(pair))
            context.load_cert_chain(file)
            file.unlink()
        return context


class Connection(http.client.HTTPConnection):
    """A connection that expects the certificate to have `name`, not the address."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str = NAME) -> None:
        super().__init__("127.0.0.1", port, timeout=10)
        self._context = context
        self._name = name

    def connect(self) -> None:
        super().connect()
        self.sock: socket.socket = self._context.wrap_socket(self.sock, server_hostname=self._name)


class SecureServer(Server):
    """A server with certificates; its tests are clients with a load balancer's certificate."""

    def __init__(self, served: Path, folder: Path, **environ: str) -> None:
        self.certificates = Certificates(folder)
        self.balancer = self.certificates.client(issue(self.certificates.balancers, "balancer-lb1", "client"))
        super().__init__(served, "-c", QUICK, FLOTILLA_TLS=str(folder), **environ)

    def connection(self) -> http.client.HTTPConnection:
        return Connection(self.port, self.balancer)

    def answers(self, pair: Pair | None) -> bool:
        """Tell whether a client with this certificate, or none, gets an answer."""
        connection = Connection(self.port, self.certificates.client(pair))
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except ssl.SSLError:
            return False
        finally:
            connection.close()

    def serial_numbers(self) -> set[str]:
        """The certificates that the workers show, over enough connections to reach every worker."""
        found = set()
        for _ in range(20):
            connection = Connection(self.port, self.balancer)
            connection.connect()
            assert isinstance(connection.sock, ssl.SSLSocket)
            found.add(str((connection.sock.getpeercert() or {})["serialNumber"]))
            connection.close()
        return found

    def inside(self, module: str, *arguments: str) -> int:
        """Run a program of the endpoint beside its workers, as in the container."""
        environ = {"FLOTILLA_MODELS": self.served, "FLOTILLA_PORT": self.port, "FLOTILLA_WORKERS": 2}
        environ |= {"FLOTILLA_TLS": self.certificates.folder, "PYTHONPATH": SOURCE}
        environ |= {"FLOTILLA_ADDRESS": "127.0.0.1"}
        return subprocess.run(
            [sys.executable, "-m", f"model_endpoint.runtime.{module}", *arguments],
            env=os.environ | {name: str(value) for name, value in environ.items()},
            capture_output=True,
            check=False,
        ).returncode

    def wait_for_change(self) -> None:
        """Return when the golden check passes again, as module endpoint_ready does."""
        wait_until(lambda: self.inside("golden_check", "--seconds", "5") == 0, seconds=90, pause=0.5)


@pytest.fixture(scope="module")
def server(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    server = SecureServer(served, tmp_path_factory.mktemp("certificates"))
    server.wait()
    yield server
    server.stop()


def test_only_a_load_balancer_is_answered(server: SecureServer) -> None:
    fleet, balancers = server.certificates.fleet, server.certificates.balancers
    assert server.answers(issue(balancers, "balancer-lb1", "client"))
    assert not server.answers(None)
    # Certificates of a node: its machine's and an endpoint's.
    assert not server.answers(issue(fleet, "machine-10.0.0.2", "client"))
    assert not server.answers(issue(fleet, "endpoint-node_2", "server", names=["node_2.endpoint.flotilla"]))
    assert not server.answers(issue(balancers, "balancer-lb1", "client", days=-1))
    assert not server.answers(issue(make_authority("load balancers"), "balancer-lb1", "client"))
    assert not server.answers(issue(balancers, "balancer-lb1", "server"))


def test_an_endpoint_answers_only_by_its_own_name(server: SecureServer) -> None:
    assert server.ask("POST", "/predict", SETOSA)[0] == 200
    connection = Connection(server.port, server.balancer, "node_2.endpoint.flotilla")
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate is not valid for"):
        connection.connect()


def test_plain_http_is_not_answered(server: SecureServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/v2/health/ready")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        connection.getresponse()


def test_health_check_and_golden_check_need_no_certificate(server: SecureServer) -> None:
    assert server.inside("health") == 0
    assert server.inside("golden_check", "--seconds", "5") == 0


class Clients:
    """Four clients that ask a server without a pause while the block of `with` runs."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sent = 0
        self.lost: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        """As Nginx does: over a kept connection, and once more on another when the server has closed it."""
        connection = self.server.connection()
        while not self._over.is_set():
            self.sent += 1
            for last in (False, False, True):
                try:
                    connection.request("POST", "/predict", SETOSA)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status != 200:
                        self.lost.append(str(answer.status))
                    break
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    if last:
                        self.lost.append(repr(error))
            self._over.wait(0.01)


def test_new_certificates_come_into_effect_and_no_request_is_lost(served: Path, tmp_path: Path) -> None:
    server = SecureServer(served, tmp_path)
    server.wait()
    certificates = server.certificates
    with Clients(server) as clients:
        before = server.serial_numbers()
        next_balancers = make_authority("load balancers, 2")
        newcomer = issue(next_balancers, "balancer-lb1", "client")
        assert not server.answers(newcomer)
        # The endpoint doesn't serve with a file that it can't read.
        (tmp_path / tls.SERVER).write_text("scrambled")
        time.sleep(3 * POLL_SECONDS)
        assert server.serial_numbers() == before
        certificates.serve(issue(certificates.fleet, "endpoint-node_1", "server", names=[NAME]))
        certificates.trust(next_balancers, certificates.balancers)
        server.wait_for_change()
        after = server.serial_numbers()
        assert len(after) == 1
        assert before != after
        assert server.answers(newcomer)
        wait_until(lambda: clients.sent > 300)
    assert not clients.lost, f"{len(clients.lost)} of {clients.sent} lost: {clients.lost[:3]}"
    assert clients.sent > 300
    certificates.trust(next_balancers)
    server.wait_for_change()
    assert server.answers(newcomer)
    assert not server.answers(issue(certificates.balancers, "balancer-lb1", "client"))
    server.stop()
    assert server.process.returncode == 0


def test_an_endpoint_without_its_certificates_does_not_start(served: Path, tmp_path: Path) -> None:
    server = Server(served, FLOTILLA_TLS=str(tmp_path))
    output = server.process.communicate(timeout=20)[0]
    assert server.process.returncode == 1
    assert (
        f"error: FLOTILLA_TLS is {str(tmp_path)!r}: server.pem and clients.crt in it can't be used" in output
    )
