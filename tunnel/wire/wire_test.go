package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// every is one frame of each type, as a peer that keeps the rules sends it.
func every() []Frame {
	return []Frame{
		{Auth, 0, Login{Slot: 3, Key: Key{1, 2}, Name: "a.example", Port: 9000, Token: "secret"}.Append(nil)},
		{AuthOK, 0, Welcome{Key: Key{1, 2}, Most: 16, ID: "7.1"}.Append(nil)},
		{Refused, 0, append([]byte{byte(Denied)}, "no"...)},
		{Open, 1, append([]byte{byte(HTTP)}, "192.0.2.1:5"...)},
		{Data, 1, bytes.Repeat([]byte("x"), MaxData)},
		{Data, 1<<32 - 1, []byte("y")},
		{Fin, 1, nil},
		{Reset, 1, append([]byte{byte(Gone)}, "reset"...)},
		{Credit, 1, []byte{0, 0, 1, 0}},
		{Ping, 0, []byte("12345678")},
		{Pong, 0, []byte("12345678")},
		{GoAway, 0, []byte{Replace}},
	}
}

func TestRoundTrip(t *testing.T) {
	var sent []byte
	for _, f := range every() {
		sent = Append(sent, f.Type, f.Stream, f.Payload)
	}
	for name, src := range map[string]io.Reader{
		"whole":   bytes.NewReader(sent),
		"dribble": iotest.OneByteReader(bytes.NewReader(sent)),
	} {
		r := NewReader(src)
		for _, want := range every() {
			got, err := r.Next()
			if err != nil {
				t.Fatalf("%s: read %v: %v", name, want.Type, err)
			}
			if got.Type != want.Type || got.Stream != want.Stream || !bytes.Equal(got.Payload, want.Payload) {
				t.Fatalf("%s: got %v stream %d, %d bytes; want %v stream %d, %d bytes", name,
					got.Type, got.Stream, len(got.Payload), want.Type, want.Stream, len(want.Payload))
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: after the last frame: %v, want io.EOF", name, err)
		}
	}
}

func TestRefusedFrames(t *testing.T) {
	for name, raw := range map[string][]byte{
		"type 0":              AppendHeader(nil, 0, 0, 0),
		"type 12":             AppendHeader(nil, 12, 0, 0),
		"oversized data":      AppendHeader(nil, Data, 1, MaxData+1),
		"longest length":      AppendHeader(nil, Data, 1, 1<<24-1),
		"empty data":          AppendHeader(nil, Data, 1, 0),
		"data on the session": Append(nil, Data, 0, []byte("x")),
		"ping on a stream":    Append(nil, Ping, 3, make([]byte, 8)),
		"short ping":          Append(nil, Ping, 0, make([]byte, 7)),
		"fin with payload":    Append(nil, Fin, 1, []byte("x")),
		"long credit":         Append(nil, Credit, 1, make([]byte, 5)),
		"long reason":         AppendHeader(nil, Reset, 1, 2+MaxText),
	} {
		if _, err := NewReader(bytes.NewReader(raw)).Next(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: got %v, want a protocol error", name, err)
		}
	}
}

func TestTornFrame(t *testing.T) {
	whole := Append(nil, Data, 1, []byte("hello"))
	for n := 1; n < len(whole); n++ {
		if _, err := NewReader(bytes.NewReader(whole[:n])).Next(); err != io.ErrUnexpectedEOF {
			t.Errorf("%d of %d bytes: got %v, want io.ErrUnexpectedEOF", n, len(whole), err)
		}
	}
}

func TestPayloads(t *testing.T) {
	in := Login{Slot: 255, Key: Key{KeyLen - 1: 9}, Name: "a.example", Port: 65535, Token: "s=e,c"}
	if out, err := ParseLogin(in.Append(nil)); err != nil || out != in {
		t.Errorf("login: got %+v, %v", out, err)
	}
	rest := func(s string) []byte { return append(Login{}.Append(nil)[:2+KeyLen+2], s...) }
	for name, p := range map[string][]byte{
		"other version": {9, 0, 0, 1, 'a', 't'},
		"half a key":    {Version, 0, 0, 1, 'a', 't'},
		"no name":       rest("\x00tt"),
		"no token":      rest("\x02ab"),
		"name too long": rest("\xc8ab"),
	} {
		if _, err := ParseLogin(p); !errors.Is(err, ErrProtocol) {
			t.Errorf("login with %s: got %v, want a protocol error", name, err)
		}
	}
	if w := (Welcome{Key: Key{7}, Most: 4, ID: "12.3"}); ParseWelcome(w.Append(nil)) != w {
		t.Errorf("welcome: got %+v, want %+v", ParseWelcome(w.Append(nil)), w)
	}
	next := func(raw []byte) []byte {
		f, err := NewReader(bytes.NewReader(raw)).Next()
		if err != nil {
			t.Fatal(err)
		}
		return f.Payload
	}
	long := strings.Repeat("r", 2*MaxText)
	if c, text := ParseReason(next(AppendReason(nil, Reset, 1, Silent, long))); c != Silent || text != long[:MaxText] {
		t.Errorf("reason: got %v %q", c, text)
	}
	if k, who, err := ParseOpen(next(AppendOpen(nil, 1, TCP, "[::1]:1"))); k != TCP || who != "[::1]:1" || err != nil {
		t.Errorf("open: got %v %q %v", k, who, err)
	}
	if _, _, err := ParseOpen([]byte{3}); !errors.Is(err, ErrProtocol) {
		t.Errorf("open of an unknown kind: %v", err)
	}
	if n, err := ParseCredit(next(AppendCredit(nil, 1, MaxWindow))); n != MaxWindow || err != nil {
		t.Errorf("credit: got %d %v", n, err)
	}
	for _, n := range []int{0, MaxWindow + 1} {
		if _, err := ParseCredit(next(AppendCredit(nil, 1, n))); !errors.Is(err, ErrProtocol) {
			t.Errorf("credit of %d: got %v, want a protocol error", n, err)
		}
	}
}

// FuzzReader: whatever arrives, the reader returns frames that keep the rules
// or an error, and what it accepts is what the writer would have written.
func FuzzReader(f *testing.F) {
	var all []byte
	for _, fr := range every() {
		one := Append(nil, fr.Type, fr.Stream, fr.Payload)
		f.Add(one)
		all = append(all, one...)
	}
	f.Add(all)
	f.Add([]byte{5, 255, 255, 255, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := NewReader(bytes.NewReader(raw))
		var again []byte
		for {
			fr, err := r.Next()
			if err != nil {
				break
			}
			again = Append(again, fr.Type, fr.Stream, fr.Payload)
			switch fr.Type {
			case Auth:
				if l, err := ParseLogin(fr.Payload); err == nil && !bytes.Equal(l.Append(nil), fr.Payload) {
					t.Errorf("login %+v is not what was read: %x", l, fr.Payload)
				}
			case AuthOK:
				if w := ParseWelcome(fr.Payload); !bytes.Equal(w.Append(nil), fr.Payload) {
					t.Errorf("welcome %+v is not what was read: %x", w, fr.Payload)
				}
			case Open:
				if k, who, err := ParseOpen(fr.Payload); err == nil && (who != string(fr.Payload[1:]) || k.String() == "") {
					t.Errorf("open: %v %q", k, who)
				}
			case Reset, Refused:
				if c, _ := ParseReason(fr.Payload); c.String() == "" {
					t.Error("reason without a name")
				}
			case Credit:
				if n, err := ParseCredit(fr.Payload); err == nil && (n < 1 || n > MaxWindow) {
					t.Errorf("credit of %d", n)
				}
			}
		}
		if !bytes.HasPrefix(raw, again) {
			t.Errorf("frames read are not those sent")
		}
	})
}

// FuzzHandshake: what a stranger may say in AUTH and a server in AUTHOK, REFUSED and
// OPEN. Each payload that its type allows is read or refused, and what was read would be
// written as the same bytes; what we write, we read.
func FuzzHandshake(f *testing.F) {
	for _, fr := range every() {
		f.Add(uint8(fr.Type), fr.Payload)
	}
	f.Add(uint8(Auth), []byte{Version, 0, 0, 1, 'a', 't'})
	f.Add(uint8(AuthOK), make([]byte, 64))
	f.Add(uint8(Open), append([]byte{byte(TCP)}, strings.Repeat("v", MaxText)...))
	f.Fuzz(func(t *testing.T, typ uint8, payload []byte) {
		ty, stream := Type(typ), uint32(0)
		if ty.known() && kinds[ty].stream {
			stream = 1
		}
		fr, err := NewReader(bytes.NewReader(Append(nil, ty, stream, payload))).Next()
		if fits := ty.known() && len(payload) >= kinds[ty].min && len(payload) <= kinds[ty].max; fits != (err == nil) {
			t.Fatalf("%v of %d bytes: %v", ty, len(payload), err)
		}
		if err != nil {
			return
		}
		again := payload
		switch ty {
		case Auth:
			l, err := ParseLogin(fr.Payload)
			if err != nil && !errors.Is(err, ErrProtocol) {
				t.Fatalf("refused with %v", err)
			}
			if err == nil && (l.Name == "" || l.Token == "") {
				t.Fatalf("took %+v", l)
			}
			if err == nil {
				again = l.Append(nil)
			}
		case AuthOK:
			again = ParseWelcome(fr.Payload).Append(nil)
		case Refused, Reset:
			code, text := ParseReason(fr.Payload)
			again = AppendReason(nil, ty, stream, code, text)[HeaderLen:]
		case Open:
			if kind, who, err := ParseOpen(fr.Payload); err == nil {
				again = AppendOpen(nil, stream, kind, who)[HeaderLen:]
			} else if !errors.Is(err, ErrProtocol) {
				t.Fatalf("refused with %v", err)
			}
		}
		if !bytes.Equal(again, payload) {
			t.Fatalf("%v %x was read as %x", ty, payload, again)
		}
	})
}
