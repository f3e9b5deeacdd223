#!/usr/bin/env bash
# Installs the Debian packages named, where one is missing: tools/debian_packages.sh mmdebstrap
set -euo pipefail

command -v dpkg-query >/dev/null || {
  echo "This machine is no Debian machine, and has no package $*: run this command on Debian 12 or 13." >&2
  exit 1
}
dpkg-query --status "$@" >/dev/null 2>&1 && exit
echo "Installing $* ..."
root=()
[[ $EUID -eq 0 ]] || root=(sudo)
"${root[@]}" apt-get update -qq
"${root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
