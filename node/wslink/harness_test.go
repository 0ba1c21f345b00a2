package wslink

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A memory is a network of pipes to one listener. A pipe holds nothing: who
// writes waits for who reads, as on a TCP connection with full buffers.
type memory struct {
	arrived chan net.Conn
	closed  chan struct{}
	close   sync.Once
}

func newMemory() *memory {
	return &memory{arrived: make(chan net.Conn), closed: make(chan struct{})}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.arrived:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.close.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return net.TCPAddrFromAddrPort(serverAddr) }

var (
	serverAddr = netip.MustParseAddrPort("192.0.2.1:443")
	clientAddr = netip.MustParseAddrPort("198.51.100.7:50000")
)

// dialFrom returns a dialer whose connections come from an address.
func (m *memory) dialFrom(from netip.AddrPort) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case m.arrived <- pipeEnd{theirs, from}:
			return pipeEnd{ours, serverAddr}, nil
		case <-m.closed:
			return nil, net.ErrClosed
		}
	}
}

type pipeEnd struct {
	net.Conn
	remote netip.AddrPort
}

func (c pipeEnd) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// serve runs a server on a network of its own. The test calls stop at its end.
func serve(t *testing.T, cfg *ServerConfig, tlsConfig *tls.Config, accept func(*Conn)) (m *memory, stop func()) {
	t.Helper()
	m = newMemory()
	s := NewServer(cfg, accept)
	served := make(chan error, 1)
	go func() { served <- s.Serve(m, tlsConfig) }()
	return m, func() {
		s.Close()
		if err := <-served; err != ErrClosed {
			t.Errorf("Serve: %v, want ErrClosed", err)
		}
	}
}

func (m *memory) dial(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), "ws://rv.example", &DialConfig{Dial: m.dialFrom(clientAddr), Proxy: noProxy})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dialRaw returns a WebSocket to the server that can be used against the rules.
func (m *memory) dialRaw(t *testing.T) *websocket.Conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://rv.example"+Path, &websocket.DialOptions{
		HTTPClient:   httpClient(m.dialFrom(clientAddr)),
		Subprotocols: []string{Subprotocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

// A mailbox keeps what Serve hands over.
type mailbox struct {
	mu  sync.Mutex
	got []string
	err error
}

func (b *mailbox) serve(c *Conn) {
	err := c.Serve(func(d []byte) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.got = append(b.got, string(d))
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *mailbox) take() (got []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	got, b.got = b.got, nil
	return got
}

// ended returns why Serve did, or nil.
func (b *mailbox) ended() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// selfSigned returns the TLS configurations of a server named rv.example and of
// its clients. They are valid in the time of synctest too.
func selfSigned(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"rv.example"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots}
}
