package lab

import (
	"errors"
	"fmt"
)

// Packetize has every cable carry packets of at most its MTU, as a wire does, for who counts
// them. TCP hands on up to 64 KiB as one thing (TSO), somebody cuts it up before it is sent
// (GSO), but over a veth pair nobody does: a router would see it go by as one packet. With
// gso_max_segs at 1 there is nothing to cut up, for the sockets that connect from then on;
// what the others send the kernel cuts at the cable. Undo gives each end back what it had.
// It costs throughput, so labs are built without it.
// https://docs.kernel.org/networking/segmentation-offloads.html
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
			most, err := e.Segments()
			if err == nil {
				done = append(done, func() error { return e.setSegments(most) })
				err = e.setSegments(1)
			}
			if err != nil {
				return nil, errors.Join(err, undo())
			}
		}
	}
	return undo, nil
}

// Segments is how many segments of a connection this end takes as one: gso_max_segs.
func (e *End) Segments() (int, error) {
	link, err := e.link()
	if err != nil {
		return 0, err
	}
	return int(link.Attrs().GSOMaxSegs), nil
}

// setSegments sets gso_max_segs, and looks whether it is set.
func (e *End) setSegments(most int) error {
	link, err := e.link()
	if err != nil {
		return err
	}
	if err := e.Host.links.LinkSetGSOMaxSegs(link, most); err != nil {
		return fmt.Errorf("set gso_max_segs of %s: %w", e, err)
	}
	now, err := e.Segments()
	if err == nil && now != most {
		err = fmt.Errorf("set gso_max_segs of %s: it is %d, and not %d", e, now, most)
	}
	return err
}
