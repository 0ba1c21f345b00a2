package wslink

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"time"

	"github.com/coder/websocket"
)

const (
	stepTimeout       = 10 * time.Second // of each step of a dial: TCP, TLS, HTTP
	responseHeaderMax = 8 << 10
)

// A DialConfig says how to reach a server. Nil and the zero value both work.
type DialConfig struct {
	// Dial opens the TCP connection, to the server or to the proxy. If nil, that
	// of a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is the configuration for wss URLs. If nil, the default. Sessions do not
	// rely on it: they prove the server's key by themselves.
	TLS *tls.Config
	// Proxy returns the proxy to use for a request, if any. If nil,
	// http.ProxyFromEnvironment, which reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
	// Through a proxy wss is the better choice: it is tunnelled by CONNECT, while
	// ws asks the proxy to understand WebSockets.
	Proxy func(*http.Request) (*url.URL, error)
}

// Dial connects to a server by its ws or wss URL, of which the path may be left
// out. The context is for the dial alone.
func Dial(ctx context.Context, rawURL string, cfg *DialConfig) (*Conn, error) {
	u, err := serverURL(rawURL)
	if err != nil {
		return nil, err
	}
	if cfg == nil {
		cfg = new(DialConfig)
	}
	tr := transport(cfg)
	defer tr.CloseIdleConnections()

	var over net.Conn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { over = info.Conn },
	})
	c := newConn()
	ws, _, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		HTTPClient:     &http.Client{Transport: tr, CheckRedirect: stay},
		Subprotocols:   []string{Subprotocol},
		OnPingReceived: c.heardPing,
		OnPongReceived: c.heardPong,
	})
	if err != nil {
		return nil, fmt.Errorf("wslink: %w", err)
	}
	if ws.Subprotocol() != Subprotocol {
		ws.CloseNow()
		return nil, errors.New("wslink: the server does not speak " + Subprotocol)
	}
	c.start(ws, over, addrPortOf(over.RemoteAddr().String()))
	c.running.Go(c.ping)
	return c, nil
}

func serverURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("wslink: %w", err)
	}
	if u.Scheme != "ws" && u.Scheme != "wss" {
		return nil, fmt.Errorf("wslink: scheme of the URL is %q, want ws or wss", u.Scheme)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = Path
	}
	return u, nil
}

// transport returns one for a single connection.
func transport(cfg *DialConfig) *http.Transport {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: stepTimeout}).DialContext
	}
	proxy := cfg.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	tlsConfig := cmp.Or(cfg.TLS, new(tls.Config)).Clone()
	tlsConfig.NextProtos = []string{"http/1.1"} // HTTP/2 has no Upgrade
	return &http.Transport{
		DialContext:            dial,
		Proxy:                  proxy,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    stepTimeout,
		ResponseHeaderTimeout:  stepTimeout,
		MaxResponseHeaderBytes: responseHeaderMax,
		DisableKeepAlives:      true,
		DisableCompression:     true,
	}
}

// stay refuses redirects: a server is where it was said to be.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
