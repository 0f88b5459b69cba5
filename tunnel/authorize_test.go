package tunnel

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"github.com/halfopen/halfopen/tunnel/wire"
)

// FuzzAuthorize: whatever stands in AUTH, the server lets in exactly those that have
// the token and the right, and keeps nothing of the others.
func FuzzAuthorize(f *testing.F) {
	token, err := ParseToken(secret + "=a.test,b.test")
	if err != nil {
		f.Fatal(err)
	}
	s, err := NewServer(ServerConfig{
		Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0", TCPHost: "127.0.0.1", MaxSessions: 2,
		Cert: filepath.Join(certs, "cert.pem"), Key: filepath.Join(certs, "key.pem"),
		Tokens: []Token{token}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.cancel)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.Close() })
	below := &line{TCPConn: conn.(*net.TCPConn)} // nothing is said on it
	standing := wire.Login{Name: "b.test", Token: secret}
	l, _, err := s.authorize(wire.Frame{Type: wire.Auth, Payload: standing.Append(nil)}, nil, below, nil)
	if err != nil {
		f.Fatal(err)
	}
	login := wire.Login{Name: "a.test", Token: secret}
	join := wire.Login{Name: "b.test", Token: secret, Slot: 1, Key: l.key}
	f.Add(login.Append(nil))
	f.Add(join.Append(nil))
	for _, wrong := range []func(*wire.Login){
		func(l *wire.Login) { l.Token = "guess" },
		func(l *wire.Login) { l.Name = "c.test" },
		func(l *wire.Login) { l.Port = 22 },
		func(l *wire.Login) { l.Slot = 2 },
		func(l *wire.Login) { l.Key[15] ^= 1 },
	} {
		bad := join
		wrong(&bad)
		f.Add(bad.Append(nil))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		frame, err := wire.NewReader(bytes.NewReader(wire.Append(nil, wire.Auth, 0, payload))).Next()
		if err != nil {
			return
		}
		ask, malformed := wire.ParseLogin(frame.Payload)
		right := malformed == nil && ask.Token == secret && ask.Port == 0 && ask.Slot < 2 &&
			(ask.Key == wire.Key{} && ask.Name == "a.test" || ask.Key == l.key && ask.Name == "b.test")
		if ask.Key == (wire.Key{}) && ask.Name == "b.test" || ask.Key == l.key && ask.Slot == 0 {
			return // would take the place of the standing one
		}
		in, own, err := s.authorize(frame, nil, below, nil)
		if right != (err == nil) {
			t.Fatalf("%+v: let in: %v, %v", ask, err == nil, err)
		}
		if refused := (*refusal)(nil); err != nil && !errors.As(err, &refused) {
			t.Fatalf("%+v: the client is not told: %v", ask, err)
		}
		if err == nil {
			welcome, err := wire.NewReader(bytes.NewReader(own.control)).Next()
			if err != nil || welcome.Type != wire.AuthOK || wire.ParseWelcome(welcome.Payload).Key != in.key {
				t.Fatalf("welcomed with %+v, %v", welcome, err)
			}
			own.cause = &cause{byPeer, errors.New("test")}
			if in.leave(own.slot, own) {
				s.registry.release(in)
			}
		}
		if names, ports := s.registry.taken(); names != 1 || ports != 0 {
			t.Fatalf("%+v: %d names, %d ports are taken", ask, names, ports)
		}
	})
}
