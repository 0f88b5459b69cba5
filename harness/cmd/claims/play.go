package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/lab"
)

// play is the usual course of a trial: a server of a shape, connections of its peer, a
// fault, and the time until nothing is held.
type play struct {
	topology lab.Topology // Direct if nil
	shape    string
	args     []string          // of the server
	peer     []string          // arguments of the peer
	count    int               // connections; 1 if 0
	sysctls  map[string]string // of the server's host, before there are connections
	fault    fault.Fault       // none if nil
	watch    time.Duration
	// over is what is waited for; that no descriptor is held if nil.
	over func(*stage) look
	// before is done before the fault, when all are connected, and after afterwards.
	before func(context.Context, *stage) error
	after  func(context.Context, *stage, *reading) error
}

func (p play) run(ctx context.Context, b *bench) (r reading, err error) {
	topology := p.topology
	if topology == nil {
		topology = lab.Direct
	}
	s, err := b.serve(ctx, topology, p.shape, p.args...)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	for key, value := range p.sysctls {
		if err := s.Server.Sysctl(key, value); err != nil {
			return r, err
		}
	}
	count := cmp.Or(p.count, 1)
	if err := s.peers(ctx, count, p.peer...); err != nil {
		return r, err
	}
	if err := s.added(ctx, count); err != nil {
		return r, err
	}
	if p.before != nil {
		if err := p.before(ctx, s); err != nil {
			return r, err
		}
	}
	over := s.unheld
	if p.over != nil {
		over = p.over(s)
	}
	if p.fault == nil {
		r, err = s.wait(ctx, p.watch, over)
		r.bit, r.witness = true, "no fault, and the peer is there"
	} else {
		r, err = s.until(ctx, p.fault, p.watch, over)
	}
	if err != nil || p.after == nil {
		return r, err
	}
	return r, p.after(ctx, s, &r)
}

// kernel waits until the kernel has forgotten the server's connections.
func kernel(s *stage) look { return s.undone }

// The faults that most trials have.
var (
	killed     = fault.Kill{Role: "client"}
	powerless  = fault.PowerLoss{Role: "client"}
	frozen     = fault.Freeze{Role: "client"}
	unplugged  = fault.Unplug{At: lab.AtClient}
	natExpired = fault.ExpireNAT{Silent: true}
)

// keepalive is the argument of a server.
func keepalive(how string) []string { return []string{"-keepalive", how} }
