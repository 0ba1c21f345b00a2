package session

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// withTwoPaths returns a session that has proved two paths of the same length,
// the first of them active.
func withTwoPaths(t *testing.T) (sc *script, first, second Path) {
	sc = acceptedScript(t, Config{})
	first, second = sc.here, udp(2, 2)
	sc.change(func(now Time) { sc.s.AddPath(now, second) })
	sc.now = sc.now.Add(scriptRTT)
	sc.prove(second)
	sc.wantEvent("the second path answered", PathValidated)
	sc.ackAll()
	sc.quieten()
	return sc, first, second
}

// failOver sends what only the second path answers.
func (sc *script) failOver(second Path) {
	sc.send(100)
	sc.advance(sc.s.active.pto())
	sc.prove(second)
	sc.here = second
	sc.advance(100 * time.Millisecond)
	sc.wantPath("which answers", second)
	sc.ackAll()
}

// SPEC §8.5: when a probe timeout fires, every other way is asked at once, and
// the first to answer takes over a round trip and a quarter after the silence began.
func TestDataFailsOverToThePathThatAnswers(t *testing.T) {
	sc, first, second := withTwoPaths(t)
	sc.send(100)
	sc.take()
	start, pto := sc.now, sc.s.active.pto()
	sc.advance(pto)
	asked := sc.wantFrame("a challenge to the other path", func(f *sentFrame) bool { return f.to == second && f.has(wire.TypePathChallenge) })
	if d := asked.at.Sub(start); d > pto {
		t.Errorf("asked after %v; the probe timeout is %v", d, pto)
	}
	since, rtt := sc.s.outage.since, sc.s.Stats().SmoothedRTT
	sc.now = asked.at.Add(10 * time.Millisecond)
	sc.here = second
	sc.write(pathResponse(asked.chunk(wire.TypePathChallenge).Path))
	sc.wantPath("which has its time to answer yet", first)
	sc.advance(since.Add(rtt*5/4).Sub(sc.now) - 1)
	sc.wantPath("which has its time to answer yet", first)
	sc.take()
	sc.advance(time.Millisecond)
	sc.wantPath("which answers", second)
	sc.wantEvent("the caller learns of it", PathFailed)
	if f := sc.wantChunk("the message again, at once", wire.TypeMessage); f.to != second || f.at.Sub(since) > rtt*5/4+time.Millisecond {
		t.Error(f)
	}
}

func TestActivePathThatAnswersInTimeIsKept(t *testing.T) {
	sc, first, second := withTwoPaths(t)
	sc.send(100)
	sc.take()
	sc.advance(sc.s.active.pto())
	sc.prove(second)
	sc.ackAll() // from the first path
	sc.advance(time.Second)
	sc.wantPath("which answered", first)
	sc.wantNoEvent("it answered", PathFailed)
}

// A path that died is asked again after 1, 2, 4, 8, 16 and 32 s.
func TestPathLeftForDeadIsAskedAgain(t *testing.T) {
	sc, first, second := withTwoPaths(t)
	sc.failOver(second)
	sc.take()
	left := sc.now
	sc.advance(firstRetry)
	if got := times(sc.take(), first, wire.TypePathChallenge, left); len(got) == 0 || got[0] < firstRetry/2 {
		t.Errorf("asked again after %v", got)
	}
}

// [S14] What a path was sent while it was validated, far more than came from it,
// does not keep its challenges and answers back once it is left for dead.
func TestPathThatTookMuchIsAskedAgain(t *testing.T) {
	sc, first, second := withTwoPaths(t)
	sc.s.findPath(first).sent += 1 << 20
	sc.failOver(second)
	for round := range 10 { // three challenges each
		sc.take()
		start := sc.now
		sc.advance(4 * time.Second)
		if len(times(sc.take(), first, wire.TypePathChallenge, start)) == 0 {
			t.Fatalf("not asked in round %d", round)
		}
		sc.ackAll()
	}
	sc.here = first
	for n := range byte(4) {
		sc.write(wire.AppendPath(nil, wire.TypePathChallenge, [8]byte{n}))
	}
	sc.wantFrame("an answer to one of a few challenges", func(f *sentFrame) bool { return f.to == first && f.has(wire.TypePathResponse) })
}

// SPEC §9: two probe timeouts in a row report that the path failed, three that
// none is left.
func TestSilenceIsReportedByDegrees(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.send(100)
	pto := sc.s.active.pto()
	gap := min(2*pto, max(pto, 150*time.Millisecond))
	sc.advance(pto + gap - time.Millisecond)
	sc.wantNoEvent("one probe timeout is no outage", PathFailed)
	sc.advance(time.Millisecond)
	sc.wantEvent("after the second", PathFailed)
	sc.wantNoEvent("only two probe timeouts have passed", Stranded)
	sc.advance(2 * gap)
	sc.wantEvent("after the third", Stranded)
}

// [S16] A stranded session keeps its messages for the resume time, goes on
// probing, and needs no more than one answer.
// Where the peer was last heard is a better guess than a path that fell silent before.
func TestPathLeftForDeadIsNotReturnedTo(t *testing.T) {
	sc := acceptedScript(t, Config{})
	dead := sc.here
	sc.send(100)
	for tries := 0; !sc.s.suspect(); tries++ {
		if sc.advance(10 * time.Millisecond); tries == 500 {
			t.Fatal("silence is not noticed")
		}
	}
	sc.here = udp(2, 2)
	sc.write(ping)
	sc.wantPath("where the peer is", udp(2, 2))
	for range 45 {
		sc.advance(100 * time.Millisecond)
		if sc.s.Path() == dead {
			t.Fatal("data is back where nobody answered")
		}
		sc.ackAll() // which proves nothing
	}
}

func TestStrandedSessionResumes(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.send(100)
	sc.advance(50 * time.Second)
	sc.wantEvent("no path is left", Stranded)
	sc.wantNoEvent("the resume time is 60 s", Closed)
	probes := times(sc.take(), sc.here, wire.TypeMessage, sc.now)
	last := probes[len(probes)-1]
	if last < -2*time.Second-time.Millisecond {
		t.Errorf("the last probe was at %v: a probe timeout is at most 2 s", last)
	}
	sc.write(ping)
	sc.ackAll()
	if sc.s.outage != (outage{}) {
		t.Errorf("after an answer: %+v", sc.s.outage)
	}
	sc.quieten()
	sc.advance(20 * time.Second)
	sc.wantNoEvent("the path is back", Closed)
}

func TestStrandedSessionEndsAfterTheResumeTime(t *testing.T) {
	sc := acceptedScript(t, Config{ResumeTime: 20 * time.Second})
	sc.send(100)
	sc.advance(15 * time.Second)
	sc.wantNoEvent("the resume time is not over", Closed)
	sc.advance(10 * time.Second)
	if e := sc.wantEvent("the resume time is over", Closed); !errors.Is(e.Err, ErrStranded) {
		t.Error(e.Err)
	}
}

func TestStrandedSessionTakesANewPath(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.send(100)
	sc.advance(10 * time.Second)
	sc.wantEvent("no path is left", Stranded)
	sc.take()
	sc.change(func(now Time) { sc.s.AddPath(now, udp(3, 3)) })
	sc.advance(20 * time.Millisecond)
	sc.prove(udp(3, 3))
	sc.wantPath("the one that answers", udp(3, 3))
	if f := sc.wantChunk("the message", wire.TypeMessage); f.to != udp(3, 3) && sc.s.Path() != udp(3, 3) {
		t.Error(f)
	}
}

// SPEC §9: Retry asks on every path at once, begins the backoff of probes anew,
// and keeps the connection ID.
func TestRetryAsksEveryPathAtOnce(t *testing.T) {
	sc, first, second := withTwoPaths(t)
	for range 8 {
		sc.send(60)
	}
	sc.advance(8 * time.Second)
	sc.wantEvent("no path is left", Stranded)
	sc.take()
	id, start := sc.s.remote.current().id, sc.now
	sc.change(sc.s.Retry)
	frames := sc.take()
	for _, p := range []Path{first, second} {
		if got := times(frames, p, wire.TypePathChallenge, start); len(got) == 0 || got[0] != 0 {
			t.Errorf("%v is asked after %v", p, got)
		}
	}
	seqs := make(map[uint64]bool)
	for _, f := range frames {
		for _, c := range f.chunks {
			if c.Type == wire.TypeMessage {
				seqs[c.Message.Seq] = true
			}
		}
	}
	if len(seqs) != 8 {
		t.Errorf("%d of 8 messages go again", len(seqs))
	}
	if n := sc.s.active.rec.PTOCount(); n != 0 {
		t.Errorf("the backoff goes on at %d", n)
	}
	if sc.s.remote.current().id != id {
		t.Error("a fresh connection ID")
	}
}
