package sweep

import (
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/halfopen/halfopen/harness/fault"
	"github.com/halfopen/halfopen/harness/record"
)

// a life as a router sees it: a byte count, or the flag.
func lived(t *testing.T) Life {
	t.Helper()
	l := &login{}
	at := time.Unix(0, 0)
	for _, p := range []struct {
		way   fault.Way
		tcp   layers.TCP
		bytes int
	}{
		{fault.ToServer, layers.TCP{SYN: true}, 0},
		{fault.FromServer, layers.TCP{SYN: true, ACK: true}, 0},
		{fault.ToServer, layers.TCP{ACK: true}, 0},
		{fault.ToServer, layers.TCP{ACK: true}, 1448},
		{fault.FromServer, layers.TCP{ACK: true}, 0},
		{fault.ToServer, layers.TCP{ACK: true}, 30},
		{fault.FromServer, layers.TCP{ACK: true}, 900},
		{fault.ToServer, layers.TCP{ACK: true}, 0},
		{fault.ToServer, layers.TCP{ACK: true}, 80},
		{fault.ToServer, layers.TCP{ACK: true}, 90},
		{fault.FromServer, layers.TCP{ACK: true}, 40},
		{fault.ToServer, layers.TCP{ACK: true}, 50},
		{fault.FromServer, layers.TCP{FIN: true, ACK: true}, 0},
		{fault.ToServer, layers.TCP{FIN: true, ACK: true}, 0},
		{fault.FromServer, layers.TCP{ACK: true}, 0},
	} {
		at = at.Add(time.Millisecond)
		l.add(Packet{At: at, Way: p.way, Bytes: p.bytes}, &p.tcp, "http")
	}
	return l.life
}

func TestEventsOfALogin(t *testing.T) {
	want := []string{
		"connect: SYN to the server", "connect: SYN ACK from the server", "connect: ACK to the server",
		"TLS: ClientHello to the server", "TLS: ACK from the server", "TLS: server's handshake from the server",
		"TLS: ACK to the server", "TLS: Finished to the server", "token: token to the server",
		"token: answer from the server", "http: data to the server",
		"end: FIN from the server", "end: FIN to the server", "end: ACK from the server",
	}
	if got := lived(t).Events(); !slices.Equal(got, want) {
		t.Errorf("events\n%q, want\n%q", got, want)
	}
}

func TestOver(t *testing.T) {
	life := lived(t)
	for n := range life {
		if life[:n].Over() {
			t.Errorf("over after %d packets of %d", n, len(life))
		}
		if got, want := life[:n].LoggedIn(), n > 10; got != want {
			t.Errorf("after %d packets: logged in %v, want %v", n, got, want)
		}
	}
	if !life.Over() {
		t.Error("not over after the last FIN is acknowledged")
	}
}

func TestLacks(t *testing.T) {
	want := []string{"upgrade", "messages", "closing", "tcp", "half-close", "recycle", "drain"}
	if got := lived(t).Lacks(); !slices.Equal(got, want) {
		t.Errorf("lacks %q, want %q", got, want)
	}
}

// The token is packet 10, the server's handshake packet 7.
func TestClass(t *testing.T) {
	for _, c := range []struct {
		after int
		way   fault.Way
		want  record.Class
	}{
		{1, fault.BothWays, record.Unfinished},
		{7, fault.ToServer, record.Unfinished},
		{8, fault.ToServer, ""}, // another life may be two packets shorter
		{10, fault.BothWays, ""},
		{4, fault.FromServer, record.Unfinished},
		{5, fault.FromServer, ""},
	} {
		if got := lived(t).Class(c.after, c.way); got != c.want {
			t.Errorf("after packet %d %s: class %q, want %q", c.after, c.way, got, c.want)
		}
	}
}

func TestHit(t *testing.T) {
	life := lived(t)
	later := slices.Clone(life)
	for i := range later {
		later[i].At = later[i].At.Add(time.Microsecond)
	}
	for _, c := range []struct {
		after int
		way   fault.Way
		want  string // "" if nothing is hit
	}{
		{3, fault.BothWays, "TLS: ClientHello to the server"},
		{3, fault.FromServer, "TLS: ACK from the server"},
		{9, fault.ToServer, "token: token to the server"},
		{15, fault.BothWays, ""},
		{14, fault.ToServer, ""},
	} {
		hit, ok := Hit([]Life{later, life}, c.after, c.way)
		if ok != (c.want != "") || hit.Event != c.want || ok && hit.At.Nanosecond()%1e6 != 0 {
			t.Errorf("after packet %d %s: hit %+v, want %q of the connection that is first", c.after, c.way, hit, c.want)
		}
	}
}

func TestCutsAreStored(t *testing.T) {
	dir := t.TempDir()
	cuts := lived(t).Cuts()
	if len(cuts) != 3*13 {
		t.Errorf("%d cuts, want 39: after each packet but the first and the last, three ways", len(cuts))
	}
	for i := range cuts {
		cuts[i].Event = cuts[i].Name()
		if err := cuts[i].Store(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cuts {
		back := Cut{After: c.After, Way: c.Way}
		if ok, err := back.Load(dir); !ok || err != nil || back != c {
			t.Errorf("%+v was stored, %+v came back: %v", c, back, err)
		}
	}
	none := Cut{After: 99}
	if ok, err := none.Load(dir); ok || err != nil {
		t.Errorf("a cut that was never played: %v, %v", ok, err)
	}
}
