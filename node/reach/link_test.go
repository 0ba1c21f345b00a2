package reach

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/seed-67dce94e/holdfast/wire"
)

func numberedPeer(n int) (p wire.PeerID) {
	binary.BigEndian.PutUint32(p[:], uint32(n)+1)
	p[31] = 1
	return p
}

func TestRelayedDatagramsComeByTheLinkToTheirSender(t *testing.T) {
	r := newOnlineRig(t, 2)
	msg := append(wire.AppendRelay(nil, bob), "datagram"...)
	link, datagram, ok := r.c.HandleRelay(r.now, 1, msg)
	if !ok || !bytes.Equal(datagram, []byte("datagram")) {
		t.Fatalf("got %q, %v", datagram, ok)
	}
	if want := r.c.LinkFor(1, bob); link != want || link == 0 {
		t.Errorf("link %d, want %d", link, want)
	}
	if link == r.c.LinkFor(0, bob) || link == r.c.LinkFor(1, carol) {
		t.Error("two pairs of server and peer share a link")
	}
	for name, msg := range map[string][]byte{
		"empty":        nil,
		"header only":  wire.AppendRelay(nil, bob),
		"from oneself": append(wire.AppendRelay(nil, self), 1),
		"not a RELAY":  append([]byte{1}, msg[1:]...),
	} {
		if _, _, ok := r.c.HandleRelay(r.now, 0, msg); ok {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestLinksAreBoundedAndNeverReused(t *testing.T) {
	known := func(p wire.PeerID) bool { return p == bob }
	var links linkTable
	links.init(100)
	kept := links.number(relayPair{0, bob}, known)
	last := kept
	for n := range 10000 {
		link := links.number(relayPair{0, numberedPeer(n)}, known)
		if link <= last {
			t.Fatalf("link %d after %d: a number was used again", link, last)
		}
		last = link
		if len(links.byPair) > 100 || len(links.byLink) != len(links.byPair) || links.used.Len() != len(links.byPair) {
			t.Fatalf("%d pairs, %d numbers, %d in order", len(links.byPair), len(links.byLink), links.used.Len())
		}
	}
	if p, ok := links.target(kept); !ok || p.peer != bob {
		t.Error("strangers put out the link of a peer that we have a session with")
	}
	if _, ok := links.target(last - 100); ok {
		t.Error("the oldest link of a stranger is still there")
	}
}

func TestLinksEndBeforeTheOnesOfTheNode(t *testing.T) {
	var links linkTable
	links.init(3)
	links.last = LinkEnd - 2
	known := func(wire.PeerID) bool { return false }
	if l := links.number(relayPair{0, bob}, known); l != LinkEnd-1 {
		t.Errorf("link %x", l)
	}
	if l := links.number(relayPair{1, bob}, known); l != 0 {
		t.Errorf("link %x, want none: the next one would be a stream", l)
	}
}

func TestLinksOfAForgottenServerLeadNowhere(t *testing.T) {
	var links linkTable
	links.init(10)
	known := func(wire.PeerID) bool { return true }
	a, b := links.number(relayPair{0, bob}, known), links.number(relayPair{1, bob}, known)
	links.forgetServer(0)
	if _, ok := links.target(a); ok {
		t.Error("link of the forgotten server is still there")
	}
	if _, ok := links.target(b); !ok {
		t.Error("link of the other server is gone")
	}
}

func TestRelayingAllocatesNothing(t *testing.T) {
	r := newOnlineRig(t, 1)
	msg := append(wire.AppendRelay(nil, bob), "datagram"...)
	r.c.HandleRelay(r.now, 0, msg)
	if n := testing.AllocsPerRun(100, func() {
		link, _, _ := r.c.HandleRelay(r.now, 0, msg)
		r.c.Target(link)
	}); n != 0 {
		t.Errorf("%v allocations for a relayed datagram", n)
	}
}
