#!/usr/bin/env bash
# Tells where the local fleet answers, with a request to try. Run by `make up`.
set -euo pipefail

address=$(ansible-inventory --inventory inventory/local --host gateway | python3 -c '
import json, sys
settings = json.load(sys.stdin)
scheme, name, usual = ("https", "nginx_lb_tls_port", 443) if settings.get("nginx_lb_tls") in ("own", "internal") else ("http", "nginx_lb_port", 80)
port = int(settings.get(name, usual))
print(f"{scheme}://localhost" + (f":{port}" if port != usual else ""))')
cat <<END

The fleet answers at $address, with a form for each model at $address/docs. Try a prediction:

  curl $address/predict -H 'Content-Type: application/json' -d '{"model": "penguins", "instances": [
    {"island": "Biscoe", "sex": null, "bill_length_mm": 47.3, "bill_depth_mm": 15.3, "flipper_length_mm": 222, "body_mass_g": 5250}]}'
  curl $address/predict -H 'Content-Type: application/json' -d '{"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]}'

END
