#!/usr/bin/env bash
# Run by Vagrant, as root, on Debian 13: makes the guest ready for `make soak`.
set -euo pipefail

if [ "$(id -u)" -ne 0 ]; then
	echo "provision: needs root (Vagrant runs it inside the guest)" >&2
	exit 2
fi

# Debian's Go is older than go.mod asks for and fetches the right one, if it may.
cat >/etc/profile.d/halfopen.sh <<'TEXT'
export GOTOOLCHAIN=auto
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
TEXT
. /etc/profile.d/halfopen.sh

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends \
	ca-certificates gcc git golang-go iptables libc6-dev make ruby

cd "${1:-/halfopen}"
scripts/setup.sh
