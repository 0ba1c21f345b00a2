package wslink

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

func httpClient(dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}

// serveRaw runs a WebSocket server that does what it wants.
func serveRaw(t *testing.T, do func(*websocket.Conn)) (m *memory, stop func()) {
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols:   []string{Subprotocol},
			OnPingReceived: func(context.Context, []byte) bool { return false },
		})
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		do(ws)
	})
}

func serveHTTP(t *testing.T, handle http.HandlerFunc) (m *memory, stop func()) {
	m = newMemory()
	srv := &http.Server{Handler: handle}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(m)
	}()
	return m, func() {
		srv.Close()
		<-done
	}
}

func TestServerRefusesWhatIsNoLink(t *testing.T) {
	s := NewServer(nil, func(*Conn) { t.Error("accepted") })
	for _, c := range []struct {
		name, path, upgrade, protocol, version string
		status                                 int
	}{
		{"another path", "/", "websocket", Subprotocol, "13", http.StatusNotFound},
		{"a path below", Path + "/x", "websocket", Subprotocol, "13", http.StatusNotFound},
		{"no upgrade", Path, "", "", "13", http.StatusUpgradeRequired},
		{"another upgrade", Path, "h2c", Subprotocol, "13", http.StatusUpgradeRequired},
		{"no subprotocol", Path, "websocket", "", "13", http.StatusUpgradeRequired},
		{"other subprotocols", Path, "websocket", "chat, holdfast.2", "13", http.StatusUpgradeRequired},
		{"an unknown version of WebSocket", Path, "websocket", Subprotocol, "12", http.StatusBadRequest},
	} {
		r := httptest.NewRequest("GET", c.path, nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", c.upgrade)
		r.Header.Set("Sec-WebSocket-Version", c.version)
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		r.Header.Set("Sec-WebSocket-Protocol", c.protocol)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.status || w.Body.Len() > 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("%s: status %d, body %q", c.name, w.Code, w.Body)
		}
	}
	if n := s.Stats().Links; n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

func TestConnectionsAreLimitedPerNetworkAndInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, stop := serve(t, &ServerConfig{MaxConns: 6, MaxConnsPerNetwork: 2}, nil, func(c *Conn) { c.Serve(nil) })
		dial := func(from string) (*Conn, error) {
			return Dial(t.Context(), "ws://rv.example", &DialConfig{Dial: m.dialFrom(netip.MustParseAddrPort(from)), Proxy: noProxy})
		}
		var open []*Conn
		for _, c := range []struct {
			from string
			ok   bool
		}{
			{"198.51.100.1:1", true},
			{"198.51.100.1:2", true},
			{"198.51.100.1:3", false}, // its third
			{"[::ffff:198.51.100.1]:4", false},
			{"198.51.100.2:1", true},
			{"[2001:db8::1]:1", true},
			{"[2001:db8::2:0:0:1]:1", true}, // of the same /64
			{"[2001:db8::3:0:0:1]:1", false},
			{"203.0.113.1:1", true},
			{"203.0.113.2:1", false}, // the seventh in all
		} {
			conn, err := dial(c.from)
			if (err == nil) != c.ok {
				t.Errorf("from %s: %v", c.from, err)
			}
			if err == nil {
				open = append(open, conn)
			}
		}
		for _, c := range open {
			c.Close()
		}
		synctest.Wait()
		again, err := dial("198.51.100.1:5")
		if err != nil {
			t.Fatalf("the places were not given back: %v", err)
		}
		again.Close()
		stop()
	})
}

// Clients in browsers may be served from anywhere.
func TestPageOfAnyOriginMayLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, stop := serve(t, nil, nil, func(c *Conn) { c.Serve(nil) })
		ws, _, err := websocket.Dial(t.Context(), "ws://rv.example"+Path, &websocket.DialOptions{
			HTTPClient:   httpClient(m.dialFrom(clientAddr)),
			HTTPHeader:   http.Header{"Origin": {"https://game.example"}},
			Subprotocols: []string{"chat", Subprotocol},
		})
		if err != nil {
			t.Fatal(err)
		}
		ws.CloseNow()
		stop()
	})
}

// Limits and callers compare addresses, so each has one form.
func TestRemoteAddressHasOneForm(t *testing.T) {
	for s, want := range map[string]string{
		"198.51.100.1:5":          "198.51.100.1:5",
		"[::ffff:198.51.100.1]:5": "198.51.100.1:5",
		"[fe80::1%eth0]:5":        "[fe80::1]:5",
		"pipe":                    "invalid AddrPort",
	} {
		if got := addrPortOf(s).String(); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

// Behind another http.Server the limits hold for links.
func TestHandlerLimitsLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(&ServerConfig{MaxConnsPerNetwork: 1}, func(c *Conn) { c.Serve(nil) })
		m, stop := serveHTTP(t, s.ServeHTTP)
		first := m.dial(t)
		_, err := Dial(t.Context(), "ws://rv.example", &DialConfig{Dial: m.dialFrom(clientAddr), Proxy: noProxy})
		if err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("second link: %v", err)
		}
		if st := s.Stats(); st != (ServerStats{Links: 1, Refused: 1}) {
			t.Errorf("%+v", st)
		}
		first.Close()
		synctest.Wait()
		m.dial(t).Close()
		s.Close()
		stop()
	})
}

func TestLinkEndsWithAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, stop := serve(t, nil, nil, func(c *Conn) { time.Sleep(time.Second) })
		c := m.dial(t)
		began := time.Now()
		if err := c.Serve(nil); err == nil || err == ErrClosed || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		stop()
	})
}

func TestServerCloseEndsLinksAndRefusesNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var boxes [3]mailbox
		next := make(chan *mailbox, len(boxes))
		for i := range boxes {
			next <- &boxes[i]
		}
		m := newMemory()
		s := NewServer(nil, func(c *Conn) { (<-next).serve(c) })
		go s.Serve(m, nil)
		for range boxes {
			m.dial(t)
		}
		synctest.Wait()
		s.Close()
		for i := range boxes {
			if err := boxes[i].ended(); err != ErrClosed {
				t.Errorf("link %d ended: %v", i, err)
			}
		}
		if err := s.Serve(newMemory(), nil); err != ErrClosed {
			t.Errorf("Serve after Close: %v", err)
		}
		time.Sleep(time.Minute) // the clients notice when they ping
	})
}
