package tunnel

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxSecret is the longest secret in bytes.
const maxSecret = 1024

// digest is the hash of a secret: all that a server keeps of it.
type digest [sha256.Size]byte

// hashed marks a digest where a secret could stand.
const hashed = "sha256:"

// Token is the right to log in under some names and to open some ports. It
// keeps the hash of its secret only.
type Token struct {
	hash  digest
	Names []string
	Ports []uint16
}

// NewToken makes a secret of 256 random bits, and the line that gives it rights
// ("NAME[,NAME...][,PORT...]") in a token file.
func NewToken(rights string) (secret, line string, err error) {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // crypto/rand does not fail
	secret = base64.RawURLEncoding.EncodeToString(random)
	if _, err := ParseToken(secret + "=" + rights); err != nil {
		return "", "", err
	}
	hash := sha256.Sum256([]byte(secret))
	return secret, hashed + hex.EncodeToString(hash[:]) + "=" + rights, nil
}

// ReadTokens reads a token file: lines "sha256:HASH=NAME[,NAME...][,PORT...]",
// empty ones, and those that begin with #. A secret in it is refused: the file
// is not to be worth stealing.
func ReadTokens(path string) ([]Token, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, setupf("read tokens: %w", err)
	}
	defer file.Close()
	var all []Token
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if !strings.HasPrefix(line, hashed) {
			return nil, setupf("%s:%d: a line begins with %sHASH, never with a secret; 'tunnel token' makes it", path, n, hashed)
		}
		t, err := ParseToken(line)
		if err != nil {
			return nil, setupf("%s:%d: %w", path, n, err)
		}
		all = append(all, t)
	}
	if err := lines.Err(); err != nil {
		return nil, setupf("read tokens from %s: %w", path, err)
	}
	if len(all) == 0 {
		return nil, setupf("%s holds no token; 'tunnel token' makes one", path)
	}
	return all, nil
}

// ParseToken reads "SECRET=NAME[,NAME...][,PORT...]". The secret ends at the last
// "="; what is all digits is a port. "sha256:" and 64 hex digits stand for a
// secret with that hash. No error shows the secret.
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
	if digits, ok := strings.CutPrefix(secret, hashed); ok {
		hash, err := hex.DecodeString(digits)
		if err != nil || len(hash) != len(t.hash) {
			return Token{}, setupf("the token for %q wants 64 hex digits after %s", rights, hashed)
		}
		t.hash = digest(hash)
	}
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
func permit(tokens []Token, secret digest, name string, port uint16) error {
	var known, named, ported bool
	for _, t := range tokens {
		if subtle.ConstantTimeCompare(secret[:], t.hash[:]) != 1 {
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
