// Package tunnel is a reverse tunnel: visitors reach, through a public server,
// a service (the origin) on a machine that only dials out.
//
//	visitor --TCP/HTTP/WS--> server ==== 4 TLS 1.3 sessions a login, frames ==== client --TCP--> origin
//
// # Who owns what
//
// Every connection is closed in one place: by a deferred Close in the function
// that accepted or dialled it (serveSession, serveHTTP, serveTCP on the server;
// stay.session, serveOrigin on the client). Whoever wants a connection to end puts
// its deadlines into the past; the owner then wakes, whatever it was blocked
// in, and closes.
//
// Every stream is in exactly one session's map. A session ends in one place,
// the end of [session.run], which ends all its streams and waits for their
// owners. A session is in one slot of its login; when the last one leaves, the
// login is over. It holds its name and its public port from registry.take to
// registry.release; release frees only what the login itself still holds.
//
// Every goroutine is counted in the WaitGroup of its owner: the session waits
// for its flusher and the owners of its streams, a stream for its dial and drainer, the
// server for its accept loops and handlers, a client's stay for the keepers of
// its slots, the admin for its server.
//
// # What a stream costs
//
// One goroutine (the pump, which is the stream's owner) and no buffer while it
// is idle: the pump waits for its socket to become readable before it takes a
// buffer, and a second goroutine (the drainer) exists only while there is
// something to write to the socket.
package tunnel
