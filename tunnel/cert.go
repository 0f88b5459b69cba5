package tunnel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certLife is how long certificates of WriteCerts are good.
const certLife = 2 * 365 * 24 * time.Hour

// CertFiles are the names of what WriteCerts writes.
var CertFiles = []string{"ca.pem", "cert.pem", "key.pem", "client-cert.pem", "client-key.pem"}

// WriteCerts writes a development authority and two certificates signed by it
// into dir: ca.pem (for both ends), cert.pem and key.pem (for the server),
// client-cert.pem and client-key.pem (for clients of a server that wants one);
// keys have mode 0600. Hosts are the server's names or IP addresses. The
// authority's key is thrown away. Files that exist stop it unless force is set.
func WriteCerts(dir string, hosts []string, force bool) error {
	if len(hosts) == 0 {
		return setupf("no host: give --host, the name or address by which clients reach the server")
	}
	for _, name := range CertFiles {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil && !force {
			return setupf("%s exists: choose another --dir, or overwrite with --force", path)
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return setupf("look at %s: %w", path, err)
		}
	}
	blocks, err := makeCerts(hosts, time.Now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return setupf("make %s: %w", dir, err)
	}
	for i, block := range blocks {
		mode := fs.FileMode(0o644)
		if block.Type == "PRIVATE KEY" {
			mode = 0o600
		}
		path := filepath.Join(dir, CertFiles[i])
		// Removed first: an old file would keep its mode.
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return setupf("replace %s: %w", path, err)
		}
		if err := os.WriteFile(path, pem.EncodeToMemory(block), mode); err != nil {
			return setupf("write certificate: %w", err)
		}
	}
	return nil
}

// makeCerts makes the authority, and the certificates and keys of both ends.
func makeCerts(hosts []string, now time.Time) ([]*pem.Block, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make authority's key: %w", err)
	}
	template := func(name string) *x509.Certificate {
		serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // crypto/rand does not fail
		return &x509.Certificate{
			SerialNumber: serial,
			Subject:      pkix.Name{CommonName: name},
			NotBefore:    now.Add(-time.Hour), // clocks differ
			NotAfter:     now.Add(certLife),
		}
	}
	ca := template("halfopen tunnel development authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.MaxPathLenZero = true, true, true
	ca.KeyUsage = x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("sign authority: %w", err)
	}
	blocks := []*pem.Block{{Type: "CERTIFICATE", Bytes: caDER}}
	sign := func(cert *x509.Certificate, usage x509.ExtKeyUsage) error {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fmt.Errorf("make key: %w", err)
		}
		cert.KeyUsage = x509.KeyUsageDigitalSignature
		cert.ExtKeyUsage = []x509.ExtKeyUsage{usage}
		der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
		if err != nil {
			return setupf("sign certificate for %q: %w", hosts, err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fmt.Errorf("encode key: %w", err)
		}
		blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: der}, &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
		return nil
	}
	server := template(hosts[0])
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	if err := sign(server, x509.ExtKeyUsageServerAuth); err != nil {
		return nil, err
	}
	if err := sign(template("halfopen tunnel client"), x509.ExtKeyUsageClientAuth); err != nil {
		return nil, err
	}
	return blocks, nil
}

// loadPair loads a certificate and its key.
func loadPair(cert, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, setupf("load certificate: %w: make one with 'tunnel cert'", err)
	case err != nil:
		return nil, setupf("load certificate %s with key %s: %w", cert, key, err)
	}
	return &pair, nil
}

// loadAuthority loads the certificates of an authority.
func loadAuthority(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, setupf("load authority: %w: copy ca.pem from the server ('tunnel cert' makes it)", err)
	case err != nil:
		return nil, setupf("load authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, setupf("load authority: %s holds no PEM certificate", path)
	}
	return pool, nil
}
