#!/bin/sh
# Unpacks Debian's Redis server, and the libraries that a minimal system lacks, into `root` of the given folder.
# apt gets lists and caches of its own, so that it needs no root and leaves the system as it was. It is a script
# of its own so that a set-up can run it before anything is built. A crash leaves a `work-` folder beside `root`,
# or nothing. One caller for a folder at a time.
set -eu

mkdir -p "$1"
folder=$(cd "$1" && pwd)
work=$folder/work-$$
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/root"
cd "$work/debs"

# Images of Debian for containers switch the cache of packages off; without it, each call reads all lists anew.
apt() {
  timeout 180 apt-get -q \
    -o Dir::State::lists="$work/lists" \
    -o Dir::Cache="$work/cache" \
    -o Dir::Cache::archives="$work/cache/archives" \
    -o Dir::Cache::pkgcache=pkgcache.bin \
    -o Dir::Cache::srcpkgcache=srcpkgcache.bin \
    -o Debug::NoLocking=true \
    -o APT::Sandbox::User= \
    -o Acquire::Languages=none \
    "$@"
}

apt update
apt download redis-server redis-tools
# A release has only some of these names, and a library that the system has already is not needed.
for library in libsystemd0 libssl3 libssl3t64 liblzf1 libjemalloc2 libatomic1; do
  apt download "$library" || true
done
for package in *.deb; do
  dpkg-deb -x "$package" "$work/root"
done
rm -rf "$folder/root"
mv "$work/root" "$folder/root"
