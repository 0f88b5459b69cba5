package lab

import (
	"testing"
)

// threeHosts is the smallest lab with a NAT.
//
//	server ---- router ---- client
//	             NAT
func threeHosts() (*Lab, error) {
	l := &Lab{Name: "ThreeHosts"}
	return l.build(func() (err error) {
		for name, at := range map[string]**Host{"server": &l.Server, "client": &l.Client} {
			if *at, err = l.host(name); err != nil {
				return err
			}
		}
		router, err := l.host("router")
		if err != nil {
			return err
		}
		outer, err := l.connect(l.Server, router, 2)
		if err != nil {
			return err
		}
		inner, err := l.connect(router, l.Client, 4)
		if err != nil {
			return err
		}
		if err := l.Client.addRoute(l.anywhere(), inner.A.IP(), inner.B, 0); err != nil {
			return err
		}
		l.Router, err = masquerade(router, outer.B, inner.A)
		return err
	})
}

// BenchmarkLab builds a lab and takes it down. What the kernel does after that, on
// its own time, slows the next round and so is in the figure.
func BenchmarkLab(b *testing.B) {
	for _, t := range []struct {
		name     string
		topology Topology
	}{{"ThreeHostsNAT", threeHosts}, {"Direct", Direct}, {"BehindNAT", BehindNAT}, {"BehindNAT6", BehindNAT6}} {
		b.Run(t.name, func(b *testing.B) {
			for b.Loop() {
				l, err := t.topology()
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
