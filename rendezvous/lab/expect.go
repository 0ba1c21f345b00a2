package lab

import (
	"fmt"
	"strings"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
)

// An Outcome is what a pair comes to: a direct path, or the relay for a reason.
type Outcome struct {
	Direct bool
	Cause  node.Cause // CauseNone if direct
}

// String returns "direct", or the cause.
func (o Outcome) String() string {
	if o.Direct {
		return "direct"
	}
	return o.Cause.String()
}

// expected is what each pair must come to. Rows and columns are the kinds in their
// order, and it does not matter which of the two dials.
//
//   - direct   s direct with the search on both sides, else search-off
//     H both NATs hard   U UDP blocked   F no common address family
var expected = [kinds]string{
	Public:                   "++++++++++++FU",
	FullCone:                 "++++++++++++FU",
	AddressRestricted:        "++++++++++++FU",
	PortRestricted:           "+++++++s++++FU",
	Linux:                    "+++++++s++++FU",
	Sequential:               "+++++++H++++FU",
	PortBlock:                "++++++HH++++FU",
	Random:                   "+++ssHHHssssFU",
	CarrierFullCone:          "+++++++s++++FU",
	CarrierAddressRestricted: "+++++++s++++FU",
	CarrierPortRestricted:    "+++++++s++++FU",
	Firewall:                 "+++++++s++++FU",
	IPv6Firewall:             "FFFFFFFFFFFF+U",
	UDPBlocked:               "UUUUUUUUUUUUUU",
}

// Expect returns what two hosts of these kinds must come to, with or without the
// search over all ports.
func Expect(a, b Kind, search bool) Outcome {
	switch expected[a][b] {
	case '+':
		return Outcome{Direct: true}
	case 's':
		if search {
			return Outcome{Direct: true}
		}
		return Outcome{Cause: node.CauseSearchOff}
	case 'H':
		return Outcome{Cause: node.CauseBothHard}
	case 'U':
		return Outcome{Cause: node.CauseNoUDP}
	}
	return Outcome{Cause: node.CauseFamily}
}

// Table prints a matrix: the cell of each pair of kinds, every pair once.
func Table(cell func(a, b Kind) string) string {
	var t strings.Builder
	width := 0
	for k := range kinds {
		width = max(width, len(k.String()))
	}
	for a := range kinds {
		fmt.Fprintf(&t, "%2d %-*s", int(a)+1, width, a)
		for b := range a + 1 {
			fmt.Fprintf(&t, " %5s", cell(a, b))
		}
		t.WriteByte('\n')
	}
	fmt.Fprintf(&t, "%*s", width+3, "")
	for b := range kinds {
		fmt.Fprintf(&t, " %5d", int(b)+1)
	}
	t.WriteByte('\n')
	return t.String()
}

// DirectWithin returns how long two hosts of these kinds may take to a direct path
// from the dial on, with 30 ms between them and the server.
func DirectWithin(a, b Kind) time.Duration {
	has := func(k Kind) bool { return a == k || b == k }
	switch {
	case has(Random):
		return 10 * time.Second
	case has(Sequential), has(PortBlock):
		return 3 * time.Second
	}
	return 300 * time.Millisecond
}
