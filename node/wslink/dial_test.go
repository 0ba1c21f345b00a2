package wslink

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func TestDialRefusesOtherServers(t *testing.T) {
	for _, c := range []struct {
		name, want string
		handle     http.HandlerFunc
	}{
		{"a web page", "200", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }},
		{"a redirect", "302", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "ws://elsewhere.example/holdfast", http.StatusFound)
		}},
		{"another subprotocol", "does not speak", func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, nil)
			if err == nil {
				ws.CloseNow()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, stop := serveHTTP(t, c.handle)
				_, err := Dial(t.Context(), "ws://rv.example", &DialConfig{Dial: m.dialFrom(clientAddr), Proxy: noProxy})
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want one with %q", err, c.want)
				}
				stop()
			})
		})
	}
}

func TestDialRefusesOtherURLs(t *testing.T) {
	for _, u := range []string{"", "rv.example", "http://rv.example", "wss:", "wss://", "ws://%"} {
		if c, err := Dial(t.Context(), u, &DialConfig{Proxy: noProxy}); err == nil {
			c.Close()
			t.Errorf("%q was dialled", u)
		}
	}
}

func TestDialGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		go func() { // a server that never answers
			conn, _ := m.Accept()
			io.Copy(io.Discard, conn)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := Dial(ctx, "ws://rv.example", &DialConfig{Dial: m.dialFrom(clientAddr), Proxy: noProxy})
		if err == nil || time.Since(began) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestLinkOutlivesTheContextOfItsDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var box mailbox
		m, stop := serve(t, nil, nil, box.serve)
		ctx, cancel := context.WithCancel(t.Context())
		c, err := Dial(ctx, "ws://rv.example", &DialConfig{Dial: m.dialFrom(clientAddr), Proxy: noProxy})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		c.Send([]byte("x"))
		synctest.Wait()
		if got := box.take(); len(got) != 1 {
			t.Errorf("arrived: %q", got)
		}
		c.Close()
		stop()
	})
}

// A network that lets nothing out but through its proxy.
func TestDialThroughProxy(t *testing.T) {
	serverTLS, clientTLS := selfSigned(t)
	synctest.Test(t, func(t *testing.T) {
		var box mailbox
		m, stop := serve(t, nil, serverTLS, box.serve)
		proxy := &proxy{to: m}
		c, err := Dial(t.Context(), "wss://rv.example", &DialConfig{
			Dial:  proxy.dial,
			TLS:   clientTLS,
			Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example:3128"}),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Send([]byte("x"))
		synctest.Wait()
		if got := box.take(); len(got) != 1 || proxy.asked != "CONNECT rv.example:443" {
			t.Errorf("arrived: %q; the proxy was asked to %s", got, proxy.asked)
		}
		c.Close()
		stop()
	})
}

type proxy struct {
	to    *memory
	asked string
}

func (p *proxy) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if addr != "proxy.example:3128" {
		return nil, fmt.Errorf("no route to %s", addr)
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		r, err := http.ReadRequest(bufio.NewReader(theirs))
		if err != nil {
			return
		}
		p.asked = r.Method + " " + r.Host
		server, err := p.to.dialFrom(clientAddr)(ctx, "", "")
		if err != nil {
			return
		}
		defer server.Close()
		io.WriteString(theirs, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(theirs, server)
			theirs.Close()
		}()
		io.Copy(server, theirs)
	}()
	return ours, nil
}
