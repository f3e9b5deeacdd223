#!/bin/sh
# Runs keepalived and asks Nginx, at the URL given, whether it can serve. The answer reaches keepalived through a file: a
# script of its own would be asked once a second only, and need further capabilities.
told=/run/ready

# Lowers the priority until Nginx has proved itself.
verdict=-100
echo $verdict >$told
/usr/sbin/keepalived --vrrp --dont-fork --log-console --use-file /etc/flotilla/keepalived.conf &
keepalived=$!
# Asked to stop, keepalived takes the address off the machine and hands it over.
trap 'kill $keepalived; wait $keepalived; exit' TERM INT

# Two bad answers in a row are a failure, four good ones the end of it.
against=0
while kill -0 $keepalived 2>/dev/null; do
  if busybox wget -q -T 1 -O /dev/null "$1" 2>/dev/null; then
    answer=0 needed=4
  else
    answer=-100 needed=2
  fi
  if [ $answer = $verdict ]; then against=0; else against=$((against + 1)); fi
  if [ $against = $needed ]; then
    verdict=$answer against=0
    echo $verdict >$told
    if [ $verdict = 0 ]; then echo "Nginx can serve"; else echo "Nginx can't serve"; fi
  fi
  busybox sleep 0.25
done
exit 1
