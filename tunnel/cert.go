package tunnel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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

// WriteCerts writes a development authority and a server certificate signed by
// it into dir: ca.pem (for clients), cert.pem and key.pem (for the server, mode
// 0600). Hosts are names or IP addresses. The authority's key is thrown away.
// Files that exist stop it unless force is set.
func WriteCerts(dir string, hosts []string, force bool) error {
	if len(hosts) == 0 {
		return setupf("no host: give --host, the name or address by which clients reach the server")
	}
	names := []string{"ca.pem", "cert.pem", "key.pem"}
	for _, name := range names {
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
		if names[i] == "key.pem" {
			mode = 0o600
		}
		path := filepath.Join(dir, names[i])
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

// makeCerts makes the authority, the certificate and its key.
func makeCerts(hosts []string, now time.Time) ([]*pem.Block, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make authority's key: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make server's key: %w", err)
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
	cert := template(hosts[0])
	cert.KeyUsage = x509.KeyUsageDigitalSignature
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, setupf("sign certificate for %q: %w", hosts, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return []*pem.Block{
		{Type: "CERTIFICATE", Bytes: caDER},
		{Type: "CERTIFICATE", Bytes: der},
		{Type: "PRIVATE KEY", Bytes: keyDER},
	}, nil
}
