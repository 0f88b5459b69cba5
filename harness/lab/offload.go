package lab

import (
	"errors"
	"fmt"
	"slices"

	"github.com/safchain/ethtool"
)

// offloads are the features of an interface, by their names in ethtool -k, that make one
// thing of several packets: TCP hands on what is longer than the cable's MTU (TSO), somebody
// cuts it up before it is sent (GSO), or puts together what has come (GRO). Over a veth pair
// nobody cuts anything: a router would see 64 KiB go by as one packet.
// https://docs.kernel.org/networking/segmentation-offloads.html
var offloads = []string{
	"tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation",
	"tx-generic-segmentation", "rx-gro",
}

// Packetize switches segmentation offloads off at both ends of every cable, so that a
// packet is one of at most the cable's MTU, as on a wire: for who counts them. Undo
// switches on again what was on. It costs throughput, so labs are built without it.
func (l *Lab) Packetize() (undo func() error, err error) {
	var done []func() error
	undo = func() error {
		var errs []error
		for _, fn := range done {
			errs = append(errs, fn())
		}
		return errors.Join(errs...)
	}
	for _, link := range l.links {
		for _, e := range []*End{link.A, link.B} {
			on, err := e.Offloads()
			if err == nil && len(on) > 0 {
				done = append(done, func() error { return e.offload(on, true) })
				err = e.offload(on, false)
			}
			if err != nil {
				return nil, errors.Join(err, undo())
			}
		}
	}
	return undo, nil
}

// Offloads are the segmentation offloads that are on at this end.
func (e *End) Offloads() ([]string, error) {
	var on []string
	err := e.features(func(tool *ethtool.Ethtool) error {
		features, err := tool.Features(e.Name)
		for _, name := range offloads {
			if features[name] {
				on = append(on, name)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read offloads of %s: %w", e, err)
	}
	return on, nil
}

// offload switches offloads on or off, and looks whether they are.
func (e *End) offload(names []string, on bool) error {
	want := map[string]bool{}
	for _, name := range names {
		want[name] = on
	}
	err := e.features(func(tool *ethtool.Ethtool) error { return tool.Change(e.Name, want) })
	if err != nil {
		return fmt.Errorf("switch offloads of %s: %w", e, err)
	}
	now, err := e.Offloads()
	for _, name := range names {
		if err == nil && slices.Contains(now, name) != on {
			err = fmt.Errorf("switch offloads of %s: %s does not change", e, name)
		}
	}
	return err
}

// features runs fn with an ethtool socket of the end's host.
func (e *End) features(fn func(*ethtool.Ethtool) error) error {
	return e.Host.Do(func() error {
		tool, err := ethtool.NewEthtool()
		if err != nil {
			return err
		}
		defer tool.Close()
		return fn(tool)
	})
}
