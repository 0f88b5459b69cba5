package physics

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// act is what a trial does, fault and all.
type act = func(context.Context, *pair) error

// after waits for d before it does what follows.
func after(d time.Duration, next act) act {
	return func(ctx context.Context, p *pair) error {
		time.Sleep(d)
		return next(ctx, p)
	}
}

// then does what follows once the fault is in force. What follows may only start things.
func then(first act, next func(*pair)) act {
	return func(ctx context.Context, p *pair) error {
		if err := first(ctx, p); err != nil {
			return err
		}
		next(p)
		return nil
	}
}

// strikes is one fault.
func strikes(what func(*pair) error) act {
	return func(_ context.Context, p *pair) error { return p.strike(func() error { return what(p) }) }
}

// pull takes the cable out at a place.
func pull(at lab.Place) act {
	return strikes(func(p *pair) error {
		end, err := p.lab.End(at)
		if err != nil {
			return err
		}
		return end.Down()
	})
}

// The faults of one side's cable: ownDown is here, peerDown is seen here as a carrier that
// is lost.
var (
	ownDown  = pull(lab.AtServer)
	peerDown = pull(lab.AtClient)
)

// rule puts an iptables rule first into the router's FORWARD chain.
func rule(words ...string) act {
	return strikes(func(p *pair) error { return p.lab.Router.Rule("-I", "filter", "FORWARD", words...) })
}

// drop is a router that drops everything.
var drop = rule("-j", "DROP")

// refuse is a router that answers every packet with "host unreachable".
var refuse = rule("-j", "REJECT", "--reject-with", "icmp-host-unreachable")

// oneWay drops what comes from there.
var oneWay = strikes(func(p *pair) error {
	return p.lab.Router.Rule("-I", "filter", "FORWARD", "-i", p.lab.Router.Inner.Name, "-j", "DROP")
})

// own changes this side's end of the cable by netlink.
func own(change func(netlink.Link, *lab.End) error) act {
	return strikes(func(p *pair) error {
		end, err := p.lab.End(lab.AtServer)
		if err != nil {
			return err
		}
		return end.Host.Do(func() error {
			link, err := netlink.LinkByName(end.Name)
			if err != nil {
				return err
			}
			return change(link, end)
		})
	})
}

var noAddress = own(func(link netlink.Link, end *lab.End) error {
	address, err := netlink.ParseAddr(end.Addr.String())
	if err != nil {
		return err
	}
	return netlink.AddrDel(link, address)
})

var noDevice = own(func(link netlink.Link, _ *lab.End) error { return netlink.LinkDel(link) })

var noRoute = own(func(link netlink.Link, _ *lab.End) error {
	routes, err := netlink.RouteList(link, unix.AF_INET)
	for i := range routes {
		if err == nil && routes[i].Dst != nil {
			err = netlink.RouteDel(&routes[i])
		}
	}
	return err
})

// expire is the harness's own silent NAT expiry.
var expire = strikes(func(p *pair) error {
	_, _, err := fault.ExpireNAT{Silent: true}.Inject(context.Background(), p.lab)
	return err
})

// forget makes the router forget its mappings, and answer what it does not know as the rule
// says, if there is one. The rule does nothing before.
func forget(loose bool, answer ...string) act {
	return func(_ context.Context, p *pair) error {
		nat := p.lab.Router
		if !loose {
			if err := nat.Sysctl("net.netfilter.nf_conntrack_tcp_loose", "0"); err != nil {
				return err
			}
		}
		for _, chain := range []string{"INPUT", "FORWARD"} {
			if len(answer) == 0 {
				break
			}
			unknown := append([]string{"-p", "tcp", "-m", "conntrack", "--ctstate", "INVALID"}, answer...)
			if err := nat.Rule("-I", "filter", chain, unknown...); err != nil {
				return err
			}
		}
		return p.strike(func() error {
			_, err := nat.Forget()
			return err
		})
	}
}

// signal sends one to the peer's process.
func signal(s unix.Signal) act {
	return strikes(func(p *pair) error { return p.process.Signal(s) })
}

// closeHere closes the measured end: what is left is the kernel's.
func closeHere(p *pair) { _ = p.here.Close() } // it may be dead

// flap pulls the cable here for a time. The fault counts from when the cable is out.
func flap(d time.Duration) act {
	return func(ctx context.Context, p *pair) error {
		if err := ownDown(ctx, p); err != nil {
			return err
		}
		time.Sleep(d)
		end, err := p.lab.End(lab.AtServer)
		if err != nil {
			return err
		}
		return end.Up()
	}
}

// keepalive and user are settings of a socket.
func keepalive(idle, interval float64, count int) record.Settings {
	return record.Settings{KeepaliveIdle: idle, KeepaliveInterval: interval, KeepaliveCount: count}
}

func user(s record.Settings, u float64) record.Settings { s.UserTimeout = u; return s }

func capped(s record.Settings, most float64) record.Settings { s.RTOMax = most; return s }

func heartbeat(s record.Settings, interval, deadline float64) record.Settings {
	s.HeartbeatInterval, s.HeartbeatDeadline = interval, deadline
	return s
}

// sysctl is one sysctl below net.ipv4.
func sysctl(name string, value int) map[string]string {
	return map[string]string{name: fmt.Sprint(value)}
}

// beat starts a heartbeat here: a byte each interval, and an end when nothing has come for
// the deadline. The other end must echo.
func (p *pair) beat(interval, deadline time.Duration) {
	p.keepWriting(interval)
	go func() {
		heard, last := p.heard.Load(), time.Now()
		for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
			now := p.heard.Load()
			switch {
			case now != heard:
				heard, last = now, time.Now()
			case time.Since(last) >= deadline:
				p.fail(fmt.Errorf("no byte for %v", deadline))
				tick.Stop()
				return
			}
		}
	}()
}
