package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// benchLine is what a reader of the JSON sees.
type benchLine struct {
	Event, What, Direction string
	Peer                   string
	DurationMS             float64 `json:"duration_ms"`
	Here, There            *struct{ Cores int }
	Path                   struct{ Kind string }

	MessageBytes int  `json:"message_bytes"`
	Sent         int  `json:"sent"`
	LostThere    *int `json:"lost_there"`
	LostBack     *int `json:"lost_back"`
	RoundTrip    struct {
		Count int
		P50   float64 `json:"p50_ms"`
		P90   float64 `json:"p90_ms"`
		P99   float64 `json:"p99_ms"`
		P999  float64 `json:"p99_9_ms"`
		Max   float64 `json:"max_ms"`
	} `json:"round_trip"`
	PlotEveryMS float64   `json:"plot_every_ms"`
	PlotMS      []float64 `json:"plot_ms"`

	Messages, Bytes  int64
	ElapsedMS        float64   `json:"elapsed_ms"`
	BitRate          float64   `json:"bits_per_second"`
	MessageRate      float64   `json:"messages_per_second"`
	PlotBitRate      []float64 `json:"plot_bits_per_second"`
	Sender, Receiver *struct {
		Datagrams     uint64
		DatagramsLost uint64 `json:"datagrams_lost"`
		DatagramBytes int    `json:"datagram_bytes"`
		GSO, GRO      *bool
	}
	Notes []string
}

// benchLines reads what bench has printed, without the start, which it checks.
func benchLines(t *testing.T, stdout string) (lines []benchLine) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var l benchLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 || lines[0].Event != "start" || lines[0].Peer == "" || lines[0].DurationMS <= 0 ||
		lines[0].Here.Cores == 0 || lines[0].There.Cores == 0 {
		t.Fatalf("printed %s: want a start that describes both sides", stdout)
	}
	return lines[1:]
}

// checkPings checks what holds of every result with round trips.
func (l *benchLine) checkPings(t *testing.T) {
	t.Helper()
	r := l.RoundTrip
	if ranks := []float64{r.P50, r.P90, r.P99, r.P999, r.Max}; r.Count == 0 || r.P50 <= 0 || !slices.IsSorted(ranks) {
		t.Errorf("%s %s: round trips %+v", l.What, l.Direction, r)
	}
}

func (l *benchLine) checkFlow(t *testing.T) {
	t.Helper()
	l.checkPings(t)
	if l.Messages == 0 || l.Bytes != l.Messages*int64(l.MessageBytes) || l.ElapsedMS <= 0 || len(l.PlotBitRate) == 0 ||
		l.Sender == nil || l.Sender.Datagrams == 0 || l.Sender.DatagramBytes < 1200 || l.Sender.GSO == nil || l.Receiver == nil || l.Receiver.GRO == nil {
		t.Errorf("%+v", l)
	}
	seconds := l.ElapsedMS / 1000
	if bits, messages := 8*float64(l.Bytes)/seconds, float64(l.Messages)/seconds; !near(l.BitRate, bits) || !near(l.MessageRate, messages) {
		t.Errorf("rates %v and %v, want %v and %v", l.BitRate, l.MessageRate, bits, messages)
	}
}

// near allows for the rounding of times.
func near(a, b float64) bool { return a >= b*0.99 && a <= b*1.01 }

func TestBenchMeasuresEverythingWithAPeer(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	host := start(t, holdfast(t, "bench", "--json", "--listen", "127.0.0.1:0", "--server", server.addr))
	ticket := ticketOf(host)
	for range 2 { // it waits on afterwards
		stdout, stderr, code := runToEnd(t, holdfast(t, "bench", "--json", "--duration", "40ms", "--size", "2000", "--listen", "127.0.0.1:0", ticket))
		if code != 0 {
			t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
		}
		lines := benchLines(t, stdout)
		if len(lines) != 6 {
			t.Fatalf("%d results, want 6:\n%s", len(lines), stdout)
		}
		for i, want := range []struct {
			what, direction string
			size            int
		}{
			{"latency", "", 64}, {"loss", "", 64},
			{"bulk", "up", 2000}, {"bulk", "down", 2000}, {"small", "up", 64}, {"small", "down", 64},
		} {
			l := lines[i]
			if l.Event != "result" || l.What != want.what || l.Direction != want.direction || l.MessageBytes != want.size || l.PlotEveryMS != 1 || l.Path.Kind != "direct" {
				t.Errorf("result %d is %+v, want %v over a direct path", i, l, want)
			}
			if want.direction != "" {
				l.checkFlow(t)
				continue
			}
			l.checkPings(t)
			if l.Sent == 0 || len(l.PlotMS) == 0 || (l.LostThere != nil) != (want.what == "loss") || (l.LostBack != nil) != (want.what == "loss") {
				t.Errorf("%+v", l)
			}
		}
	}
	if code := host.interrupt(); code != 0 {
		t.Errorf("the side that waits: exit %d after an interrupt, want 0\n%s", code, host.stderr.String())
	}
}

func TestBenchOfItselfPrintsNoLivePlotIntoAPipe(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := runToEnd(t, holdfast(t, "bench", "--self", "--duration", "40ms", "--only", "bulk,latency", "--direction", "down"))
	if code != 0 || stderr != "" {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	for _, want := range []string{"direct 127.0.0.1:", "GSO ", "latency         p50 ", "bulk down       ", "messages/s of 65536 bytes", "up to ", "  round trips   p50 ", "  datagrams "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, other := range []string{"\r", "\x1b", "loss  ", "small up", "small down", "bulk up"} {
		if strings.Contains(stdout, other) {
			t.Errorf("%q is there", other)
		}
	}
	if t.Failed() {
		t.Logf("%q", stdout)
	}
}

func TestBenchCannotBeMisused(t *testing.T) {
	t.Parallel()
	id := somebody(t)
	for _, tt := range []struct{ args, want string }{
		{"", "add --server"},
		{"--self " + id, "--self needs no PEER"},
		{"--self --duration 2m", "--duration"},
		{"--self --duration 0s", "--duration"},
		{"--self --size 0", "--size"},
		{"--self --size 1048577", "--size"},
		{"--self --direction left", "--direction"},
		{"--self --only latency,weather", `no "weather"`},
		{"--self --wait -1s", "--wait"},
		{"--size 100", "--size is for the side that measures"},
		{id + " " + id, "unexpected argument"},
		{id, "add --server"},
	} {
		stdout, stderr, code := runToEnd(t, holdfast(t, append([]string{"bench"}, strings.Fields(tt.args)...)...))
		if code != 2 || !strings.Contains(stderr, "holdfast: error: ") || !strings.Contains(stderr, tt.want) || stdout != "" {
			t.Errorf("bench %s: exit %d, want 2 and an error with %q\n%s%s", tt.args, code, tt.want, stdout, stderr)
		}
	}
}

// A benchNet is a pretend network in which one side waits for those who measure.
type benchNet struct {
	t    *testing.T
	net  *nodetest.Net
	host *wiretest.Host
	node *node.Node
}

var benchAddr = netip.MustParseAddrPort("192.0.2.1:4000")

// onBenchNet runs do in virtual time.
func onBenchNet(t *testing.T, do func(t *testing.T, b *benchNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &benchNet{t: t, net: nodetest.New(1)}
		b.host = b.net.Host("host", nil, benchAddr.Addr())
		b.node = b.listen(b.host, 4000)
		r := b.run(io.Discard)
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- r.serve(ctx, b.node, benchService, (&benchHost{run: r}).serve) }()
		do(t, b)
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func (b *benchNet) listen(h *wiretest.Host, port uint16) *node.Node {
	n, err := node.Listen(&node.Config{App: appName, PacketConn: b.net.Listen(h, port)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { n.Close() })
	return n
}

func (b *benchNet) run(out io.Writer) *run {
	return &run{
		streams: streams{out: out, err: io.Discard},
		print:   &printer{w: out, json: true},
		log:     program.Logger(io.Discard, false, false),
	}
}

// guest adds a host and lets it call.
func (b *benchNet) guest(name string, addr string, link wiretest.Link) (*run, *wiretest.Host, *node.Conn) {
	b.t.Helper()
	h := b.net.Host(name, nil, netip.MustParseAddr(addr))
	b.net.Do(func(*wiretest.Net) { h.SetLink(link) })
	n := b.listen(h, 5000)
	r := b.run(io.Discard)
	c, err := r.call(b.t.Context(), n, node.Ticket{Peer: b.node.ID(), Addrs: []netip.AddrPort{benchAddr}}, benchService)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return r, h, c
}

// measure returns the results of one guest.
func (b *benchNet) measure(r *run, c *node.Conn, plan benchPlan) ([]benchLine, error) {
	var out bytes.Buffer
	r.print.w = &out
	err := r.measure(b.t.Context(), c, plan)
	return benchLines(b.t, out.String()), err
}

func benchOf(what ...string) benchPlan {
	return benchPlan{duration: 4 * time.Second, size: 16 << 10, up: true, down: true, what: what}
}

func TestBenchFindsTheDelayAndTheRateOfThePath(t *testing.T) {
	t.Parallel()
	onBenchNet(t, func(t *testing.T, b *benchNet) {
		// 50 ms fit into the queue.
		r, _, c := b.guest("guest", "192.0.2.2", wiretest.Link{Delay: 20 * time.Millisecond, Rate: 8_000_000, Queue: 50_000, MTU: 1500})
		lines, err := b.measure(r, c, benchOf("latency", "bulk", "small"))
		if err != nil || len(lines) != 5 {
			t.Fatalf("%v, %+v", err, lines)
		}
		if l := lines[0]; l.Sent != 2000 || l.RoundTrip.Count != 2000 || l.RoundTrip.P50 < 40 || l.RoundTrip.P99 > 60 || len(l.PlotMS) != plotWidth {
			t.Errorf("latency %+v: want 2000 round trips of 40 ms and the time on the wire", l)
		}
		for _, l := range lines[1:] {
			l.checkFlow(t)
			if l.ElapsedMS > 4500 {
				t.Errorf("%s %s took %v ms, though 4 s were asked for", l.What, l.Direction, l.ElapsedMS)
			}
			if l.BitRate > 8_000_000 || l.RoundTrip.P50 < 40 {
				t.Errorf("%s %s: %v bit/s and %v ms, more than the path can do", l.What, l.Direction, l.BitRate, l.RoundTrip.P50)
			}
			if l.What == "bulk" && l.BitRate < 5_000_000 {
				t.Errorf("bulk %s: %v bit/s of 8 million", l.Direction, l.BitRate)
			}
		}
	})
}

func TestBenchTellsLossOfEachWay(t *testing.T) {
	t.Parallel()
	onBenchNet(t, func(t *testing.T, b *benchNet) {
		r, h, c := b.guest("guest", "192.0.2.2", wiretest.Link{Delay: 20 * time.Millisecond})
		b.net.Do(func(*wiretest.Net) { h.Up.Link.Loss = 0.5 })
		lines, err := b.measure(r, c, benchOf("loss"))
		if err != nil || len(lines) != 1 {
			t.Fatalf("%v, %+v", err, lines)
		}
		l := lines[0]
		if l.Sent != 2000 || *l.LostThere < 20 || *l.LostBack != 0 || l.RoundTrip.Count != l.Sent-*l.LostThere {
			t.Errorf("%d sent, %d lost there, %d back, %d came back: want loss there alone", l.Sent, *l.LostThere, *l.LostBack, l.RoundTrip.Count)
		}
	})
}

func TestBenchMeasuresWithOnePeerAtATime(t *testing.T) {
	t.Parallel()
	onBenchNet(t, func(t *testing.T, b *benchNet) {
		first, _, c := b.guest("first", "192.0.2.2", wiretest.Link{})
		if _, err := (&measurer{benchEnd: newBenchEnd(c)}).tell(t.Context()); err != nil { // it is being served
			t.Fatal(err)
		}
		second, _, d := b.guest("second", "192.0.2.3", wiretest.Link{})
		err := second.measure(t.Context(), d, benchOf("latency"))
		if err == nil || !strings.Contains(err.Error(), "measures with another peer") {
			t.Errorf("the second is told %v", err)
		}
		if lines, err := b.measure(first, c, benchOf("latency")); err != nil || len(lines) != 1 {
			t.Errorf("the first: %v, %+v", err, lines)
		}
		c.Close()
		time.Sleep(time.Second) // for the host to see it
		third, _, e := b.guest("third", "192.0.2.4", wiretest.Link{})
		if lines, err := b.measure(third, e, benchOf("latency")); err != nil || len(lines) != 1 {
			t.Errorf("the third, after the first: %v, %+v", err, lines)
		}
	})
}

func TestBenchRefusesWhatNoMeasurementNeeds(t *testing.T) {
	t.Parallel()
	onBenchNet(t, func(t *testing.T, b *benchNet) {
		for i, order := range []string{
			`{"do":"give","bytes":1048577,"duration_ms":1}`,
			`{"do":"give","bytes":1,"duration_ms":60001}`,
			`{"do":"give","bytes":0,"duration_ms":1}`,
			`{"do":"take","bytes":1,"duration_ms":-1}`,
			`{"do":"take","bytes":1,"duration_ms":9223372036854775807}`,
			`{"do":"dance","bytes":1,"duration_ms":1}`,
			`noise`,
			strings.Repeat(" ", 100_000) + `{"do":"tell"}`,
		} {
			_, _, c := b.guest("guest", fmt.Sprintf("192.0.2.%d", 2+i), wiretest.Link{})
			if err := c.Channel(benchControl, nil).Send(t.Context(), []byte(order)); err != nil {
				t.Fatal(err)
			}
			select {
			case <-c.Done():
				if err := ended(c.Err()); err == nil {
					t.Errorf("%.60s: no reason was given", order)
				}
			case <-time.After(time.Second):
				t.Errorf("%.60s: was obeyed", order)
			}
		}
	})
}

// Whoever stays is sent away in the end.
func TestBenchEndsWithAPeerThatDoesNotLeave(t *testing.T) {
	t.Parallel()
	onBenchNet(t, func(t *testing.T, b *benchNet) {
		_, _, c := b.guest("guest", "192.0.2.2", wiretest.Link{})
		began := time.Now()
		<-c.Done()
		if err := ended(c.Err()); err == nil || !strings.Contains(err.Error(), "10m") {
			t.Errorf("told %v", err)
		}
		if d := time.Since(began).Round(time.Second); d != benchSessionMax {
			t.Errorf("sent away after %v", d)
		}
	})
}

func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := range 1000 {
		took = append(took, time.Duration(1000-i)*time.Millisecond, 0) // every other one was lost
	}
	if got, want := percentilesOf(took), (percentiles{1000, 500, 900, 990, 999, 1000}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := percentilesOf(took[:1]), (percentiles{1, 1000, 1000, 1000, 1000, 1000}); got != want {
		t.Errorf("of one: %+v, want %+v", got, want)
	}
	if got := percentilesOf(nil); got != (percentiles{}) {
		t.Errorf("of none: %+v", got)
	}
}

func TestPlotsShowTheCourse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		points []float64
		want   string
	}{
		{nil, ""},
		{[]float64{0, 0}, "··"},
		{[]float64{1, 0, 4, 8}, "▂·▅█"},
		{[]float64{-8, 8}, "·█"},
		{append(make([]float64, 80), 5), strings.Repeat("·", 39) + "█"}, // more than fit
	} {
		if got := plot(tt.points); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.points, got, tt.want)
		}
	}
}

func TestNotesNameWhatLimitedAFlow(t *testing.T) {
	t.Parallel()
	fast := benchSide{Cores: 4, BusyCores: 0.2, Datagrams: 10000, Window: 1 << 20, RTTMS: 10, ReceiveBuffer: 7 << 20}
	for _, tt := range []struct {
		change func(f *flowResult)
		self   bool
		want   string
	}{
		{func(*flowResult) {}, false, ""},
		{func(f *flowResult) { f.Path.Kind = node.Relayed }, false, "the path is relayed"},
		{func(f *flowResult) { f.Sender.DatagramsLost = 10 }, false, "loss slowed the sender down"},
		{func(f *flowResult) { f.Sender.DatagramsLost, f.Receiver.ReceiveBuffer = 10, 208<<10 }, false, "buffer is small: 208 KiB"},
		{func(f *flowResult) { f.Receiver.BusyCores = 0.95 }, false, "0.9 of 4 at the receiver"},
		{func(f *flowResult) { f.Sender.BusyCores = 3.8 }, true, "3.8 of 4 cores, with both sides"},
		{func(f *flowResult) { f.Sender.BusyCores = 1 }, true, ""},
		{func(f *flowResult) { f.Sender.Window = 50_000 }, false, "congestion window, 48 KiB"},
	} {
		f := flowResult{BitRate: 40_000_000, Sender: fast, Receiver: fast}
		tt.change(&f)
		got := strings.Join(f.notes(tt.self), "; ")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("noted %q, want %q", got, tt.want)
		}
	}
}

func TestRatesReadWell(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]string{
		0: "0.00 bit/s", 12.34: "12.3 bit/s", 999.4: "999 bit/s", 999.6: "1.00 kbit/s", 9.12e9: "9.12 Gbit/s", 4.5e15: "4500 Tbit/s",
	} {
		if got := bits(rate); got != want {
			t.Errorf("%v: %q, want %q", rate, got, want)
		}
	}
}
