#!/bin/sh
# Installs Ceph's radosgw, which some tests run against. Never fails: without it those tests say that they did not run.
set -u
programs="ceph-mon ceph-osd ceph monmaptool radosgw radosgw-admin"
packages="ceph-mon ceph-osd ceph-common radosgw"

lacking() {
    for program in $programs; do command -v "$program" >/dev/null || echo "$program"; done
}

[ -z "$(lacking)" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests against Ceph radosgw will not run: install the Debian packages $packages as root" >&2
    exit 0
fi
echo "installing $packages for the tests against a real S3 server" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
{ apt-get -q update && apt-get -q install -y --no-install-recommends $packages; } >"$log" 2>&1
if [ -n "$(lacking)" ]; then
    tail -n 5 "$log" >&2
    echo "tests against Ceph radosgw will not run: could not install $packages" >&2
fi
rm -f "$log"
