#!/usr/bin/env bash
# Locks every requirements file anew, with hashes and without the name of any index. Run through `make lock`.
set -euo pipefail

compile() {
  echo "Locking $2 ..."
  .venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --no-emit-index-url \
    --no-emit-find-links "${@:3}" "$1" --output-file "$2"
}

# The image runs Python 3.13; 3.11 is the oldest that the tests run on, and one set of versions serves both.
image=(--python-version 3.11 --python-platform x86_64-manylinux_2_28)
controller=(--python-version 3.11 --universal)

compile model_endpoint/requirements.in model_endpoint/requirements.txt "${image[@]}"
compile model_endpoint/requirements-build.in model_endpoint/requirements-build.txt "${image[@]}"
compile requirements/uv.in requirements/uv.txt "${controller[@]}"
compile requirements/deploy.in requirements/deploy.txt "${controller[@]}"
compile requirements/test.in requirements/test.txt "${controller[@]}" --overrides requirements/not_needed.txt
for peer in bench/requirements/*.in; do
  compile "$peer" "${peer%.in}.txt" "${image[@]}"
done
