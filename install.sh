#!/bin/sh
# Make the virtual environment from the locked requirements: install.sh PYTHON VENV [--develop]
# Without --develop it holds what running needs and a copy of Backstay: no lab, no tests, no link to
# this checkout. A unit of systemd that runs it as root depends on nothing that a checkout's owner edits.
set -eu
umask 022
python=$1 venv=$2
lock=requirements.txt
[ "${3:-}" != --develop ] || lock=requirements-dev.txt
wanted=python3-venv
case $python in */*) ;; python3.*) wanted=$python-venv ;; esac
sudo=sudo
[ "$(id -u)" != 0 ] || sudo=
able() { command -v "$python" >/dev/null && "$python" -c 'import ensurepip, venv' 2>/dev/null; }
if ! able && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "install: apt-get install $wanted" >&2
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$wanted" >/dev/null || :
fi
if ! command -v "$python" >/dev/null; then
    echo "install: there is no $python on this machine. On Debian or Ubuntu: ${sudo:+sudo }apt-get install $wanted" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "install: $python is not Python 3.11 or newer. Install a newer one and run: make PYTHON=python3.12 install" >&2
    exit 1
fi
if ! able; then
    echo "install: $python cannot create virtual environments. On Debian or Ubuntu: ${sudo:+sudo }apt-get install $wanted" >&2
    exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip install --require-hashes -r "$lock"
if [ "$lock" = requirements-dev.txt ]; then
    pip install --no-deps --no-build-isolation -e . -e packaging/backstay-lab
else
    rm -rf build # what an earlier build left there would be installed too
    pip install --no-deps --no-build-isolation --force-reinstall .
    venv=$(cd "$venv" && pwd)
    echo "install: done. To call it as backstay: ${sudo:+sudo }ln -sf '$venv/bin/backstay' /usr/local/bin/"
fi
