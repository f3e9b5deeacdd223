"""How gunicorn serves the page in its container: by TLS, to load balancers alone."""

from __future__ import annotations

import os

bind = os.environ.get("FLOTILLA_LISTEN", "127.0.0.1:9102")
worker_class = "gthread"
workers = 1
threads = 8
timeout = 60
keepalive = 75
worker_tmp_dir = "/dev/shm"  # noqa: S108 - memory: the root file system is read-only

FOLDER = os.environ.get("FLOTILLA_CERTIFICATES", "/etc/fleet_page")
# Read anew for each connection, so that a renewed certificate needs no restart.
certfile = f"{FOLDER}/server.pem"
ca_certs = f"{FOLDER}/clients.crt"
cert_reqs = 2  # ssl.CERT_REQUIRED
