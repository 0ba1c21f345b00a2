package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
)

var modeNames = [modes]string{
	node.Reliable:   "reliable",
	node.Unordered:  "unordered",
	node.Unreliable: "unreliable",
	node.Sequenced:  "sequenced",
}

// A demoReport is what the demonstration has shown.
type demoReport struct {
	Event     string         `json:"event"`
	Modes     []modeReport   `json:"modes"`
	Changes   []interruption `json:"changes"`
	Rebinds   int            `json:"rebinds"` // sockets closed and reopened
	ElapsedMS float64        `json:"elapsed_ms"`
}

// A modeReport counts the messages of one delivery mode, of both sides.
type modeReport struct {
	Mode      node.Delivery `json:"-"`
	Name      string        `json:"mode"`
	Sent      int           `json:"sent"`
	Delivered int           `json:"delivered"`
	Lost      int           `json:"lost"`
	Repeated  int           `json:"repeated"`
	Overtaken int           `json:"overtaken"` // delivered after a later one
}

// An interruption is the longest silence that a change of address has caused.
type interruption struct {
	What  string  `json:"what"`
	Moves int     `json:"moves"`
	MS    float64 `json:"interruption_ms"`
}

func (d *demonstration) report() demoReport {
	rep := demoReport{Event: "summary", Changes: d.steps, ElapsedMS: milliseconds(time.Since(d.begin))}
	for mode := range node.Delivery(modes) {
		m := modeReport{Mode: mode, Name: modeNames[mode]}
		for _, s := range d.speakers() {
			m.Sent += s.said(mode)
			m.Delivered += s.heardCount(mode)
			m.Repeated += s.heard[mode].repeated
			m.Overtaken += s.heard[mode].overtaken
		}
		m.Lost = m.Sent - m.Delivered
		rep.Modes = append(rep.Modes, m)
	}
	for _, i := range d.steps {
		rep.Rebinds += i.Moves
	}
	return rep
}

// err says which promise was broken, if any.
func (r demoReport) err() error {
	var broken []string
	for _, m := range r.Modes {
		if m.reliable() && m.Lost > 0 {
			broken = append(broken, fmt.Sprintf("%d %s messages were lost", m.Lost, m.Name))
		}
		if m.Repeated > 0 {
			broken = append(broken, fmt.Sprintf("%d %s messages were repeated", m.Repeated, m.Name))
		}
		if m.ordered() && m.Overtaken > 0 {
			broken = append(broken, fmt.Sprintf("%d %s messages came out of order", m.Overtaken, m.Name))
		}
	}
	if broken == nil {
		return nil
	}
	return program.Hint(fmt.Errorf("%s", strings.Join(broken, "; ")), "this is a bug in holdfast; please report it with the output of \"holdfast demo --json --verbose\"")
}

func (m modeReport) reliable() bool { return m.Mode == node.Reliable || m.Mode == node.Unordered }

func (m modeReport) ordered() bool { return m.Mode == node.Reliable || m.Mode == node.Sequenced }

func (r demoReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-22s %8s %10s %6s %9s\n", "messages", "sent", "delivered", "lost", "repeated")
	for _, m := range r.Modes {
		fmt.Fprintf(&b, "%-22s %8d %10d %6d %9d   %s\n", m.Name, m.Sent, m.Delivered, m.Lost, m.Repeated, m.promise())
	}
	fmt.Fprintf(&b, "\n%-22s %8s %13s\n", "change of address", "rebinds", "interruption")
	for _, i := range r.Changes {
		fmt.Fprintf(&b, "%-22s %8d %10.0f ms\n", i.What, i.Moves, i.MS)
	}
	fmt.Fprintf(&b, "\n%d rebinds survived in %.1f s", r.Rebinds, r.ElapsedMS/1000)
	return b.String()
}

// promise says in a word or two what the mode allows.
func (m modeReport) promise() string {
	switch m.Mode {
	case node.Reliable:
		return "once, in order"
	case node.Unordered:
		return "once, in any order"
	case node.Sequenced:
		return "may be lost, never goes back"
	default:
		return "may be lost"
	}
}
