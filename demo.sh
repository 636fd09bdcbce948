#!/bin/sh
# The main job on a real cloud: bring the lab up, check it, break it, find it, heal it. demo.sh BACKSTAY
set -eu
backstay=$1
bold=$(printf '\033[1m') plain=$(printf '\033[0m')
[ -t 1 ] || bold='' plain=''
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
fail() {
    echo "demo: $*" >&2
    exit 1
}

# fault SUBJECT FAULT TARGET: make the fault, see that the check names the subject, heal, be green.
fault() {
    subject=$1
    shift
    say "A fault: $*"
    "$backstay" lab break "$@"
    status=0
    found=$("$backstay" check 2>/dev/null) || status=$?
    echo "$found"
    [ "$status" = 2 ] || fail "the check did not find the fault (exit status $status)"
    case $found in *"$subject"*) ;; *) fail "the check does not name: $subject" ;; esac
    "$backstay" lab heal
    tries=0
    until "$backstay" check --quiet 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || fail "not green again after $tries checks: $backstay check"
        sleep 2
    done
    echo "Green again."
}

say "What this machine needs for the lab"
"$backstay" lab requirements --install

say "A real OpenStack cloud on this machine (the first time about 10 minutes, later under 2)"
"$backstay" lab up

say "backstay check"
"$backstay" check

fault "unit nova-scheduler" kill-service controller/nova-scheduler
fault "unit nova-api" hang-service controller/nova-api
fault "compute1" cut-network compute1
fault "disk /" fill-disk compute2

say "The lab stays up: try 'lab break', 'check', and 'lab down' of $backstay"
