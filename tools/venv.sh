#!/usr/bin/env bash
# Makes .venv where there is none and installs a lock into it: tools/venv.sh requirements/deploy.txt
set -euo pipefail

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Flotilla needs Python 3.11 or newer as python3; here it is $(python3 --version)." >&2
  exit 1
}
if [[ ! -x .venv/bin/uv ]]; then
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "Installing python3-venv, which Debian keeps apart from Python ..."
    root=(); [[ $EUID -eq 0 ]] || root=(sudo)
    "${root[@]}" apt-get update -qq
    "${root[@]}" apt-get install -y -qq --no-install-recommends python3-venv
  fi
  echo "Making .venv ..."
  python3 -m venv --clear .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
fi
echo "Installing $1 into .venv ..."
.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r "$1"
