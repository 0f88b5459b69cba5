// Crowd is the document's memory account: TLS connections with 16 KB of buffer each, which
// echo what they are sent.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/halfopen/halfopen/scenarios/claims/pool"
)

// bufferSize is the document's.
const bufferSize = 16 << 10

func main() {
	cert, err := certificate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	http.HandleFunc("POST /debug/free", free)
	var server pool.Server
	server.Main(func(conn net.Conn) { serve(tls.Server(conn, config)) }, nil)
}

// serve echoes until the peer ends.
func serve(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, bufferSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

// certificate is a self-signed one, of an ECDSA key as most servers have now.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// free collects, gives free memory back to the kernel, and tells the heap that is left.
func free(w http.ResponseWriter, _ *http.Request) {
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(w, `{"heap_alloc": %d, "heap_objects": %d}`, m.HeapAlloc, m.HeapObjects)
}
