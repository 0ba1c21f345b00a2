package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

func TestLinksOfAPath(t *testing.T) {
	at := udp(1, 7).Remote
	for _, c := range []struct {
		path  Path
		relay bool
		name  string
	}{
		{Path{Remote: at}, false, "198.51.100.1:7"},
		{Path{Link: LinkSocket | 5, Remote: at}, false, "socket5/198.51.100.1:7"},
		{Path{Link: 5}, true, "relay5"},
	} {
		if c.path.IsRelay() != c.relay || c.path.String() != c.name {
			t.Errorf("%v: relay %v", c.path, c.path.IsRelay())
		}
	}
	s := acceptedScript(t, Config{}).s
	if got, want := s.newPath(Path{Link: LinkSocket | 5, Remote: at}).mtu.Current(), s.newPath(Path{Remote: at}).mtu.Current(); got != want {
		t.Errorf("datagrams of %d bytes from another socket, %d from the main one", got, want)
	}
	if sourceOf(Path{Link: LinkSocket | 5, Remote: at}) != sourceOf(Path{Remote: at}) {
		t.Error("another socket of ours gives a stranger another share")
	}
	if !sameHost(Path{Link: LinkSocket | 5, Remote: at}, Path{Remote: at}) {
		t.Error("another socket is another network")
	}
}

// [S34] A closed link is left for a validated path before a relay, and what flew
// there is sent again at once.
func TestDroppedLinkLeavesForTheBestOther(t *testing.T) {
	sc := acceptedScript(t, Config{})
	socket := Path{Link: LinkSocket | 1, Remote: udp(1, 1).Remote}
	sc.here = socket
	sc.write(ping)
	sc.quieten()
	sc.change(func(now Time) { sc.s.AddPath(now, Path{Link: 1}); sc.s.AddPath(now, udp(2, 2)) })
	sc.prove(udp(2, 2))
	sc.here = socket
	sc.ackAll()
	sc.wantPath("which works", socket)
	sc.send(100)
	sc.take()
	sc.change(func(now Time) { sc.s.DropLink(now, socket.Link) })
	sc.advance(time.Millisecond)
	sc.wantNoEvent("there is another path", Stranded)
	if p := sc.s.Path(); p.Link == socket.Link || p.IsRelay() {
		t.Errorf("data goes to %v", p)
	}
	if f := sc.wantChunk("the message again", wire.TypeMessage); f.to != sc.s.Path() {
		t.Error(f)
	}
	for _, x := range sc.s.paths {
		if x.Link == socket.Link {
			t.Errorf("%v is still there", x.Path)
		}
	}
	sc.change(func(now Time) { sc.s.DropLink(now, 0) })
	sc.wantPath("the last way", Path{Link: 1})
}

func TestDroppedLinkStrands(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.send(100)
	sc.take()
	sc.change(func(now Time) { sc.s.DropLink(now, 0) })
	sc.wantEvent("no way is left", Stranded)
	sc.change(func(now Time) { sc.s.AddPath(now, udp(3, 3)) })
	sc.advance(20 * time.Millisecond)
	sc.prove(udp(3, 3))
	sc.advance(scriptRTT)
	sc.wantPath("the one that answers", udp(3, 3))
	sc.wantChunk("the message", wire.TypeMessage)
}
