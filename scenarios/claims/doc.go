// Package claims holds small programs in the shapes that the document shows which
// halfopen started from: five "safety layers" against leaked connections, each alone.
// They are there to be measured by harness/cmd/claims, faults and all, and do what the
// document says, not what is right.
//
//	parked    layer 1: deferred closing and removal, and a handler that waits with select {}
//	recycler  layer 2: connections are closed by age and by number of requests
//	prober    layer 3: a sweep that reads a byte with a deadline of a millisecond
//	relay     layer 4: explicit removal after each WebSocket session
//	renewer   layer 5: a client that looks after its connection, and replaces it
//	crowd     the document's memory account: TLS connections with a buffer each
//	pool      what the servers share
package claims
