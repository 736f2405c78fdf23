#!/bin/sh
# The tools the bench compares with, from Debian's own packages. DVC comes with datapin itself.
set -eu
if [ "$(id -u)" -ne 0 ]; then
    echo "run as root: sudo $0" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends restic git-lfs
restic version
git lfs version
