package rendezvous_test

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// The NATs that nodes are behind, from easy to hard (RFC 4787 §4.1 and §5).
var nats = []struct {
	name string
	cfg  wiretest.NATConfig
}{
	{"EIM+EIF", wiretest.NATConfig{}},
	{"EIM+ADF", wiretest.NATConfig{Filtering: wiretest.AddressDependent}},
	{"EIM+APDF", wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent}},
	{"EIM+APDF,poisoned", wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent, Poisoned: true}},
	{"ADM+APDF", wiretest.NATConfig{Mapping: wiretest.AddressDependent, Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort}},
	{"APDM+APDF", wiretest.NATConfig{Mapping: wiretest.AddressAndPortDependent, Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort}},
}

const (
	direct  = node.Direct
	relayed = node.Relayed
)

// What each pair must come to. Two endpoint-independent mappings always meet,
// since both sides probe at once. Behind another mapping the port that the peer
// was told is not the one that the probe comes from: then the peer's filter
// must not look at ports.
var outcomes = [][]node.PathKind{
	/* EIM+EIF           */ {direct, direct, direct, direct, direct, direct},
	/* EIM+ADF           */ {direct, direct, direct, direct, direct, direct},
	/* EIM+APDF          */ {direct, direct, direct, direct, relayed, relayed},
	/* EIM+APDF,poisoned */ {direct, direct, direct, direct, relayed, relayed},
	/* ADM+APDF          */ {direct, direct, relayed, relayed, relayed, relayed},
	/* APDM+APDF         */ {direct, direct, relayed, relayed, relayed, relayed},
}

func TestEachPairOfNATsComesToWhatItCan(t *testing.T) {
	for i, a := range nats {
		for k, b := range nats {
			t.Run(a.name+" dials "+b.name, func(t *testing.T) {
				inLab(t, func(t *testing.T, l *lab) {
					na, _ := l.behind(1, a.cfg)
					nb, _ := l.behind(2, b.cfg)
					ab, ba := l.connect(na, nb)
					l.exchange(ab, ba)
					want := outcomes[i][k]
					begun := time.Now()
					met := eventually(3*time.Second, func() bool { return bothDirect(ab, ba) })
					if met != (want == direct) {
						t.Errorf("paths %v and %v, want %v", ab.Path(), ba.Path(), want)
					}
					if took := time.Since(begun); met && took > 300*time.Millisecond {
						t.Errorf("direct after %v", took)
					}
					l.exchange(ab, ba)
				})
			})
		}
	}
}

// The NAT of the first has a mapping for its peer alone, and forgets it when
// nothing uses it. Keepalives hold on to one that lives longer than the time
// between them; the other is gone when the peer speaks, and the session finds a
// way all the same.
func TestIdleSessionOutlivesMappings(t *testing.T) {
	for _, c := range []struct {
		lifetime time.Duration
		within   time.Duration // a message each way, after minutes of silence
	}{
		{20 * time.Second, 200 * time.Millisecond},
		{10 * time.Second, 2 * time.Second},
	} {
		t.Run(c.lifetime.String(), func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				na, _ := l.behind(1, wiretest.NATConfig{
					Mapping: wiretest.AddressAndPortDependent, Filtering: wiretest.AddressAndPortDependent,
					Ports: wiretest.RandomPort, Lifetime: c.lifetime,
				})
				nb, _ := l.behind(2, wiretest.NATConfig{})
				ab, ba := l.connect(na, nb)
				l.exchange(ab, ba)
				if !eventually(3*time.Second, func() bool { return bothDirect(ab, ba) }) {
					t.Fatalf("paths %v and %v", ab.Path(), ba.Path())
				}
				for range 5 {
					time.Sleep(2*time.Minute + 13*time.Second)
					begun := time.Now()
					l.exchange(ba, ab) // the other speaks first
					if took := time.Since(begun); took > c.within {
						t.Errorf("a message each way took %v", took)
					}
				}
				if !eventually(40*time.Second, func() bool { return bothDirect(ab, ba) }) {
					t.Errorf("paths %v and %v", ab.Path(), ba.Path())
				}
			})
		})
	}
}
