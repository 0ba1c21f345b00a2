package netmon

import "time"

// A Kind says what a change is about.
type Kind uint8

const (
	// Moved is a change of addresses, interfaces or default routes.
	Moved Kind = iota + 1
	// Woke means that the machine slept, or the process was stopped. NATs may have
	// forgotten it, whether or not its addresses are the same.
	Woke
)

func (k Kind) String() string {
	switch k {
	case Moved:
		return "moved"
	case Woke:
		return "woke"
	}
	return "unknown"
}

// A Change is the difference between the network that was last told of and the
// present one.
type Change struct {
	Kind   Kind
	Before Snapshot
	After  Snapshot
	Slept  time.Duration // about how long; 0 unless Kind is Woke
}

// SourceMoved reports whether datagrams now leave from another address than
// before, in either family: peers and NATs see another endpoint.
func (c Change) SourceMoved() bool {
	return c.Before.Source4 != c.After.Source4 || c.Before.Source6 != c.After.Source6
}

// Minor reports whether paths that worked before are likely to go on working:
// only addresses that nothing is sent from by default came or went, such as the
// temporary ones of IPv6 (RFC 8981).
func (c Change) Minor() bool {
	return c.Kind == Moved && !c.SourceMoved() && c.Before.Up() == c.After.Up()
}

// then is c followed by next, as one change.
func (c Change) then(next Change) Change {
	return Change{
		Kind:   max(c.Kind, next.Kind),
		Before: c.Before,
		After:  next.After,
		Slept:  c.Slept + next.Slept,
	}
}

// nothing reports whether there is nothing to tell.
func (c Change) nothing() bool { return c.Kind != Woke && c.Before.Equal(c.After) }
