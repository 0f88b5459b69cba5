package lab

import (
	"maps"
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
