package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/record"
)

// DestroySockets destroys the connections of the server or of the client that go over
// the cable at a place, and no other: SOCK_DESTROY, as an administrator does with
// ss -K, or Android's netd when a network goes away. The owner gets ECONNABORTED, the
// peer RST.
type DestroySockets struct {
	At lab.Place // of the host whose sockets they are: AtServer, AtClient; AtVisitor: the server's to visitors
}

// Describe implements Fault.
func (d DestroySockets) Describe() record.Fault {
	return record.Fault{Name: "sockets destroyed", Place: string(d.At), Class: record.Closed}
}

// Inject implements Fault.
func (d DestroySockets) Inject(_ context.Context, on *lab.Lab) (Heal, Witness, error) {
	end, err := on.End(d.At)
	if err != nil {
		return nil, nil, fmt.Errorf("destroy sockets: %w", err)
	}
	host, peer := end.Host, end.Peer.IP()
	switch d.At {
	case lab.AtClient:
		peer = on.ClientSide
	case lab.AtVisitor, lab.AtOrigin: // those of the target's own process
		host, peer = end.Peer.Host, end.IP()
	case lab.AtServer:
	default:
		return nil, nil, errors.New("destroy sockets: name the place of a host: server, client, visitor, origin")
	}
	gone, err := host.DestroySockets(peer)
	if err != nil {
		return nil, nil, fmt.Errorf("destroy sockets: %w", err)
	}
	witness := func(context.Context) (string, bool, error) {
		now, err := host.Established(peer)
		if err != nil {
			return "", false, err
		}
		for _, g := range gone {
			for _, n := range now {
				if g == n {
					return g + " is there", false, nil
				}
			}
		}
		return fmt.Sprintf("%d sockets destroyed: %s", len(gone), strings.Join(gone[:min(3, len(gone))], ", ")), len(gone) > 0, nil
	}
	return nothing, witness, nil
}
