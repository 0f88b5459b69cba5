package lab

// Peers are, by role of the target's processes, the addresses at the other end of
// the connections that go through a fault at this place; nil for all of them. At a
// visitor or an origin, the sessions between server and client are out of reach: only
// what a visitor has there, and what is carried for it at the other side.
func (l *Lab) Peers(at Place) map[string][]string {
	if at != AtVisitor && at != AtOrigin {
		return nil
	}
	return map[string][]string{
		"server": {l.ends[AtVisitor].IP().String()},
		"client": {l.OriginIP.String()},
	}
}

// Edge are, by role, the addresses of all visitors and origins, the neighbours' too.
func (l *Lab) Edge() map[string][]string {
	edge := l.Peers(AtVisitor)
	if l.guestEnd != nil {
		edge["server"] = append(edge["server"], l.guestEnd.IP().String())
	}
	return edge
}
