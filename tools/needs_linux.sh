#!/bin/sh
# Refuses, on a machine without Linux, what makes or tests a fleet on this machine itself, and tells what to run instead.
set -eu

system=$(uname -s)
[ "$system" != Linux ] || exit 0
cat >&2 <<END
This command needs a Linux machine, since the fleet's containers would run on this machine itself, which runs $system. From here, deploy
to Linux machines:

  make controller                             # Ansible in .venv
  source .venv/bin/activate
  cp -r inventory/example inventory/mine      # enter your machines in inventory/mine/hosts.yml
  ansible-playbook site.yml -i inventory/mine
END
exit 1
