#!/usr/bin/env bash
# Tells where the local fleet answers, with a request to try. Run by `make up`.
set -euo pipefail

port=$(ansible-inventory --inventory inventory/local --host gateway | python3 -c 'import json, sys; print(json.load(sys.stdin).get("nginx_lb_port", 80))')
address=http://localhost$([[ $port == 80 ]] || echo ":$port")
cat <<END

The fleet answers at $address. Try a prediction:

  curl $address/predict -H 'Content-Type: application/json' -d '{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}'

END
