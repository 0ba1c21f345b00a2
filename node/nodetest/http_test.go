package nodetest_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// client returns an HTTP client on a host.
func client(s *nodetest.Stack) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(addr)
			if err != nil {
				return nil, err
			}
			return s.DialTCP(ctx, to)
		},
	}}
}

// serve runs an HTTP server on the server.
func (l *lab) serve(h http.Handler) {
	ln, err := l.s.ListenTCP(port)
	if err != nil {
		l.t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(ln) }()
	l.t.Cleanup(func() { srv.Close(); <-done })
}

// dialWebSocket opens a WebSocket from alice to the server. It is closed with the test.
func (l *lab) dialWebSocket() *websocket.Conn {
	l.t.Helper()
	h := client(l.a)
	c, _, err := websocket.Dial(l.t.Context(), "ws://198.51.100.1:443/", &websocket.DialOptions{HTTPClient: h})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		c.CloseNow()
		h.CloseIdleConnections()
	})
	return c
}

func TestHTTPOverAStream(t *testing.T) {
	bubble(t, wiretest.NATConfig{BlockUDP: true}, func(t *testing.T, l *lab) {
		l.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			data, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			w.Write(data)
		}))
		c := client(l.a)
		defer c.CloseIdleConnections()
		for _, took := range []time.Duration{40 * time.Millisecond, 20 * time.Millisecond} { // the second on the same stream
			start, sent := time.Now(), bytes.Repeat([]byte("x"), 100_000)
			resp, err := c.Post("http://198.51.100.1:443/", "", bytes.NewReader(sent))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, sent) || time.Since(start) != took {
				t.Errorf("%d bytes came back after %v, %v, want %v", len(got), time.Since(start), err, took)
			}
		}
	})
}

// A WebSocket from behind a box that blocks UDP, for an hour with pings.
func TestWebSocketOverAStream(t *testing.T) {
	bubble(t, wiretest.NATConfig{BlockUDP: true}, func(t *testing.T, l *lab) {
		l.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			for {
				kind, data, err := c.Read(r.Context())
				if err != nil || c.Write(r.Context(), kind, data) != nil {
					return
				}
			}
		}))
		c := l.dialWebSocket()
		for range 60 {
			time.Sleep(time.Minute)
			start := time.Now()
			if err := c.Write(t.Context(), websocket.MessageBinary, []byte("datagram")); err != nil {
				t.Fatal(err)
			}
			_, data, err := c.Read(t.Context())
			if err != nil || string(data) != "datagram" || time.Since(start) != 20*time.Millisecond {
				t.Fatalf("%q came back after %v, %v", data, time.Since(start), err)
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Error(err)
		}
	})
}

func TestWebSocketDiesWithItsStream(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		gone := make(chan error, 1)
		l.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			_, _, err = c.Read(context.Background())
			gone <- err
		}))
		c := l.dialWebSocket()
		l.do(func() { l.alice.Move(nil, publicBob) })
		if _, _, err := c.Read(t.Context()); err == nil {
			t.Error("read from a stream that has died")
		}
		if err := <-gone; err == nil {
			t.Error("the server did not notice")
		}
	})
}
