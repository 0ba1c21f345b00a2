package wslink

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	requestTimeout   = 5 * time.Second // for TLS and the header; a client that dawdles is cut off
	requestHeaderMax = 4 << 10         // net/http adds 4 KiB
)

// A ServerConfig sets up a server. Nil and the zero value both work.
type ServerConfig struct {
	// MaxConns bounds the connections at one time. If zero, 16384.
	MaxConns int
	// MaxConnsPerNetwork bounds those from one IPv4 address or IPv6 /64. If zero,
	// 64. If negative, off, for servers behind a proxy whose address all have.
	MaxConnsPerNetwork int
}

// A Server takes WebSocket connections.
type Server struct {
	accept  func(*Conn)
	places  *places // of links
	sockets *places // of TCP connections to Serve, on which a link may never come to be

	mu      sync.Mutex
	conns   map[*Conn]struct{}
	servers map[*http.Server]struct{}
	closed  bool
	running sync.WaitGroup // accept
}

// ServerStats counts what a server has to do with.
type ServerStats struct {
	Links   int    `json:"links"`   // at present
	Refused uint64 `json:"refused"` // connections for which there was no place
}

// NewServer returns a server that calls accept for each link, in a goroutine of
// its own. A link ends when accept returns, which will usually call Conn.Serve.
// The peer of a link is anybody, until a session on it has authenticated: accept
// should end a link on which nothing valid comes.
func NewServer(cfg *ServerConfig, accept func(*Conn)) *Server {
	var c ServerConfig
	if cfg != nil {
		c = *cfg
	}
	setDefault(&c.MaxConns, 16384)
	setDefault(&c.MaxConnsPerNetwork, 64)
	return &Server{
		accept:  accept,
		places:  newPlaces(c.MaxConns, c.MaxConnsPerNetwork),
		sockets: newPlaces(c.MaxConns, c.MaxConnsPerNetwork),
		conns:   map[*Conn]struct{}{},
		servers: map[*http.Server]struct{}{},
	}
}

func setDefault(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

// ServeHTTP makes a link of a request for one, and refuses any other. The
// http.Server that calls it should limit the time and size of requests as that
// of Serve does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != Path {
		refuse(w, http.StatusNotFound)
		return
	}
	if !wantsLink(r.Header) {
		w.Header().Set("Upgrade", "websocket")
		refuse(w, http.StatusUpgradeRequired)
		return
	}
	remote := addrPortOf(r.RemoteAddr)
	if !s.places.take(remote.Addr()) {
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	defer s.places.leave(remote.Addr())

	c := newConn()
	h := &hijacker{ResponseWriter: w}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols: []string{Subprotocol},
		// The check of the origin protects what a browser would be let do by its
		// cookies. Here nothing is: a session proves its key, whatever page it is
		// of, and clients in browsers may be served from anywhere.
		InsecureSkipVerify: true,
		OnPingReceived:     c.heardPing,
		OnPongReceived:     c.heardPong,
	})
	if err != nil {
		return // the library has answered
	}
	c.start(ws, h.conn, remote)
	if !s.enter(c) {
		c.Close()
		return
	}
	defer s.exit(c)
	defer c.Close()
	s.accept(c)
}

func wantsLink(h http.Header) bool {
	return strings.EqualFold(h.Get("Upgrade"), "websocket") &&
		slices.ContainsFunc(h.Values("Sec-WebSocket-Protocol"), func(list string) bool {
			return slices.ContainsFunc(strings.Split(list, ","), func(name string) bool {
				return strings.TrimSpace(name) == Subprotocol
			})
		})
}

func refuse(w http.ResponseWriter, status int) {
	// Connections are few. Who was wrong once has no use for this one.
	w.Header().Set("Connection", "close")
	http.Error(w, http.StatusText(status), status)
}

// A hijacker keeps the connection that the library takes over.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return conn, rw, err
}

func (s *Server) enter(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) exit(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.running.Done()
}

// Serve takes connections from l until Close, over TLS if a configuration for it
// is given. Connections for which there is no place are closed before TLS.
func (s *Server) Serve(l net.Listener, tlsConfig *tls.Config) error {
	l = &placedListener{Listener: l, places: s.sockets}
	if tlsConfig != nil {
		tlsConfig = tlsConfig.Clone()
		tlsConfig.NextProtos = []string{"http/1.1"} // HTTP/2 has no Upgrade
		l = tls.NewListener(l, tlsConfig)
	}
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout, // of a body, which nobody should send; links have none
		WriteTimeout:      requestTimeout,
		IdleTimeout:       requestTimeout,
		MaxHeaderBytes:    requestHeaderMax,
		ErrorLog:          log.New(io.Discard, "", 0), // strangers would fill it
	}
	if !s.begin(srv) {
		l.Close()
		return ErrClosed
	}
	defer s.forget(srv)
	err := srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return ErrClosed
	}
	return err
}

func (s *Server) begin(srv *http.Server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.servers[srv] = struct{}{}
	return true
}

func (s *Server) forget(srv *http.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.servers, srv)
}

// Stats returns what the server has to do with at present.
func (s *Server) Stats() ServerStats {
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	return ServerStats{Links: s.places.taken, Refused: s.places.refused + s.sockets.refused}
}

// Close ends all links and listeners, and waits for accept to return from each.
// It must not be called by accept. It always returns nil.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for srv := range s.servers {
		srv.Close()
	}
	for c := range s.conns {
		c.fail(ErrClosed)
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}
