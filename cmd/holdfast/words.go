package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// natWords says what a NAT does, in the words of RFC 4787, a property a line.
func natWords(n wire.NAT) (words []string) {
	if n.Mapping == wire.BehaviorUnknown && n.Filtering == wire.BehaviorUnknown {
		words = append(words, "kind unknown")
	} else {
		words = append(words, "mapping "+n.Mapping.String(), "filtering "+filteringWords(n))
	}
	if n.Ports != wire.PortsUnknown {
		words = append(words, "ports "+portWords(n))
	}
	for _, f := range []struct {
		flag wire.NATFlags
		word string
	}{
		{wire.NATPoisonProne, "poison-prone"},
		{wire.NATNoUDP, "no UDP"},
		{wire.NATRelayOnly, "relay only"},
		{wire.NATSearch, "search on"},
	} {
		if n.Has(f.flag) {
			words = append(words, f.word)
		}
	}
	return words
}

// filteringWords admits what a survey with a single server address cannot tell.
func filteringWords(n wire.NAT) string {
	if n.Filtering == wire.AddressDependent {
		return "address-dependent or less"
	}
	return n.Filtering.String()
}

func portWords(n wire.NAT) string {
	switch n.Ports {
	case wire.PortsRandom:
		return "at random"
	case wire.PortsSequential:
		return fmt.Sprintf("one after the other, %+d", n.Step)
	case wire.PortsBlock:
		return fmt.Sprintf("in a block, about %d-%d", n.Low, n.High)
	}
	return n.Ports.String()
}

// brief is a time for people: "0.4 ms", "12 ms", "3.1 s".
func brief(d time.Duration) string {
	ms := milliseconds(d)
	switch {
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
}

// lines is text that grows row by row, the names aligned.
type lines struct{ strings.Builder }

// row adds a name and what is to be said of it, if there is anything.
func (l *lines) row(name string, values ...string) {
	if text := strings.Join(values, ", "); text != "" {
		fmt.Fprintf(l, "%-*s %s\n", nameWidth, name, text)
	}
}

const nameWidth = 15

// text returns the rows without the last end of line.
func (l *lines) text() string { return strings.TrimSuffix(l.String(), "\n") }
