package tunnel

import (
	"strings"
	"testing"
)

// What may stand between the size of a chunk and its data: RFC 9112, section 7.1.1. It
// does not matter how the bytes come.
func TestChunkSizes(t *testing.T) {
	for line, ok := range map[string]bool{
		"5":                                   true,
		"00A":                                 true,
		"5 \t":                                true,
		"5;":                                  true,
		"5;a":                                 true,
		"5 ;a":                                true,
		"5\t ; a = \"b c\" ; d":               true,
		"":                                    false,
		" 5":                                  false,
		";a":                                  false,
		"5x":                                  false,
		"5 6":                                 false,
		"5 a;b":                               false,
		"5\t;a\n":                             false,
		"5 \r;a":                              false,
		"5,":                                  false,
		"fffffffffffffff":                     false,
		"5" + strings.Repeat(" ", maxExtra):   true,
		"5" + strings.Repeat(" ", maxExtra+1): false,
		"5;" + strings.Repeat("x", maxExtra):  false,
	} {
		text := []byte(line + "\r\n")
		for _, step := range []int{1, len(text)} {
			b := chunkedBody()
			var err error
			for n := 0; n < len(text) && err == nil; n += step {
				_, err = b.feed(text[n : n+step])
			}
			if (err == nil) != ok || ok && b.state != chunkData {
				t.Errorf("%.20q, %d bytes at a time: %v", line, step, err)
			}
		}
	}
}
