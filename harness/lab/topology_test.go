package lab

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	edges := []Place{AtClient, AtOrigin, AtServer, AtVisitor}
	for _, c := range []struct {
		topology Topology
		places   []Place
		// cables of a host, as host:interface
		cables map[string][]string
	}{
		{Direct, edges, map[string][]string{
			"visitor": {"visitor:server"}, "server": {"server:client", "server:visitor"},
			"client": {"client:origin", "client:server"}, "origin": {"origin:client"},
		}},
		{BehindNAT, append([]Place{AtRouterInner, AtRouterOuter}, edges...), map[string][]string{
			"visitor": {"visitor:server"}, "server": {"server:router", "server:visitor"},
			"router": {"router:client", "router:server"},
			"client": {"client:origin", "client:router"}, "origin": {"origin:client"},
		}},
		{HardNAT, append([]Place{AtRouterInner, AtRouterOuter}, edges...), map[string][]string{
			"visitor": {"visitor:server"}, "server": {"server:router", "server:visitor"},
			"router": {"router:client", "router:server"},
			"client": {"client:origin", "client:router"}, "origin": {"origin:client"},
		}},
		{DoubleNAT, append([]Place{AtRouterInner, AtRouterOuter}, edges...), map[string][]string{
			"visitor": {"visitor:server"}, "server": {"server:carrier", "server:visitor"},
			"carrier": {"carrier:home", "carrier:server"}, "home": {"home:carrier", "home:client"},
			"client": {"client:home", "client:origin"}, "origin": {"origin:client"},
		}},
		{Roaming, append([]Place{AtRouterInner, AtRouterOuter}, edges...), map[string][]string{
			"visitor": {"visitor:server"}, "server": {"server:mobile", "server:visitor", "server:wifi"},
			"wifi": {"wifi:client", "wifi:server"}, "mobile": {"mobile:client", "mobile:server"},
			"client": {"client:mobile", "client:origin", "client:wifi"}, "origin": {"origin:client"},
		}},
		{TwoClients, append([]Place{AtRouterInner, AtRouterOuter}, edges...), map[string][]string{
			"visitor": {"visitor:server"}, "guest": {"guest:server"},
			"server": {"server:guest", "server:next-door", "server:router", "server:visitor"},
			"router": {"router:client", "router:server"}, "next-door": {"next-door:neighbour-1", "next-door:server"},
			"client": {"client:origin", "client:router"}, "neighbour-1": {"neighbour-1:next-door", "neighbour-1:origin"},
			"origin": {"origin:client", "origin:neighbour-1"},
		}},
	} {
		l := build(t, c.topology)
		t.Run(l.Name, func(t *testing.T) {
			slices.Sort(c.places)
			if got := slices.Sorted(maps.Keys(l.ends)); !slices.Equal(got, c.places) {
				t.Errorf("places are %q, want %q", got, c.places)
			}
			_, err := l.End("moon")
			for _, at := range c.places {
				if err == nil || !strings.Contains(err.Error(), string(at)) {
					t.Errorf("error is %v, want it to name %s", err, at)
				}
			}
			for _, h := range l.hosts {
				var got []string
				for _, e := range l.Cables(h) {
					got = append(got, e.String())
				}
				slices.Sort(got)
				if !slices.Equal(got, c.cables[h.Name]) {
					t.Errorf("cables of %s are %q, want %q", h.Name, got, c.cables[h.Name])
				}
			}
		})
	}
}

// What a fault at a place leaves alone is what the server knows of the neighbours, and
// nothing of the client.
func TestNeighboursAreSpared(t *testing.T) {
	for _, c := range []struct {
		topology Topology
		at       Place
		spared   bool
	}{
		{BehindNAT, AtClient, false},
		{TwoClients, AtClient, true},
		{TwoClients, "router", true},
		{CrowdedNAT, AtClient, true},
		{CrowdedNAT, AtOrigin, true},
		{CrowdedNAT, "router", false},
		{CrowdedNAT, AtServer, false},
	} {
		l := build(t, c.topology)
		ln, err := l.Server.Listen(t.Context(), netip.AddrPortFrom(l.ClientSide, 4443).String())
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		// dial is a connection as the server sees it.
		dial := func(h *Host) string {
			t.Helper()
			conn, err := h.DialContext(t.Context(), "tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			in, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = in.Close() })
			return in.RemoteAddr().String()
		}
		has := func(list []string, remote string) bool {
			at := netip.MustParseAddrPort(remote)
			return slices.Contains(list, remote) || slices.Contains(list, at.Addr().String())
		}
		own := dial(l.Client)
		var others []string
		for _, n := range l.Neighbours {
			others = append(others, dial(n.Host))
		}
		spared, err := l.Spared(c.at)
		if err != nil {
			t.Fatal(err)
		}
		if has(spared, own) {
			t.Errorf("%s, %s: the client's own %s is spared", l.Name, c.at, own)
		}
		for _, remote := range others {
			if has(spared, remote) != c.spared {
				t.Errorf("%s, %s: the neighbour's %s is spared: %v, want %v (spared: %v)", l.Name, c.at, remote, !c.spared, c.spared, spared)
			}
		}
		if !c.spared && spared != nil {
			t.Errorf("%s, %s: %v are spared, want nobody", l.Name, c.at, spared)
		}
	}
}

func TestRouterPlacesAreItsOwnEnds(t *testing.T) {
	l := build(t, BehindNAT)
	for at, want := range map[Place]*End{AtRouterInner: l.Router.Inner, AtRouterOuter: l.Router.Outer} {
		if got, err := l.End(at); err != nil || got != want {
			t.Errorf("%s is %v (%v), want %v", at, got, err, want)
		}
	}
}

func TestRulesOfAHost(t *testing.T) {
	l := build(t, Direct)
	rule := []string{"-p", "tcp", "--dport", "9", "-j", "DROP"}
	has := func() bool {
		t.Helper()
		has, err := l.Client.HasRule("filter", "INPUT", rule...)
		if err != nil {
			t.Fatal(err)
		}
		return has
	}
	for _, step := range []struct {
		op   string
		want bool
	}{{"-I", true}, {"-D", false}, {"-A", true}} {
		if err := l.Client.Rule(step.op, "filter", "INPUT", rule...); err != nil {
			t.Fatal(err)
		}
		if has() != step.want {
			t.Errorf("after %s the host has the rule: %v", step.op, !step.want)
		}
	}
	if other, err := l.Server.HasRule("filter", "INPUT", rule...); err != nil || other {
		t.Errorf("another host has the rule: %v (%v)", other, err)
	}
}
