package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"golang.org/x/term"
)

// A benchStart is what is known before anything is measured.
type benchStart struct {
	Event      string      `json:"event"`
	Peer       node.PeerID `json:"peer"`
	Path       node.Path   `json:"path"`
	DurationMS float64     `json:"duration_ms"` // of each measurement
	Here       benchSide   `json:"here"`
	There      benchSide   `json:"there"`
}

func (s benchStart) String() string {
	var l lines
	l.row("peer", s.Peer.Short(), s.Path.String(), roundTrip(s.Path.RTT))
	l.row("here", s.Here.facts()...)
	l.row("there", s.There.facts()...)
	return l.String()
}

// facts says what may bound the speed of a side before anything is measured.
func (s benchSide) facts() []string {
	facts := []string{fmt.Sprintf("%d cores", s.Cores)}
	if s.ReceiveBuffer > 0 {
		facts = append(facts, fmt.Sprintf("socket buffers %d KiB in and %d KiB out", s.ReceiveBuffer>>10, s.SendBuffer>>10))
	}
	return append(facts, "GSO "+onOff(s.GSO), "GRO "+onOff(s.GRO))
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// A pingResult is that of latency or loss.
type pingResult struct {
	Event       string      `json:"event"`
	What        string      `json:"what"`
	Bytes       int         `json:"message_bytes"`
	Sent        int         `json:"sent"`
	LostThere   *int        `json:"lost_there,omitempty"` // of loss alone
	LostBack    *int        `json:"lost_back,omitempty"`
	RoundTrip   percentiles `json:"round_trip"`
	PlotEveryMS float64     `json:"plot_every_ms"`
	PlotMS      []float64   `json:"plot_ms"` // longest round trip of each stretch of that time; 0 if none came back
	Path        node.Path   `json:"path"`    // at the end
}

func (p pingResult) String() string {
	var l lines
	l.row(p.What, p.RoundTrip.String())
	l.row("", plot(p.PlotMS))
	if p.LostThere != nil {
		l.row("  lost", "there "+share(*p.LostThere, p.Sent), "back "+share(*p.LostBack, p.Sent-*p.LostThere))
	} else if p.RoundTrip.Count < p.Sent {
		l.row("  lost", fmt.Sprintf("%d of %d did not come back", p.Sent-p.RoundTrip.Count, p.Sent))
	}
	return l.text()
}

// percentiles of durations, in milliseconds. The largest is P999 if there are less
// than 1000 of them, and so on.
type percentiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
}

// percentilesOf leaves out what took no time: it has not happened.
func percentilesOf(took []time.Duration) percentiles {
	took = slices.DeleteFunc(slices.Clone(took), func(d time.Duration) bool { return d == 0 })
	if len(took) == 0 {
		return percentiles{}
	}
	slices.Sort(took)
	// The nearest rank: the least that so many in a thousand do not exceed.
	rank := func(permille int) float64 { return milliseconds(took[(len(took)*permille+999)/1000-1]) }
	return percentiles{len(took), rank(500), rank(900), rank(990), rank(999), rank(1000)}
}

func (p percentiles) String() string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s ms", short(p.P50), short(p.P90), short(p.P99), short(p.P999), short(p.Max))
}

// A flowResult is that of bulk or small.
type flowResult struct {
	Event        string      `json:"event"`
	What         string      `json:"what"`
	Direction    string      `json:"direction"`
	MessageBytes int         `json:"message_bytes"`
	Messages     int64       `json:"messages"`        // that arrived
	Bytes        int64       `json:"bytes"`           // of them
	ElapsedMS    float64     `json:"elapsed_ms"`      // from the beginning to the arrival of the last
	BitRate      float64     `json:"bits_per_second"` // of messages, without any overhead
	MessageRate  float64     `json:"messages_per_second"`
	PlotEveryMS  float64     `json:"plot_every_ms"`
	PlotBitRate  []float64   `json:"plot_bits_per_second"` // of each stretch of that time
	Loaded       percentiles `json:"round_trip"`           // of reliable messages of 64 bytes meanwhile
	Sender       benchSide   `json:"sender"`
	Receiver     benchSide   `json:"receiver"`
	Path         node.Path   `json:"path"`            // at the end
	Notes        []string    `json:"notes,omitempty"` // what may have limited it, for people

	soFar flowSoFar
}

// plotPointsMax bounds what a peer that tells too much can make this side keep.
const plotPointsMax = 1 << 16

// note adds a point to the plot. One too soon after the last is left to the next.
func (f *flowResult) note(so flowSoFar) {
	passed := milliseconds(so.Elapsed - f.soFar.Elapsed)
	if passed < f.PlotEveryMS/2 || len(f.PlotBitRate) == plotPointsMax {
		return
	}
	f.PlotBitRate = append(f.PlotBitRate, perSecond(8*(so.Bytes-f.soFar.Bytes), so.Elapsed-f.soFar.Elapsed))
	f.soFar = so
}

// finish takes in what has arrived in the end.
func (f *flowResult) finish(total flowSoFar) {
	f.note(total)
	f.Messages, f.Bytes, f.ElapsedMS = total.Messages, total.Bytes, milliseconds(total.Elapsed)
	f.BitRate, f.MessageRate = perSecond(8*total.Bytes, total.Elapsed), perSecond(total.Messages, total.Elapsed)
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

func (f *flowResult) last() float64 {
	if len(f.PlotBitRate) == 0 {
		return 0
	}
	return f.PlotBitRate[len(f.PlotBitRate)-1]
}

func (f *flowResult) String() string {
	var l lines
	l.row(f.What+" "+f.Direction, bits(f.BitRate), fmt.Sprintf("%s messages/s of %d bytes", scaled(f.MessageRate), f.MessageBytes))
	l.row("", plot(f.PlotBitRate)+"  up to "+bits(slices.Max(append(f.PlotBitRate, f.BitRate))))
	l.row("  round trips", f.Loaded.String())
	l.row("  datagrams", fmt.Sprintf("%d bytes", f.Sender.DatagramBytes), "lost "+share(int(f.Sender.DatagramsLost), int(f.Sender.Datagrams)))
	for _, note := range f.Notes {
		l.row("  note", note)
	}
	return l.text()
}

// What may be said to have limited a flow.
const (
	benchLossNoted    = 0.001   // of the datagrams
	benchBusyNoted    = 0.9     // of a core, or of all if both sides share them
	benchBufferNoted  = 1 << 20 // less than this, in bytes
	benchWindowMargin = 0.8     // of the window a round trip, which is all of it but for the rounding
)

// notes says what may have limited the flow, as far as that shows.
func (f *flowResult) notes(self bool) (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	s, r := f.Sender, f.Receiver
	if f.Path.Kind != node.Direct {
		note("the path is %s: its server limits what it carries", f.Path.Kind)
	}
	if lost := float64(s.DatagramsLost); lost >= benchLossNoted*float64(s.Datagrams) && lost > 0 {
		note("loss slowed the sender down")
		if r.ReceiveBuffer > 0 && r.ReceiveBuffer < benchBufferNoted {
			note("the receiver's socket buffer is small: %d KiB (Linux: sysctl net.core.rmem_max)", r.ReceiveBuffer>>10)
		}
	}
	switch {
	case self:
		if s.BusyCores >= benchBusyNoted*float64(s.Cores) {
			note("the processor is busy: %.1f of %d cores, with both sides", s.BusyCores, s.Cores)
		}
	case s.BusyCores >= benchBusyNoted || r.BusyCores >= benchBusyNoted:
		note("processors are busy: %.1f of %d cores at the sender, %.1f of %d at the receiver", s.BusyCores, s.Cores, r.BusyCores, r.Cores)
	}
	if rtt := s.RTTMS / 1000; f.BitRate/8*rtt >= benchWindowMargin*float64(s.Window) && rtt > 0 {
		note("the congestion window, %d KiB, was still too small for the path", s.Window>>10)
	}
	return notes
}

// plotWidth is how many points a plot of a measurement has.
const plotWidth = 40

// plot draws the points as a row of blocks, the highest in full; a dot where there
// was nothing. More points than fit share columns.
func plot(points []float64) string {
	top := 0.0
	for _, p := range points {
		top = max(top, p)
	}
	var b strings.Builder
	columns := min(len(points), plotWidth)
	for c := range columns {
		highest := slices.Max(points[c*len(points)/columns : (c+1)*len(points)/columns])
		if highest <= 0 { // less is what only a lying peer tells
			b.WriteRune('·')
			continue
		}
		b.WriteRune(blocks[min(int(highest/top*float64(len(blocks))), len(blocks)-1)])
	}
	return b.String()
}

var blocks = []rune("▁▂▃▄▅▆▇█")

// share says what part of something was lost.
func share(lost, of int) string {
	if lost <= 0 || of <= 0 {
		return fmt.Sprintf("none of %d", max(of, 0))
	}
	return fmt.Sprintf("%d of %d (%.2g %%)", lost, of, 100*float64(lost)/float64(of))
}

// bits is a rate for people: "9.12 Gbit/s".
func bits(rate float64) string {
	n, prefix := scale(rate)
	return n + " " + prefix + "bit/s"
}

// scaled is a count for people: "17.4k".
func scaled(x float64) string {
	n, prefix := scale(x)
	return n + prefix
}

// scale returns three digits of x and the prefix of its unit.
func scale(x float64) (digits, prefix string) {
	prefixes := []string{"", "k", "M", "G", "T"}
	for len(prefixes) > 1 && x >= 999.5 {
		x, prefixes = x/1000, prefixes[1:]
	}
	return short(x), prefixes[0]
}

// short is x with about three digits.
func short(x float64) string {
	switch {
	case x < 9.995:
		return fmt.Sprintf("%.2f", x)
	case x < 99.95:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// liveRow is a row while it is measured.
func liveRow(name, plot, value string) string {
	return fmt.Sprintf("%-*s %-*s %s", nameWidth, name, plotWidth, plot, value)
}

// A liveLine is a line of a terminal that is written again and again.
type liveLine struct {
	w  io.Writer
	on bool // a person watches w

	mu      sync.Mutex
	written int // columns
}

// show replaces the line. What does not fit on the screen is cut off.
func (l *liveLine) show(text string) {
	if !l.on {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	line := []rune(text)
	line = line[:min(len(line), columns(l.w)-1)]
	fmt.Fprintf(l.w, "\r%s%*s", string(line), max(l.written-len(line), 0), "")
	l.written = len(line)
}

// follow writes what text returns again and again, until stop is called.
func (l *liveLine) follow(every time.Duration, text func() string) (stop func()) {
	if !l.on {
		return func() {}
	}
	return repeat(every, func() { l.show(text()) })
}

// clear removes the line, for what comes next.
func (l *liveLine) clear() {
	l.show("")
	if l.on {
		fmt.Fprint(l.w, "\r")
	}
}

// columns returns the width of a terminal.
func columns(w io.Writer) int {
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 1 {
			return width
		}
	}
	return 80
}
