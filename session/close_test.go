package session

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

func peerClose(code uint64, reason string) []byte {
	c := wire.Close{Code: code, Reason: []byte(reason)}
	return c.Append(nil)
}

// SPEC §2: CLOSE is repeated with doubling gaps, and after three probe timeouts
// the session is gone.
func TestCloseIsSaidUntilThePeerIsLikelyToKnow(t *testing.T) {
	sc := acceptedScript(t, Config{})
	start, pto := sc.now, sc.s.active.pto()
	sc.change(func(now Time) { sc.s.Close(now, 7, "done") })
	f := sc.wantChunk("CLOSE at once", wire.TypeClose)
	if c := f.chunk(wire.TypeClose).Close; c.Code != 7 || string(c.Reason) != "done" || f.at != start {
		t.Errorf("code %d, reason %q, %v", c.Code, c.Reason, f)
	}
	sc.advance(drainPTOs*pto - 1)
	if got := times(sc.take(), sc.here, wire.TypeClose, start); len(got) != 1 || got[0] != pto {
		t.Errorf("repeated after %v; the probe timeout is %v", got, pto)
	}
	if n := sc.ep.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions before three probe timeouts are over", n)
	}
	sc.advance(1)
	if n := sc.ep.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions after it", n)
	}
}

func TestPeerThatHasNotHeardCloseIsToldAgain(t *testing.T) {
	sc := acceptedScript(t, Config{})
	pto := sc.s.active.pto()
	sc.change(func(now Time) { sc.s.Close(now, 0, "") })
	sc.take()
	for range 50 {
		sc.write(ping)
	}
	sc.wantIdle("a quarter of the gap must pass")
	sc.advance(pto / 2)
	if n := len(sc.take()); n != 1 {
		t.Errorf("%d answers to 50 frames", n)
	}
}

// RFC 9000 §10.2.2: who is told of the end says so, each time, and nothing more.
func TestClosedPeerAnswersCloseAndIsSilentOtherwise(t *testing.T) {
	sc := acceptedScript(t, Config{})
	pto := sc.s.active.pto()
	sc.take()
	sc.write(peerClose(9, "bye"))
	var c *CloseError
	if e := sc.wantEvent("the peer closed", Closed); !errors.As(e.Err, &c) || c.Code != 9 || c.Reason != "bye" || !c.Remote {
		t.Error(e.Err)
	}
	if !errors.Is(c, ErrClosed) || !errors.Is(c, net.ErrClosed) {
		t.Error("the error is not one of closing")
	}
	sc.wantChunk("the peer may know that it was heard", wire.TypeClose)
	sc.write(ping)
	sc.wantIdle("there is nothing to say to a stray frame")
	sc.write(peerClose(9, "bye"))
	sc.wantChunk("the answer was lost", wire.TypeClose)
	sc.advance(drainPTOs * pto)
	sc.wantIdle("the session has ended")
	if n := sc.ep.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions after three probe timeouts", n)
	}
}

func TestClosesThatCrossAreEnough(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.change(func(now Time) { sc.s.Close(now, 0, "") })
	sc.wantChunk("ours", wire.TypeClose)
	if n := sc.ep.Closing(); n != 1 {
		t.Errorf("%d sessions wait for the peer to hear", n)
	}
	sc.write(peerClose(0, ""))
	if n := sc.ep.Closing(); n != 0 {
		t.Errorf("%d sessions wait after it has", n)
	}
	sc.advance(time.Second)
	sc.wantIdle("both sides have closed")
}

func TestCloseWhenSentWaitsForTheLastMessage(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.send(100)
	sc.change(func(now Time) { sc.s.CloseWhenSent(now, 3, "") })
	if _, err := sc.s.Send(sc.now, &Message{Data: []byte("late")}); !errors.Is(err, ErrClosed) {
		t.Errorf("a message after CloseWhenSent: %v", err)
	}
	sc.wantNoEvent("the message is not stored", Closed)
	sc.take()
	sc.ackAll()
	sc.wantEvent("the message is stored", Outcome)
	sc.wantEvent("and then the session ends", Closed)
	sc.wantChunk("the peer is told", wire.TypeClose)
}

// [S4] Each unresolved message is reported before the end of its session.
func TestUnresolvedMessagesAreReportedBeforeTheEnd(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.send(100)
	sc.send(100)
	sc.write(peerClose(0, ""))
	for range 2 {
		if e := sc.wantEvent("the fate of a message", Outcome); e.Fate != Unknown {
			t.Errorf("fate %v", e.Fate)
		}
	}
	sc.wantEvent("then the end", Closed)
	if _, err := sc.s.Send(sc.now, &Message{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a message after the end: %v", err)
	}
}

func TestPeerThatBreaksTheProtocolIsTold(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.take()
	sc.write([]byte{byte(wire.TypePadding)}[:0], []byte{0x3f, 0x3f})
	var p *ProtocolError
	if e := sc.wantEvent("the session ends", Closed); !errors.As(e.Err, &p) {
		t.Error(e.Err)
	}
	if c := sc.wantChunk("CLOSE", wire.TypeClose).chunk(wire.TypeClose).Close; c.Code != CodeProtocol || string(c.Reason) != p.What {
		t.Errorf("code %d, reason %q", c.Code, c.Reason)
	}
}

// RFC 9000 §21.4
func TestAcknowledgementOfANumberNeverSentEndsTheSession(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.write(wire.AppendAck(nil, 0, []wire.Range{{Lo: 0, Hi: sc.largest + 1000}}, 100))
	var p *ProtocolError
	if e := sc.wantEvent("a number that was never sent is acknowledged", Closed); !errors.As(e.Err, &p) {
		t.Error(e.Err)
	}
}
