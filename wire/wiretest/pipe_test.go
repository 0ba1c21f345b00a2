package wiretest

import (
	"bytes"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// flood sends count datagrams of size bytes, one each interval, over a link and
// returns what arrives.
func flood(l Link, count, size int, interval time.Duration) (n *Net, got []Packet) {
	n = New(7)
	from := n.Host("from", nil, publicAlice)
	n.Host("to", nil, publicBob)
	from.Up.Link = l
	for i := range count {
		data := make([]byte, size)
		data[0], data[1], data[2] = byte(i>>16), byte(i>>8), byte(i)
		from.Send(time.Duration(i)*interval, 1, netip.AddrPortFrom(publicBob, 2), data)
	}
	for at, ok := n.Next(); ok; at, ok = n.Next() {
		got = append(got, n.Deliver(at)...)
	}
	return n, got
}

func number(p Packet) int { return int(p.Data[0])<<16 | int(p.Data[1])<<8 | int(p.Data[2]) }

func TestPerfectLinkDeliversAtOnce(t *testing.T) {
	_, got := flood(Link{}, 10, 100, time.Millisecond)
	for i, p := range got {
		if number(p) != i || p.At != time.Duration(i)*time.Millisecond || len(p.Data) != 100 {
			t.Errorf("datagram %d: number %d at %v", i, number(p), p.At)
		}
	}
	if len(got) != 10 {
		t.Errorf("%d of 10 arrived", len(got))
	}
}

func TestLossHasItsRateAndRunLength(t *testing.T) {
	const count = 40000
	for _, c := range []struct{ loss, burst, wantRun float64 }{
		{0.1, 0, 1 / 0.9}, {0.3, 0, 1 / 0.7}, {0.1, 5, 5}, {0.05, 3, 3},
	} {
		_, got := flood(Link{Loss: c.loss, Burst: c.burst}, count, 3, 0)
		lost, runs, next := 0, 0, 0
		for _, p := range got {
			if gap := number(p) - next; gap > 0 {
				lost += gap
				runs++
			}
			next = number(p) + 1
		}
		rate, run := float64(lost)/count, float64(lost)/float64(runs)
		if rate < c.loss*0.85 || rate > c.loss*1.15 || run < c.wantRun*0.9 || run > c.wantRun*1.1 {
			t.Errorf("loss %v burst %v: rate %.4f, mean run %.2f", c.loss, c.burst, rate, run)
		}
	}
}

func TestJitterKeepsOrderAndReorderDoesNot(t *testing.T) {
	overtaken := func(l Link) (n int) {
		_, got := flood(l, 1000, 3, time.Millisecond)
		newest := -1
		for _, p := range got {
			if number(p) < newest {
				n++
			}
			newest = max(newest, number(p))
		}
		return n
	}
	if n := overtaken(Link{Delay: time.Second, Jitter: 50 * time.Millisecond}); n != 0 {
		t.Errorf("jitter reordered %d", n)
	}
	if n := overtaken(Link{Reorder: 0.25, ReorderBy: 30 * time.Millisecond}); n < 200 || n > 300 {
		t.Errorf("%d of 1000 were overtaken, want about 250", n)
	}
}

func TestDuplicateAndCorrupt(t *testing.T) {
	_, got := flood(Link{Duplicate: 0.5}, 1000, 3, time.Millisecond)
	if len(got) < 1400 || len(got) > 1600 {
		t.Errorf("1000 datagrams with half doubled gave %d", len(got))
	}
	n := New(3)
	from := n.Host("from", nil, publicAlice)
	n.Host("to", nil, publicBob)
	from.Up.Corrupt = 1
	sent := bytes.Repeat([]byte{0xa5}, 50)
	from.Send(0, 1, netip.AddrPortFrom(publicBob, 2), sent)
	p := n.Deliver(0)[0]
	flipped := 0
	for i := range sent {
		flipped += bits.OnesCount8(sent[i] ^ p.Data[i])
	}
	if flipped != 1 {
		t.Errorf("%d bits are flipped, want 1", flipped)
	}
}

func TestRateSpacesDatagramsAndQueueDropsTheTail(t *testing.T) {
	// 972 bytes and 28 of headers at 1 Mbit/s take 8 ms; five fit the queue.
	_, got := flood(Link{Rate: 1e6, Queue: 5000}, 20, 972, 0)
	if len(got) != 5 {
		t.Fatalf("%d datagrams passed a queue for 5", len(got))
	}
	for i, p := range got {
		if want := time.Duration(i+1) * 8 * time.Millisecond; p.At != want {
			t.Errorf("datagram %d arrived at %v, want %v", i, p.At, want)
		}
	}
}

func TestMTUCountsHeaders(t *testing.T) {
	if _, got := flood(Link{MTU: 1228}, 1, 1200, 0); len(got) != 1 {
		t.Error("a datagram that just fits was dropped")
	}
	if _, got := flood(Link{MTU: 1228}, 1, 1201, 0); len(got) != 0 {
		t.Error("a datagram that does not fit passed")
	}
}

func TestBlackholeAndDrop(t *testing.T) {
	if _, got := flood(Link{Blackhole: true}, 5, 3, 0); len(got) != 0 {
		t.Error("a datagram passed a black hole")
	}
	seen := 0
	_, got := flood(Link{Drop: func(time.Duration, []byte) bool { seen++; return seen == 2 }}, 5, 3, 0)
	if len(got) != 4 || number(got[1]) != 2 {
		t.Errorf("a rule to drop the second datagram left %d", len(got))
	}
}

func TestSameSeedSameNetwork(t *testing.T) {
	l := Link{Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.2, Burst: 2, Reorder: 0.1, Duplicate: 0.1, Corrupt: 0.1}
	one, _ := flood(l, 300, 20, time.Millisecond)
	two, _ := flood(l, 300, 20, time.Millisecond)
	if one.Ladder().String() != two.Ladder().String() {
		t.Error("two runs from one seed differ")
	}
}

func TestTapSeesAndInjectSpoofs(t *testing.T) {
	n := New(1)
	n.Host("victim", nil, publicBob)
	var tapped []netip.AddrPort
	n.Tap = func(_ time.Duration, from, _ netip.AddrPort, _ []byte) { tapped = append(tapped, from) }
	spoofed := netip.MustParseAddrPort("192.0.2.9:9")
	n.Inject(0, spoofed, netip.AddrPortFrom(publicBob, 2), []byte("x"))
	got := n.Deliver(0)
	if len(got) != 1 || got[0].From != spoofed || len(tapped) != 1 || tapped[0] != spoofed {
		t.Errorf("injected from %v: arrived %v, tapped %v", spoofed, got, tapped)
	}
}

func TestLadderTellsWhatBecameOfEachDatagram(t *testing.T) {
	n := New(1)
	alice := n.Host("alice", nil, publicAlice)
	bob := n.Host("bob", n.NAT("nat", nil, NATConfig{}, publicBob), private)
	bob.SetLink(Link{Delay: 5 * time.Millisecond})
	toAlice := netip.AddrPortFrom(publicAlice, 1)
	bob.Send(0, 2, toAlice, []byte{0xc1, 1})
	n.Deliver(5 * time.Millisecond)
	alice.Send(6*time.Millisecond, 1, netip.AddrPortFrom(publicBob, 9), []byte{0x41, 2, 3})
	n.Deliver(6 * time.Millisecond)
	n.Ladder().Note(7*time.Millisecond, "alice goes dark")
	alice.Up.Blackhole = true
	alice.Send(8*time.Millisecond, 1, netip.AddrPortFrom(publicBob, 2), nil)
	want := []string{
		"0.000000 |<--------o          bob 10.0.0.2:2 > 203.0.113.1:1 INIT 2: delivered at alice +5ms",
		"0.006000 o--x      |          alice 203.0.113.1:1 > 203.0.113.2:9 DATA 3: no mapping at nat +0s",
		"0.007000 |         |          == alice goes dark",
		"0.008000 o--x      |          alice 203.0.113.1:1 > 203.0.113.2:2 ? 0: blackholed at alice up +0s",
	}
	got := strings.Split(strings.TrimSpace(n.Ladder().String()), "\n")
	for i := range want {
		if i >= len(got) || strings.TrimSpace(got[i]) != want[i] {
			t.Fatalf("line %d of\n%v\nwant\n%s", i, n.Ladder(), strings.Join(want, "\n"))
		}
	}
	flooded, _ := flood(Link{}, LadderSize+3, 3, 0)
	if s := flooded.Ladder().String(); !strings.HasPrefix(s, "(3 earlier datagrams are left out)\n") ||
		strings.Count(s, "\n") != LadderSize+1 {
		t.Error("the ladder is not bounded to its size")
	}
}

// marked sends count datagrams of 1000 bytes at once over a link and returns the
// marks of those that arrive.
func marked(l Link, count int, mark wire.ECN) (got []wire.ECN) {
	n := New(7)
	from := n.Host("from", nil, publicAlice)
	n.Host("to", nil, publicBob)
	from.Up.Link = l
	for range count {
		from.SendECN(0, 1, netip.AddrPortFrom(publicBob, 2), mark, make([]byte, 1000-headers4))
	}
	for at, ok := n.Next(); ok; at, ok = n.Next() {
		for _, p := range n.Deliver(at) {
			got = append(got, p.ECN)
		}
	}
	return got
}

func TestFullQueueMarksWhatIsCapable(t *testing.T) {
	l := Link{Rate: 8e6, Queue: 8000, Mark: 5000}
	for mark, late := range map[wire.ECN]wire.ECN{wire.NotECT: wire.NotECT, wire.ECT0: wire.CE, wire.ECT1: wire.CE, wire.CE: wire.CE} {
		want := []wire.ECN{mark, mark, mark, mark, mark, late, late, late}
		if got := marked(l, 10, mark); !slices.Equal(got, want) {
			t.Errorf("%d: %v, want %v", mark, got, want)
		}
	}
}

func TestLinkChangesMarks(t *testing.T) {
	l := Link{Duplicate: 1, Remark: func(e wire.ECN) wire.ECN { return e ^ 1 }}
	if got := marked(l, 2, wire.ECT0); !slices.Equal(got, []wire.ECN{wire.CE, wire.CE, wire.CE, wire.CE}) {
		t.Errorf("%v", got)
	}
}
