package congestion

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A run of acknowledgements tells a rate if it is as even, as long, and has as many
// bytes as this.
const (
	trainAcks  = 5
	trainBytes = 6 // datagrams
	trainLeast = 300 * time.Microsecond
	trainEven  = 2 // parts, more than one of which no pause takes
	trainPress = 2 // how many times as fast as it is acknowledged it must have been sent
)

// A train is datagrams that were sent at once and that the slowest link of the path
// has spread: they are acknowledged as fast as it carries them. That is known a round
// trip after the first message, when nothing has filled the path yet. (It is what packet
// pairs measure, but two datagrams do not tell a link from chance.) Where a link sends in
// bunches of its own, acknowledgements come together or with a pause that stands
// out, and tell nothing.
type train struct {
	sent  clock.Time // when the newest frame of the first acknowledgement was
	from  clock.Time // when that came
	last  clock.Time // when the last one came
	pause time.Duration
	acks  int
	bytes int // acknowledged since the first

	rate   uint64 // the least that a train has told, in bytes a second; 0 if none has
	before uint64 // without this one
}

// onAck takes an acknowledgement of bytes, the newest of which were sent at sent.
func (t *train) onAck(now, sent clock.Time, bytes, mds int) {
	took := now.Sub(t.from)
	if t.acks == 0 || trainPress*sent.Sub(t.sent) > took {
		*t = train{sent: sent, from: now, last: now, acks: 1, rate: t.rate, before: t.rate}
		return
	}
	t.pause = max(t.pause, now.Sub(t.last))
	t.last = now
	t.acks++
	t.bytes += bytes
	if t.acks >= trainAcks && t.bytes >= trainBytes*mds && took >= trainLeast && t.pause*trainEven <= took {
		t.rate = mulDiv(uint64(t.bytes), uint64(time.Second), uint64(took))
		if t.before > 0 { // a reader that wakes up late for the first is the usual mistake
			t.rate = min(t.rate, t.before)
		}
	}
}
