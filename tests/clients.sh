#!/bin/sh
# The unmodified clients that the stories and the benchmark use, what keeps and proves backups on the
# operator's machine, and Ansible, by which one story builds a host; from its own APT sources:
# install them, or with --missing name those that are not there (exit status 1). With them are
# installed the browsers that the status page is tried in, and the servers that locks, the journal,
# metrics and alerts are tried with; where these are not there only their tests are left out.
set -eu
wanted="python3-openstackclient python3-glanceclient python3-swiftclient python3-osc-placement curl
 restic mariadb-server mariadb-backup zstd ansible-core"
more="chromium w3m etcd-server openssh-server postgresql prometheus prometheus-alertmanager"
[ "${1:-}" = --missing ] || wanted="$wanted $more"
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
# Tests start servers of their own: a package's service is not started now (invoke-rc.d(8)), and not
# at the next boot.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
# shellcheck disable=SC2086 # one word for each package
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
for package in $missing; do
    case $package in
    etcd-server | mariadb-server | openssh-server) ;;
    postgresql | prometheus | prometheus-alertmanager) ;;
    *) continue ;;
    esac
    service=${package%-server}
    [ "$service" != openssh ] || service=ssh
    ! command -v systemctl >/dev/null || systemctl --quiet disable "$service" || :
done
