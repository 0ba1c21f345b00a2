package node_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

func TestNetConnBehavesAsNetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		alice, bob := listenUDP(t, node.Config{}), listenUDP(t, node.Config{})
		ab, ba := connectUDP(t, alice, bob, bob.LocalAddr())
		stop = func() {
			ab.CloseWith(0, "") // do not wait for what is left unread on purpose
			alice.Close()
			bob.Close()
		}
		return ab.NetConn(1), ba.NetConn(1), stop, nil
	})
}

func TestNetListenerServesStreams(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		server, client := listen(t, net, "server", node.Config{}), listen(t, net, "client", node.Config{})
		l := server.NetListener(5)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}()
		net.Do(func(*wiretest.Net) { client.host.SetLink(lossy) })
		c := dial(t, client, server).NetConn(5)
		if c.RemoteAddr().String() != server.ID().String() || l.Addr().String() != server.ID().String() {
			t.Errorf("addresses: %v, %v", c.RemoteAddr(), l.Addr())
		}
		sent := make([]byte, 300_000)
		for i := range sent {
			sent[i] = byte(i * i >> 3)
		}
		go c.Write(sent)
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != string(sent) {
			t.Errorf("the echo differs: %v", err)
		}
		c.Close()
		l.Close()
		if _, err := l.Accept(); !errors.Is(err, node.ErrClosed) {
			t.Errorf("Accept on a closed listener: %v", err)
		}
	})
}

func TestStreamOfAPeerThatClosedReadsAsEOF(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		a, b := p.ab.NetConn(0), p.ba.NetConn(0)
		io.WriteString(a, "the end")
		a.Close()
		if got, err := io.ReadAll(b); err != nil || string(got) != "the end" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

func TestStreamDeadlineMayMoveWhileACallWaits(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		c := p.ab.NetConn(0)
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Hour))
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(start.Add(2 * time.Second)) })
		_, err := c.Read(make([]byte, 1))
		var timeout netError
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("Read: %v", err)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("Read returned after %v, want 2 s", took)
		}
	})
}

type netError = net.Error // where a parameter hides package net
