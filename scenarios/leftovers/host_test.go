package leftovers_test

import (
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// host is the state of the machine's own network, by name: "link eth0",
// "net/ipv4/ip_forward", "iptables-save".
type host map[string]string

// restless are sysctls that change by themselves.
var restless = regexp.MustCompile(`nf_conntrack_count$|/route/flush$|/neigh/`)

// counters stand in the output of iptables-save and of nft, and times in comments.
var counters = regexp.MustCompile(`(?m)\[\d+:\d+\]|packets \d+ bytes \d+|^#.*$`)

// readHost reads the state of the network namespace that the test is in. What this
// user may not read is not in it.
func readHost() (host, error) {
	h := host{}
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", l.Name, err)
		}
		h["link "+l.Name] = fmt.Sprint(l.Index, l.MTU, l.Flags, addrs)
	}
	for _, dir := range []string{"net/ipv4", "net/ipv6", "net/netfilter", "net/core"} {
		err := filepath.WalkDir(filepath.Join("/proc/sys", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || restless.MatchString(path) {
				return nil // not there or not ours to read
			}
			if text, err := os.ReadFile(path); err == nil {
				h[strings.TrimPrefix(path, "/proc/sys/")] = strings.TrimSpace(string(text))
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read sysctls: %w", err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 {
			h["mount "+f[4]] = f[3]
		}
	}
	if os.Geteuid() != 0 {
		return h, nil
	}
	for _, line := range [][]string{{"iptables-save"}, {"ip6tables-save"}, {"nft", "list", "ruleset"}} {
		if _, err := exec.LookPath(line[0]); err != nil {
			continue
		}
		out, err := exec.Command(line[0], line[1:]...).Output()
		if err != nil {
			continue // the kernel lacks it
		}
		h[strings.Join(line, " ")] = strings.TrimSpace(counters.ReplaceAllString(string(out), ""))
	}
	return h, nil
}

// changes says how the host differs from what it was before. A sysctl that appears
// is a module that the kernel loaded.
func (h host) changes(before host) []string {
	var found []string
	names := slices.Sorted(maps.Keys(h))
	for name := range before {
		if _, there := h[name]; !there {
			found = append(found, fmt.Sprintf("host: %s is gone", name))
		}
	}
	for _, name := range names {
		was, there := before[name]
		switch {
		case !there && !strings.HasPrefix(name, "net/"):
			found = append(found, fmt.Sprintf("host: %s is new: %.200s", name, h[name]))
		case there && was != h[name]:
			found = append(found, fmt.Sprintf("host: %s changed from %.200q to %.200q", name, was, h[name]))
		}
	}
	return found
}
