#!/bin/sh
# Applies the rules, and makes the jumps to them the first rules of their chains. Each step is one change as a whole, so
# that no port is open in between. What is in place already stays as it is.
set -e

jump_first() {
  rules=$(iptables --wait --list-rules "$1")
  jump="-A $1 -j $2"
  # Above the rules stands the line that names the chain.
  if [ "$(echo "$rules" | sed --quiet 2p)" = "$jump" ]; then return; fi
  {
    echo '*filter'
    echo "$rules" | sed --quiet "s/^$jump\$/-D $1 -j $2/p"
    echo "-I $1 -j $2"
    echo COMMIT
  } | iptables-restore --wait --noflush
}

iptables-restore --wait --noflush /etc/flotilla/firewall/rules
# Docker keeps a chain of this name that it finds, with the rules in it.
iptables --wait --new-chain DOCKER-USER 2>/dev/null || true
jump_first DOCKER-USER FLOTILLA
jump_first FORWARD DOCKER-USER
jump_first INPUT FLOTILLA
