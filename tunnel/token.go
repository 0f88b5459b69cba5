package tunnel

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxSecret is the longest secret in bytes.
const maxSecret = 1024

// Token is the right to log in under some names and to open some ports. It
// keeps the hash of its secret only.
type Token struct {
	hash  [sha256.Size]byte
	Names []string
	Ports []uint16
}

// ParseToken reads "SECRET=NAME[,NAME...][,PORT...]". The secret ends at the last
// "="; what is all digits is a port. No error shows the secret.
func ParseToken(s string) (Token, error) {
	i := strings.LastIndexByte(s, '=')
	if i < 1 {
		return Token{}, setupf("a token is not SECRET=NAME[,NAME...][,PORT...]")
	}
	secret, rights := s[:i], s[i+1:]
	if len(secret) > maxSecret {
		return Token{}, setupf("the token for %q is longer than %d bytes", rights, maxSecret)
	}
	t := Token{hash: sha256.Sum256([]byte(secret))}
	for _, r := range strings.Split(rights, ",") {
		if strings.Trim(r, "0123456789") == "" && r != "" {
			port, err := strconv.ParseUint(r, 10, 16)
			if err != nil || port == 0 {
				return Token{}, setupf("the token for %q names the port %s; ports are 1 to 65535", rights, r)
			}
			t.Ports = append(t.Ports, uint16(port))
			continue
		}
		if err := checkName(r); err != nil {
			return Token{}, setupf("the token for %q: %w", rights, err)
		}
		t.Names = append(t.Names, r)
	}
	if len(t.Names) == 0 {
		return Token{}, setupf("the token for %q names no host", rights)
	}
	return t, nil
}

// checkName accepts host names in lower case, as they appear in Host.
func checkName(name string) error {
	ok := name != "" && len(name) <= 253
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			ok = false
		}
	}
	if !ok {
		return fmt.Errorf("%q is not a host name in lower case, like app.example", name)
	}
	return nil
}

// permit says whether one of the tokens has this secret and the right to name
// and port (0: none wanted). The text of the error goes to the client. Every
// token is compared, each in constant time.
func permit(tokens []Token, secret, name string, port uint16) error {
	hash := sha256.Sum256([]byte(secret))
	var known, named, ported bool
	for _, t := range tokens {
		if subtle.ConstantTimeCompare(hash[:], t.hash[:]) != 1 {
			continue
		}
		known = true
		mayName := slices.Contains(t.Names, name)
		named = named || mayName
		ported = ported || mayName && (port == 0 || slices.Contains(t.Ports, port))
	}
	switch {
	case !known:
		return fmt.Errorf("unknown token")
	case !named:
		return fmt.Errorf("this token has no right to the name %s", name)
	case !ported:
		return fmt.Errorf("this token has no right to port %d under the name %s", port, name)
	}
	return nil
}
