#!/bin/sh
# The unmodified clients that the stories and the benchmark use, what keeps and proves backups on the
# operator's machine, and Ansible, by which one story builds a host; from its own APT sources:
# install them, or with --missing name those that are not there (exit status 1). The browsers that the
# status page is tried in are installed with them; where they are not there only their tests are left
# out.
set -eu
wanted="python3-openstackclient python3-glanceclient python3-swiftclient python3-osc-placement curl
 restic mariadb-server mariadb-backup zstd ansible-core"
[ "${1:-}" = --missing ] || wanted="$wanted chromium w3m"
missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "${1:-}" = --missing ]; then
    echo "${missing# }"
    exit 1
fi
echo "installing$missing"
apt-get -qq update
# shellcheck disable=SC2086 # one word for each package
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
