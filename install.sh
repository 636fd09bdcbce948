#!/bin/sh
# Make the virtual environment from the locked requirements: install.sh PYTHON VENV [--develop]
# Without --develop it holds what running needs and a copy of Backstay: no lab, no tests, no link to
# this checkout. A unit of systemd that runs it as root depends on nothing that a checkout's owner edits.
set -eu
umask 022
python=$1 venv=$2
lock=requirements.txt
[ "${3:-}" != --develop ] || lock=requirements-dev.txt
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "install: $python is not Python 3.11 or newer. Install a newer one and run: make PYTHON=python3.12 install" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get -qq update && apt-get -qq install -y --no-install-recommends python3-venv >/dev/null
    else
        echo "install: $python cannot create virtual environments. On Debian: apt install python3-venv" >&2
        exit 1
    fi
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip install --require-hashes -r "$lock"
if [ "$lock" = requirements-dev.txt ]; then
    pip install --no-deps --no-build-isolation -e . -e packaging/backstay-lab
else
    rm -rf build # what an earlier build left there would be installed too
    pip install --no-deps --no-build-isolation --force-reinstall .
fi
