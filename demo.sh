#!/bin/sh
# The main job on a real cloud: bring the lab up, check it, break it, find it, heal it. demo.sh BACKSTAY
set -eu
backstay=$1
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

say "What this machine needs for the lab"
"$backstay" lab requirements --install

say "A real OpenStack cloud on this machine (the first time about 12 minutes, later under 2)"
"$backstay" lab up

say "backstay check"
"$backstay" check

say "A fault: nova-scheduler is killed and kept from restarting"
"$backstay" lab break kill-service controller/nova-scheduler
status=0
"$backstay" check || status=$?
[ "$status" = 2 ] || { echo "demo: the check did not find the fault (exit status $status)" >&2; exit 1; }

say "Healed, and checked until it is green again"
"$backstay" lab heal
tries=0
until "$backstay" check --quiet; do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || { echo "demo: not green again after $tries checks" >&2; exit 1; }
    sleep 2
done

say "The lab stays up: try 'backstay lab break', 'backstay check', and 'backstay lab down' at the end"
