"""What a server answers a machine over TLS that shows a certificate, or none."""

from fleet.machine import Machine

REFUSED, UNREACHABLE = "refused", "unreachable"
# Asks a server, whoever it is, and prints the status of its answer.
ASK = """
import http.client, ssl, sys, tempfile
address, port, method, path, body, pem = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if pem:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
connection = http.client.HTTPSConnection(address, int(port), timeout=5, context=context)
try:
    connection.request(method, path, body or None, {"Content-Type": "application/json"} if body else {})
    print(connection.getresponse().status)
except (ssl.SSLError, ConnectionResetError, BrokenPipeError, http.client.HTTPException):
    print("refused")
except (ConnectionRefusedError, TimeoutError):
    print("unreachable")
"""


def answer(
    asker: Machine,
    server: Machine,
    port: int,
    certificate: str,
    path: str,
    method: str = "GET",
    body: str = "",
) -> str:
    """Return the status with which a server answers a machine that shows a certificate with its key, in PEM form.

    It is REFUSED where the server ends the connection, UNREACHABLE where there is none.
    """
    told = asker.run("python3", "-", server.address, str(port), method, path, body, certificate, stdin=ASK)
    return told.strip()
