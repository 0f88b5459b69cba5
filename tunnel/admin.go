package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// admin serves the pages for whoever runs the tunnel, on loopback only:
// /debug/pprof/, /healthz, /metrics, /sessions and, if wanted, /debug/free. A nil admin
// serves nothing.
type admin struct {
	ln      *net.TCPListener
	server  *http.Server
	serving sync.WaitGroup
}

// subject is what the pages are about: a Server or a Client.
type subject interface {
	healthy() bool
	status(streams bool) statusPage
	metricsPage() http.Handler
}

// statusPage is /sessions. On a client Logins has at most one entry.
type statusPage struct {
	Role   string        `json:"role"`
	Held   held          `json:"held"`
	Logins []loginStatus `json:"logins"`
}

type loginStatus struct {
	Name       string          `json:"name"`
	Port       int             `json:"port,omitempty"`
	AgeSeconds float64         `json:"age_s"`
	Sessions   []sessionStatus `json:"sessions"`
}

type sessionStatus struct {
	ID            string         `json:"id"`
	Name          string         `json:"name"`
	Peer          string         `json:"peer"`
	Local         string         `json:"local"`
	AgeSeconds    float64        `json:"age_s"`
	Draining      bool           `json:"draining,omitempty"`
	Streams       int            `json:"streams"`
	QueuedOut     int            `json:"queued_out"` // bytes waiting for the session
	QueuedIn      int            `json:"queued_in"`  // bytes waiting for visitors or origins
	BytesIn       int64          `json:"bytes_in"`
	BytesOut      int64          `json:"bytes_out"`
	RTTMillis     float64        `json:"rtt_ms"`
	SockOpts      SockOpts       `json:"sockopts"`                 // read from the live socket for this answer
	SockOptsError string         `json:"sockopts_error,omitempty"` // they could not be read, or are not what was set
	StreamList    []streamStatus `json:"stream_list,omitempty"`    // with ?streams=1
}

type streamStatus struct {
	ID         uint32   `json:"id"`
	Kind       string   `json:"kind"`
	Visitor    string   `json:"visitor"`
	AgeSeconds float64  `json:"age_s"`
	HalfClosed bool     `json:"half_closed"`
	SockOpts   SockOpts `json:"sockopts"` // read back when they were set
}

// status reads the session for /sessions.
func (s *session) status(name string, want SockOpts, streams bool) sessionStatus {
	out := sessionStatus{
		ID: s.id, Name: name, Peer: s.peer, Local: s.raw.LocalAddr().String(),
		AgeSeconds: time.Since(s.born).Seconds(),
		BytesIn:    s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
		RTTMillis: float64(s.rtt.Load()) / 1e6,
	}
	var err error
	if out.SockOpts, err = readSockOpts(s.raw); err != nil {
		out.SockOptsError = err.Error()
	} else if out.SockOpts != want {
		out.SockOptsError = fmt.Sprintf("set %+v", want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Streams, out.Draining = len(s.streams), s.away
	out.QueuedIn, out.QueuedOut = s.heldIn, s.heldOut
	for _, st := range s.streams {
		if streams {
			out.StreamList = append(out.StreamList, streamStatus{
				ID: st.id, Kind: st.kind.String(), Visitor: st.visitor,
				AgeSeconds: time.Since(st.born).Seconds(), HalfClosed: st.eof != st.shut, SockOpts: st.opts,
			})
		}
	}
	return out
}

// adminAddress refuses addresses that others could reach; none at all is fine.
func adminAddress(wrong *ConfigError, address string) {
	if address == "" {
		return
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		wrong.add("admin", "admin address %q is not IP:PORT", address)
	} else if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		wrong.add("admin", "admin address %q is not on loopback: its pages show everything, choose 127.0.0.1:PORT", address)
	}
}

// startAdmin serves the pages on address, which adminAddress has seen, until stop;
// with an empty address it returns nil.
func startAdmin(address, role string, free bool, log *slog.Logger, about subject) (*admin, error) {
	if address == "" {
		return nil, nil
	}
	ln, err := listen(address, "--admin")
	if err != nil {
		return nil, err
	}
	a := &admin{ln: ln, server: &http.Server{
		Handler:           adminPages(free, about),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	a.serving.Go(func() {
		wear(labels(role, "admin", ln.Addr().String())) // its handlers inherit them
		if err := a.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("admin pages are gone", "err", err)
		}
	})
	return a, nil
}

// address is where the pages are, "" when there are none.
func (a *admin) address() string {
	if a == nil {
		return ""
	}
	return a.ln.Addr().String()
}

// stop lets answers under way end, for half a second, and closes the rest.
func (a *admin) stop(ctx context.Context) error {
	if a == nil {
		return nil
	}
	grace, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	err := a.server.Shutdown(grace)
	if err != nil { // out of time, or there was none
		err = a.server.Close()
	}
	a.serving.Wait()
	if err != nil {
		return fmt.Errorf("stop admin pages: %w", err)
	}
	return nil
}

func adminPages(free bool, about subject) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not shown: a command line may hold a token", http.StatusForbidden)
	})
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !about.healthy() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("/metrics", about.metricsPage())
	mux.HandleFunc("/sessions", func(w http.ResponseWriter, r *http.Request) {
		answer(w, about.status(r.URL.Query().Get("streams") == "1"))
	})
	if free {
		mux.HandleFunc("/debug/free", func(w http.ResponseWriter, _ *http.Request) {
			for range 3 { // finalizers need two, their garbage the third
				runtime.GC()
			}
			debug.FreeOSMemory()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			answer(w, map[string]uint64{
				"heap_alloc": m.HeapAlloc, "heap_objects": m.HeapObjects,
				"stack_inuse": m.StackInuse, "goroutines": uint64(runtime.NumGoroutine()),
			})
		})
	}
	return mux
}

// answer writes v as JSON. An error means that the asker has left.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(v) // see above
}

// compare orders logins by name.
func compare(a, b loginStatus) int { return strings.Compare(a.Name, b.Name) }
