#!/bin/sh
# The main task on a real cloud: start the lab, check it, break it, diagnose it, heal it. demo.sh BACKSTAY
set -eu
backstay=$1
bold=$(printf '\033[1m') plain=$(printf '\033[0m')
[ -t 1 ] || bold='' plain=''
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
fail() {
    echo "demo: $*" >&2
    exit 1
}

# fault SUBJECT FAULT TARGET: make the fault; the check must name the subject, and be green after heal.
fault() {
    subject=$1
    shift
    title "A fault: $*"
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

title "Requirements of the lab"
"$backstay" lab requirements --install

title "A real OpenStack cloud on this machine (about 10 minutes the first time, later under 2)"
"$backstay" lab up

title "backstay check"
"$backstay" check

fault "unit nova-scheduler" kill-service controller/nova-scheduler
fault "unit nova-api" hang-service controller/nova-api
fault "compute1" cut-network compute1
fault "disk /" fill-disk compute2

title "The lab stays up. Try: $backstay lab break, $backstay check, $backstay lab down"
