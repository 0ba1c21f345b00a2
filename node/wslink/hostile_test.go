package wslink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// attack runs a test with a WebSocket to a server that puts what it receives in
// a mailbox.
func attack(t *testing.T, test func(t *testing.T, ws *websocket.Conn, box *mailbox)) {
	synctest.Test(t, func(t *testing.T) {
		var box mailbox
		m, stop := serve(t, nil, nil, box.serve)
		ws := m.dialRaw(t)
		test(t, ws, &box)
		ws.CloseNow()
		stop()
	})
}

// wire/SPEC.md [W43]: what breaks the rules ends the connection, and nothing of the
// message is used.
func TestMessageAgainstTheRulesEndsTheLink(t *testing.T) {
	good := "\x00\x04good"
	for _, c := range []struct {
		name    string
		kind    websocket.MessageType
		message string
	}{
		{"text", websocket.MessageText, good},
		{"empty", websocket.MessageBinary, ""},
		{"trailing byte", websocket.MessageBinary, good + "x"},
		{"length of zero", websocket.MessageBinary, good + "\x00\x00"},
		{"length beyond the end", websocket.MessageBinary, good + "\x00\x05bad!"},
		{"length beyond the longest", websocket.MessageBinary, good + "\x08\x01" + strings.Repeat("x", DatagramMax+1)},
		{"longer than the longest", websocket.MessageBinary, strings.Repeat(good, 63) + strings.Repeat("x", 1<<20)},
		{"too many datagrams", websocket.MessageBinary, strings.Repeat(good, datagramsMax+1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			attack(t, func(t *testing.T, ws *websocket.Conn, box *mailbox) {
				began := time.Now()
				ws.Write(t.Context(), c.kind, []byte(c.message))
				synctest.Wait()
				if got, err := box.take(), box.ended(); len(got) > 0 || err == nil {
					t.Errorf("%d datagrams were taken; ended: %v", len(got), err)
				}
				if d := time.Since(began); d != 0 {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

func TestSilentPeerIsLetGo(t *testing.T) {
	attack(t, func(t *testing.T, ws *websocket.Conn, box *mailbox) {
		time.Sleep(silenceTimeout / 2)
		ws.Write(t.Context(), websocket.MessageBinary, []byte("\x00\x01x")) // time begins anew
		synctest.Wait()
		time.Sleep(silenceTimeout - time.Nanosecond)
		synctest.Wait()
		if err := box.ended(); err != nil {
			t.Errorf("ended early: %v", err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if err := box.ended(); err != errSilent {
			t.Errorf("ended: %v", err)
		}
	})
}

// Neither fragments nor pings between them give a message more time.
func TestMessageThatNeverEndsEndsTheLink(t *testing.T) {
	attack(t, func(t *testing.T, ws *websocket.Conn, box *mailbox) {
		go ws.Read(context.Background()) // takes the pongs
		w, err := ws.Writer(t.Context(), websocket.MessageBinary)
		if err != nil {
			t.Fatal(err)
		}
		for d := time.Duration(0); d < messageTimeout; d += 2 * time.Second {
			if err := box.ended(); err != nil {
				t.Errorf("ended after %v: %v", d, err)
			}
			w.Write([]byte("\x00\x01x"))
			ws.Ping(t.Context())
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		if err := box.ended(); err != errSilent || len(box.take()) > 0 {
			t.Errorf("ended: %v", err)
		}
	})
}

func TestFloodOfPingsEndsTheLink(t *testing.T) {
	attack(t, func(t *testing.T, ws *websocket.Conn, box *mailbox) {
		go func() {
			ws.Read(context.Background()) // takes the pongs
			ws.CloseNow()
		}()
		answered := 0
		for answered < 100 && ws.Ping(t.Context()) == nil {
			answered++
		}
		synctest.Wait()
		if err := box.ended(); err != errControls || answered != int(controlRate.Burst) {
			t.Errorf("%d pings were answered; ended: %v", answered, err)
		}
	})
}

// A flood goes no faster than it is handled: the rest stands in TCP.
func TestFloodWaitsForTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handled atomic.Int64
		m, stop := serve(t, nil, nil, func(c *Conn) {
			c.Serve(func([]byte) {
				handled.Add(1)
				time.Sleep(time.Second)
			})
		})
		ws := m.dialRaw(t)
		written := 0
		full := bytes.Repeat([]byte("\x00\x01x"), datagramsMax)
		for began := time.Now(); time.Since(began) < 10*time.Minute; written++ {
			if err := ws.Write(t.Context(), websocket.MessageBinary, full); err != nil {
				t.Fatal(err)
			}
		}
		done := int(handled.Load())
		if ahead := written*datagramsMax - done; done < 500 || ahead > 100*datagramsMax {
			t.Errorf("%d datagrams handled, %d more accepted", done, ahead)
		}
		ws.CloseNow()
		stop()
	})
}

// Whoever connects and does not ask soon is cut off, before and after TLS.
func TestSlowRequestIsCutOff(t *testing.T) {
	serverTLS, _ := selfSigned(t)
	for name, secure := range map[string]bool{"ws": false, "wss": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := serverTLS
				if !secure {
					cfg = nil
				}
				m, stop := serve(t, nil, cfg, func(*Conn) { t.Error("accepted") })
				began := time.Now()
				conn, err := m.dialFrom(clientAddr)(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				go func() { // a byte a second, for as long as there is somebody to take it
					for _, b := range []byte("GET " + Path + " HTTP/1.1\r\nX-Slow: " + strings.Repeat("x", 1000)) {
						if _, err := conn.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				io.Copy(io.Discard, conn)
				if d := time.Since(began); d > 2*requestTimeout {
					t.Errorf("cut off after %v", d)
				}
				conn.Close()
				time.Sleep(time.Second)
				stop()
			})
		})
	}
}

func TestLongHeaderIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, stop := serve(t, nil, nil, func(*Conn) { t.Error("accepted") })
		conn, err := m.dialFrom(clientAddr)(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, conn)
		n, err := io.WriteString(conn, "GET / HTTP/1.1\r\nX-Long: "+strings.Repeat("x", 1<<20))
		if err == nil || n > 64<<10 {
			t.Errorf("the server read %d bytes of a header: %v", n, err)
		}
		conn.Close()
		if errors.Is(err, net.ErrClosed) {
			t.Error("this side closed")
		}
		stop()
	})
}
