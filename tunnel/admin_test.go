package tunnel

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// get fetches an admin page without keeping the connection.
func get(t *testing.T, address, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func page(t *testing.T, address string) statusPage {
	t.Helper()
	var p statusPage
	_, body := get(t, address, "/sessions?streams=1")
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return p
}

// session is that of a login.
func (w *world) session(name string) *session {
	w.t.Helper()
	l, _ := w.server.registry.find(name)
	if l == nil {
		w.t.Fatalf("%s is not logged in", name)
	}
	return l.sessions()[0]
}

// Every socket has the options that were asked for, read back from it.
func TestSockOpts(t *testing.T) {
	for name, set := range map[string]struct {
		live          Liveness
		session, edge SockOpts
	}{
		"defaults": {Liveness{}, SockOpts{true, 15, 5, 6, 15000}, SockOpts{true, 15, 5, 6, 45000}},
		"own": {
			Liveness{
				SessionKeepAlive: KeepAlive{2 * time.Second, time.Second, 3}, SessionUserTimeout: 5 * time.Second,
				EdgeKeepAlive: KeepAlive{3 * time.Second, 2 * time.Second, 4}, EdgeUserTimeout: 7500 * time.Millisecond,
			},
			SockOpts{true, 2, 1, 3, 5000}, SockOpts{true, 3, 2, 4, 7500},
		},
		"off": {
			Liveness{SessionKeepAlive: KeepAlive{Idle: Off}, SessionUserTimeout: Off, EdgeKeepAlive: KeepAlive{Idle: Off}, EdgeUserTimeout: Off},
			SockOpts{}, SockOpts{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *ServerConfig) { c.Liveness = set.live })
			h := newHolder(t)
			c := w.client(h.address, nil)
			visitors := w.visitAll(1)
			for range visitors {
				take(t, h.in)
			}
			for _, s := range []*session{w.session("a.test"), c.session(0)} {
				eventually(t, "all streams are connected", func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					n := 0
					for _, st := range s.streams {
						if st.conn != nil {
							n++
						}
					}
					return n == len(visitors)
				})
			}
			for _, address := range []string{w.server.AdminAddr(), c.admin.address()} {
				p := page(t, address)
				if len(p.Logins) != 1 || len(p.Logins[0].Sessions) != 1 {
					t.Fatalf("got %+v, want one login with one session", p)
				}
				s := p.Logins[0].Sessions[0]
				if s.SockOpts != set.session || s.SockOptsError != "" {
					t.Errorf("%s session: got %+v %q, want %+v", p.Role, s.SockOpts, s.SockOptsError, set.session)
				}
				if s.ID != "1.0" || s.Name != "a.test" || s.Streams != 2 || len(s.StreamList) != 2 || s.AgeSeconds <= 0 {
					t.Errorf("%s session: got %+v", p.Role, s)
				}
				for _, st := range s.StreamList {
					if st.SockOpts != set.edge {
						t.Errorf("%s stream: got %+v, want %+v", p.Role, st.SockOpts, set.edge)
					}
				}
			}
			// And what the page shows of streams is what their sockets have.
			session := w.session("a.test")
			session.mu.Lock()
			defer session.mu.Unlock()
			for _, st := range session.streams {
				if got, err := readSockOpts(st.conn.(*net.TCPConn)); got != set.edge || err != nil {
					t.Errorf("visitor's socket has %+v, %v; want %+v", got, err, set.edge)
				}
			}
		})
	}
}

// A difference between what is set and what the socket has is shown.
func TestSockOptsDiffer(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("127.0.0.1:1", nil)
	other := SockOpts{true, 9, 9, 9, 9000}
	if _, err := other.apply(c.session(0).raw); err != nil {
		t.Fatal(err)
	}
	s := page(t, c.admin.address()).Logins[0].Sessions[0]
	if s.SockOpts != other || !strings.Contains(s.SockOptsError, "UserTimeout:15000") {
		t.Errorf("got %+v %q", s.SockOpts, s.SockOptsError)
	}
	if _, err := (SockOpts{true, 0, 1, 1, 1000}).apply(c.session(0).raw); err == nil {
		t.Error("an idle time of 0 was set")
	}
}

func TestAdminPages(t *testing.T) {
	w := newWorld(t, func(c *ServerConfig) { c.DebugFree = true })
	cfg := w.config("127.0.0.1:1")
	cfg.Server = "127.0.0.1:1" // not there yet
	away := runClient(t, cfg)
	eventually(t, "admin pages", func() bool { return away.log.has("msg=reconnect") })
	if code, _ := get(t, away.admin.address(), "/healthz"); code != 503 {
		t.Errorf("a client that is not logged in is healthy: %d", code)
	}
	h := newHolder(t)
	c := w.client(h.address, nil)
	say(t, w.visitTCP(), "x")
	take(t, h.in)
	for _, address := range []string{w.server.AdminAddr(), c.admin.address()} {
		if code, body := get(t, address, "/healthz"); code != 200 || body != "ok\n" {
			t.Errorf("healthz: %d %q", code, body)
		}
		if code, _ := get(t, address, "/debug/pprof/heap"); code != 200 {
			t.Errorf("heap profile: %d", code)
		}
		if code, _ := get(t, address, "/debug/pprof/cmdline"); code != 403 {
			t.Errorf("the command line, and the token in it, is shown: %d", code)
		}
	}
	if code, body := get(t, w.server.AdminAddr(), "/debug/free"); code != 200 || !strings.Contains(body, "heap_alloc") {
		t.Errorf("free: %d %q", code, body)
	}
	if code, _ := get(t, c.admin.address(), "/debug/free"); code != 404 {
		t.Errorf("free without the flag: %d", code)
	}
	// Every goroutine of the tunnel names its holder.
	_, dump := get(t, w.server.AdminAddr(), "/debug/pprof/goroutine?debug=1")
	peer := c.session(0).raw.LocalAddr().String()
	for _, want := range []string{
		`{"kind":"accept", "peer":"` + w.server.Addr() + `", "role":"server"}`,
		`{"kind":"accept", "peer":"` + w.server.HTTPAddr() + `", "role":"server"}`,
		`{"kind":"accept", "peer":"` + fmt.Sprintf("127.0.0.1:%d", w.port) + `", "role":"server", "session":"1"}`,
		`{"kind":"session", "peer":"` + peer + `", "role":"server", "session":"1.0"}`,
		`{"kind":"flusher", "peer":"` + peer + `", "role":"server", "session":"1.0"}`,
		`{"kind":"session", "peer":"` + w.server.Addr() + `", "role":"client", "session":"1.0"}`,
		`{"kind":"flusher", "peer":"` + w.server.Addr() + `", "role":"client", "session":"1.0"}`,
		`{"kind":"visitor", "peer":"127.0.0.1:`,
		`{"kind":"origin", "peer":"127.0.0.1:`,
		`{"kind":"admin", "peer":"` + w.server.AdminAddr() + `", "role":"server"}`,
	} {
		if !strings.Contains(dump, want) {
			t.Errorf("no goroutine has the labels %s", want)
		}
	}
}

func TestAdminOnLoopbackOnly(t *testing.T) {
	noLeak(t)
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "[::]:0", "localhost:0", "127.0.0.1"} {
		var wrong ConfigError
		if adminAddress(&wrong, address); len(wrong) != 1 || wrong[0].Option != "admin" {
			t.Errorf("%s was taken", address)
		}
	}
	var wrong ConfigError
	adminAddress(&wrong, "[::1]:6060")
	if adminAddress(&wrong, ""); wrong.orNil() != nil {
		t.Error(wrong)
	}
	// A port in use is told with its cure.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := startAdmin(ln.Addr().String(), roleServer, false, nil, nil); err == nil || !strings.Contains(err.Error(), "--admin") {
		t.Errorf("port in use: %v", err)
	}
}
