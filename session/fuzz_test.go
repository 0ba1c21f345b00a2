package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// FuzzChunksFromPeer gives the fuzzer the keys of a session: its bytes are the
// bodies of the frames that the peer sends, each behind its length. Whatever
// they are, the endpoint must neither crash nor spin, and it must be able to
// forget the session afterwards.
func FuzzChunksFromPeer(f *testing.F) {
	add := func(bodies ...[]byte) {
		var b []byte
		for _, x := range bodies {
			b = append(append(b, byte(len(x))), x...)
		}
		f.Add(b)
	}
	message := wire.Message{Channel: 1, Mode: wire.Reliable, Data: []byte("hello"), Total: 5}
	part := wire.Message{Channel: 1, Seq: 1, Fragment: true, Offset: 3, Total: 9, Data: []byte("part")}
	skip := wire.Skip{Channel: 1, Seq: 1}
	newID := wire.NewConnID{Seq: 1, RetireTo: 1, ID: wire.ConnID{1}, Token: wire.ResetToken{2}}
	credit := wire.Credit{Channel: 2, Limit: 1 << 20}
	closing := wire.Close{Code: 3, Reason: []byte("why")}
	add(message.Append(nil), part.Append(nil), skip.Append(nil))
	add(newID.Append(nil), wire.AppendRetireConnID(nil, 0), wire.AppendRetireConnID(nil, 1))
	add(credit.Append(nil), wire.AppendPath(nil, wire.TypePathChallenge, [8]byte{1}))
	add(wire.AppendAck(nil, 10, []wire.Range{{Lo: 4, Hi: 5}, {Lo: 0, Hi: 1}}, 100), closing.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t, 1)
		w.deep = true
		b := w.peer("bob", nil, Config{})
		m := w.rawPeer(b, 1)
		m.dial()
		w.want("the hostile peer is in session", time.Second, func() bool { return b.session() != nil })
		b.mustPost(b.session(), Message{Channel: 1, Receipt: true}, 100)
		for len(data) > 0 && len(b.sessions) > 0 {
			n := min(int(data[0]), len(data)-1)
			m.sendChunks(data[1 : 1+n])
			data = data[1+n:]
			w.run(time.Millisecond, nil)
		}
		w.run(2*time.Minute, nil)
		if n := b.ep.Stats().Sessions; n != 0 {
			t.Fatalf("%d sessions are left two minutes after the peer fell silent", n)
		}
	})
}

// FuzzDatagram feeds an endpoint that has a session with arbitrary datagrams.
// None that the peer did not send may change anything.
func FuzzDatagram(f *testing.F) {
	w := newWorld(f, 1)
	a, b := w.pair(wiretest.Link{Delay: time.Millisecond})
	all := w.record(nil)
	w.connect(a, b)
	conversation(w, a, b)
	w.run(3*time.Second, nil)
	for _, c := range *all {
		if c.to == b && len(c.data) < 300 && wire.Classify(c.data) != wire.KindInit {
			f.Add(c.data)
		}
	}
	before := stateHash(b.ep)
	f.Fuzz(func(t *testing.T, data []byte) {
		if wire.Classify(data) == wire.KindInit {
			return // may be answered
		}
		if datagrams, events := b.feed(a.addr(), data); datagrams+events > 0 {
			t.Fatalf("%d datagrams and %d events", datagrams, events)
		}
		if stateHash(b.ep) != before {
			t.Fatal("the state has changed")
		}
	})
}
