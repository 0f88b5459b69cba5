// Package lab is the physical world of a spec: hosts, links, NAT routers and
// processes, all of them real: network namespaces, veth pairs, iptables rules and
// programs of the running kernel.
//
// Everything happens inside a sandbox (see Sandbox) that an ordinary user may
// make, and that leaves nothing behind however it ends: namespaces have no
// names, processes follow their parents into death, and the machine's own links,
// rules and sysctls are never touched.
package lab
