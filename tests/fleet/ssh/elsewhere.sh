#!/usr/bin/env bash
# Runs a playbook of the installed collection where the checkout can't be read: elsewhere.sh CHECKOUT FOLDER PLAYBOOK [OPTION...]
# FOLDER holds venv, collections and inventory, and no ansible.cfg.
set -euo pipefail
checkout=$1 folder=$2
shift 2
# What Molecule has set names the checkout.
unset "${!ANSIBLE_@}" "${!MOLECULE_@}" PYTHONPATH VIRTUAL_ENV
export PATH=$folder/venv/bin:$PATH
export ANSIBLE_COLLECTIONS_PATH=$folder/collections ANSIBLE_CALLBACKS_ENABLED=flotilla.fleet.verdict ANSIBLE_NOCOLOR=1
mkdir -p "$folder/nothing"
cd "$folder"
# An empty folder takes the checkout's place for this process and those that it starts.
exec unshare --mount --map-root-user sh -ec '
  mount --bind nothing "$0"
  [ -z "$(ls --almost-all "$0")" ]
  exec ansible-playbook --inventory inventory/hosts.yml "$@"
' "$checkout" "$@"
