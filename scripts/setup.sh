#!/usr/bin/env bash
# Makes this machine ready for halfopen: see usage below.
set -euo pipefail
trap 'exit 130' INT
trap 'exit 143' TERM

usage() {
	cat <<'TEXT'
usage: scripts/setup.sh [--browser] [--help]

Makes this machine ready to build halfopen and to run its scenarios.
Needed: Linux, Go, gcc with the C library's headers (the race detector), git,
iptables, and the ginkgo command at the version that go.mod pins.

As root, missing packages are installed with apt-get and ginkgo goes to
/usr/local/bin. As an ordinary user, missing packages are named in one line, and
ginkgo goes to GOBIN (or GOPATH/bin). Silent when nothing is missing.
Network settings of the machine are never touched.

--browser asks for Chromium, too, which the tests of the report use. It is not
needed: where it is missing and cannot be installed, one line says that those
tests are skipped.

exit status: 0 ready, 2 something is missing
TEXT
}

say() { echo "setup: $*" >&2; }
die() {
	say "$@"
	exit 2
}

browser=
case "${1:-}" in
'') ;;
--browser) browser=yes ;;
-h | --help)
	usage
	exit 0
	;;
*)
	usage >&2
	exit 2
	;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
user_path="$PATH"
. scripts/path.sh

[ "$(uname -s)" = Linux ] || die "needs Linux, and this is $(uname -s); run: vagrant up && vagrant ssh -c 'cd /halfopen && make soak'"

# The packages that are missing, by their Debian names.
missing_packages() {
	local tool
	for tool in git gcc iptables; do
		command -v "$tool" >/dev/null || printf '%s ' "$tool"
	done
	if command -v gcc >/dev/null && ! echo '#include <stdlib.h>' | gcc -E -o /dev/null - 2>/dev/null; then
		printf 'libc6-dev '
	elif ! command -v gcc >/dev/null && [ ! -e /usr/include/stdlib.h ]; then
		printf 'libc6-dev '
	fi
	command -v go >/dev/null || printf 'golang-go '
}

install_packages() {
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq >/dev/null || die "apt-get update failed; still missing: $*"
	# golang-go may be older than go.mod asks for: the check below names that.
	apt-get install -qq -y --no-install-recommends "$@" >/dev/null || die "apt-get install failed; still missing: $*"
	say "installed $*"
}

read -ra missing <<<"$(missing_packages)"
if [ "${#missing[@]}" -gt 0 ]; then
	if ! command -v apt-get >/dev/null; then
		die "missing ${missing[*]} (Debian's names; install them with this system's package manager)"
	elif [ "$(id -u)" -ne 0 ]; then
		die "missing ${missing[*]}; run: sudo apt-get install ${missing[*]}"
	fi
	install_packages "${missing[@]}"
fi

if [ -n "$browser" ] && ! command -v chromium chromium-browser google-chrome >/dev/null; then
	if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && (install_packages chromium fonts-dejavu-core); then
		:
	else
		say "no chromium: the tests of the report in a browser are skipped"
	fi
fi

# What `ginkgo version` of the file $1 prints, or nothing.
version_of() {
	local words
	[ -x "$1" ] || return 0
	words="$("$1" version 2>/dev/null)" || return 0
	echo "${words##* }"
}

pinned=
while read -r first second third _; do
	case "$first $second" in
	"github.com/onsi/ginkgo/v2 v"*) pinned="${second#v}" ;;
	"require github.com/onsi/ginkgo/v2") pinned="${third#v}" ;;
	esac
done <go.mod
[ -n "$pinned" ] || die "go.mod does not name github.com/onsi/ginkgo/v2"

if [ "$(version_of "$(PATH="$user_path" command -v ginkgo || true)")" = "$pinned" ]; then
	exit 0
fi

# Go 1.24 and 1.25 fetch what go.mod asks for by themselves, unless told not to.
read -r _ _ have _ <<<"$(GOTOOLCHAIN=local go version)"
have="${have#go}"
IFS=. read -r major minor _ <<<"${have%%[!0-9.]*}"
if [ "$major" -lt 2 ] && [ "${minor:-0}" -lt 24 ]; then
	die "go $have is too old: 1.24 or newer is needed, from https://go.dev/dl"
fi
go env GOVERSION >/dev/null || die "go $have cannot fetch the Go that go.mod asks for; install it from https://go.dev/dl"

if [ "$(id -u)" -ne 0 ]; then
	ginkgo_dir="$(go env GOBIN)"
	if [ -z "$ginkgo_dir" ]; then
		ginkgo_dir="$(go env GOPATH)"
		ginkgo_dir="${ginkgo_dir%%:*}/bin"
	fi
fi
if [ "$(version_of "$ginkgo_dir/ginkgo")" != "$pinned" ]; then
	GOBIN="$ginkgo_dir" go install github.com/onsi/ginkgo/v2/ginkgo || die "install ginkgo $pinned in $ginkgo_dir: failed, see above"
	say "installed ginkgo $pinned in $ginkgo_dir"
fi
found="$(PATH="$user_path" command -v ginkgo || true)"
if [ -z "$found" ]; then
	say "ginkgo is not on your PATH; run: export PATH=\"\$PATH:$ginkgo_dir\""
elif [ "$(version_of "$found")" != "$pinned" ]; then
	say "$found hides ginkgo $pinned; run: export PATH=\"$ginkgo_dir:\$PATH\""
fi
