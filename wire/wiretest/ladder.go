package wiretest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A Fate is what became of a datagram.
type Fate uint8

// Fates.
const (
	Flying     Fate = iota
	Delivered       // to a host
	Lost            // by chance
	Blackholed      // on a dead link
	TooBig          // for the MTU
	QueueFull       // tail drop
	NoRoute         // nobody has the address
	NoMapping       // the NAT knows no such external port
	Filtered        // by the NAT
	NoHairpin       // by the NAT
	NoPort          // the NAT has none left
	TableFull       // the NAT has as many mappings as it may
	Expired         // no hop of its TTL was left
	Blocked         // by a NAT that blocks UDP, or by Net.Block
	LinkDown        // of the host
	Rebooting       // the NAT
)

func (f Fate) String() string {
	return [...]string{"flying", "delivered", "lost", "blackholed", "too big", "queue full", "no route",
		"no mapping", "filtered", "no hairpin", "no port", "table full", "expired", "blocked", "link down", "rebooting"}[f]
}

// LadderSize is how many datagrams a Ladder remembers.
const LadderSize = 400

// A Ladder remembers the last datagrams of a Net and what became of each, and
// prints them as a sequence diagram: what to look at when a test has failed.
type Ladder struct {
	records [LadderSize]record
	next    uint64 // serial number of the next datagram
}

type record struct {
	by       string // host that sent it
	from, to netip.AddrPort
	at       time.Duration
	size     int
	kind     wire.Kind
	fate     Fate // of the copy that got farthest
	ended    time.Duration
	where    string
	notes    []string
}

func (l *Ladder) sent(now time.Duration, by string, f *flight) (serial uint64) {
	serial = l.next
	l.next++
	l.records[serial%LadderSize] = record{
		by: by, from: f.from, to: f.to, at: now, size: len(f.data), kind: wire.Classify(f.data),
	}
	return serial
}

// record returns the record of a datagram, or nil if it has been overwritten.
func (l *Ladder) record(serial uint64) *record {
	if l.next-serial > LadderSize {
		return nil
	}
	return &l.records[serial%LadderSize]
}

func (l *Ladder) note(serial uint64, what string) {
	if r := l.record(serial); r != nil {
		r.notes = append(r.notes, what)
	}
}

func (l *Ladder) ended(now time.Duration, serial uint64, fate Fate, where string) {
	r := l.record(serial)
	if r == nil {
		return
	}
	if r.fate == Flying {
		r.fate, r.ended, r.where = fate, now, where
		return
	}
	if r.fate != Delivered && fate == Delivered {
		r.fate, r.ended, r.where = fate, now, where
	}
	r.notes = append(r.notes, "copy "+fate.String())
}

// Note puts a remark of the test between the datagrams: a NAT was rebound, a
// peer restarted.
func (l *Ladder) Note(now time.Duration, what string) {
	l.records[l.next%LadderSize] = record{at: now, notes: []string{what}}
	l.next++
}

// String prints a line for each datagram that is remembered, in the order of
// sending: when it was sent and by whom, from where to where, kind and size,
// and what became of it.
func (l *Ladder) String() string {
	lanes := l.lanes()
	var b strings.Builder
	if l.next > LadderSize {
		fmt.Fprintf(&b, "(%d earlier datagrams are left out)\n", l.next-LadderSize)
	}
	for serial := l.next - min(l.next, LadderSize); serial < l.next; serial++ {
		r := &l.records[serial%LadderSize]
		fmt.Fprintf(&b, "%12.6f %s %s\n", r.at.Seconds(), r.arrow(lanes), r.text())
	}
	return b.String()
}

// lanes returns the hosts that appear, in the order of their names: each is a
// column of the diagram.
func (l *Ladder) lanes() []string {
	var names []string
	add := func(name string) {
		if at, found := slices.BinarySearch(names, name); !found && name != "" {
			names = slices.Insert(names, at, name)
		}
	}
	for i := range l.records[:min(l.next, LadderSize)] {
		r := &l.records[i]
		add(r.by)
		if r.fate == Delivered {
			add(r.where)
		}
	}
	return names
}

const laneWidth = 10

// arrow draws the datagram from the lane of its sender to that of its receiver;
// one that did not arrive ends in an x.
func (r *record) arrow(lanes []string) string {
	line := []byte(strings.Repeat("|"+strings.Repeat(" ", laneWidth-1), len(lanes)))
	at, isSent := slices.BinarySearch(lanes, r.by)
	if !isSent {
		return string(line)
	}
	to, arrived := slices.BinarySearch(lanes, r.where)
	if r.fate != Delivered || !arrived || to == at {
		line[at*laneWidth] = 'o'
		copy(line[at*laneWidth+1:], "--x")
		return string(line)
	}
	lo, hi := min(at, to)*laneWidth, max(at, to)*laneWidth
	for i := lo + 1; i < hi; i++ {
		line[i] = '-'
	}
	line[at*laneWidth] = 'o'
	if to > at {
		line[hi-1] = '>'
	} else {
		line[lo+1] = '<'
	}
	return string(line)
}

func (r *record) text() string {
	notes := strings.Join(r.notes, ", ")
	if r.by == "" {
		return "== " + notes
	}
	s := fmt.Sprintf("%s %v > %v %s %d: %v", r.by, r.from, r.to, kindNames[r.kind], r.size, r.fate)
	if r.where != "" {
		s += " at " + r.where
	}
	if r.fate != Flying {
		s += fmt.Sprintf(" +%v", r.ended-r.at)
	}
	if notes != "" {
		s += " (" + notes + ")"
	}
	return s
}

var kindNames = map[wire.Kind]string{
	wire.KindUnknown: "?", wire.KindSTUN: "STUN", wire.KindData: "DATA", wire.KindInit: "INIT",
	wire.KindResp: "RESP", wire.KindCookie: "COOKIE", wire.KindReset: "RESET",
}
