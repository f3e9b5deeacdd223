#!/usr/bin/env bash
# Makes .venv where there is none and installs a lock into it: tools/venv.sh requirements/deploy.txt
set -euo pipefail

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Flotilla needs Python 3.11 or newer as python3; here it is $(python3 --version)." >&2
  exit 1
}
if [[ ! -x .venv/bin/uv ]]; then
  # Debian keeps this apart from Python.
  python3 -c 'import ensurepip' 2>/dev/null || tools/debian_packages.sh python3-venv
  echo "Making .venv ..."
  python3 -m venv --clear .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
fi
echo "Installing $1 into .venv ..."
# The lock is complete, but for what requirements/not_needed.txt leaves out.
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes --no-deps -r "$1"
