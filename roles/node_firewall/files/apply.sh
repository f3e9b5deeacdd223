#!/bin/sh
# Puts the rules in place as a whole, and before Docker's own. Docker keeps a DOCKER-USER chain that it finds.
set -e
iptables-restore --wait --noflush /etc/flotilla/firewall/rules
iptables --wait --new-chain DOCKER-USER 2>/dev/null || true
iptables --wait --check DOCKER-USER --jump FLOTILLA 2>/dev/null || iptables --wait --insert DOCKER-USER --jump FLOTILLA
