# Sourced by the scripts: where programs lie that an ordinary user's PATH may
# not name. iptables is in /usr/sbin; go and the pinned ginkgo where their
# installers put them. Appended, so what the user chose goes first.
PATH="$PATH:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin"
ginkgo_dir=/usr/local/bin
if [ "$(id -u)" -ne 0 ]; then
	gopath="${GOPATH:-${HOME:-/nonexistent}/go}"
	ginkgo_dir="${GOBIN:-${gopath%%:*}/bin}"
	PATH="$PATH:$ginkgo_dir"
fi
export PATH
