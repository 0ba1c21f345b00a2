package session

import (
	"bytes"
	"net/netip"
)

// A stranger sees what crosses the internet and sends whatever it likes from
// wherever it likes, but it holds back nothing and has no keys.
type stranger struct {
	sim    *simulation
	seen   [64]heard
	n      int
	racing bool // copies datagrams that are still on their way
}

// racer is the address from which a racing stranger sends its copies.
var racer = netip.MustParseAddr("192.0.2.77")

type heard struct {
	from, to netip.AddrPort
	data     []byte
}

func newStranger(sim *simulation) *stranger {
	x := &stranger{sim: sim, racing: sim.chance(0.3)}
	sim.onTap = func(from, to netip.AddrPort, data []byte) {
		x.seen[x.n%len(x.seen)] = heard{from, to, bytes.Clone(data)}
		x.n++
		if x.racing && !sim.healed && sim.chance(0.05) && from.Addr() != racer {
			// The copy comes first if the link of the receiver lets it.
			sim.net.Inject(sim.vtime(), netip.AddrPortFrom(racer, from.Port()), to, data)
		}
	}
	return x
}

func (x *stranger) act() bool {
	if x.n == 0 {
		return !x.sim.healed
	}
	rng := x.sim.rng
	h := x.seen[rng.IntN(min(x.n, len(x.seen)))]
	from, to, data := h.from, h.to, bytes.Clone(h.data)
	if len(data) == 0 {
		return !x.sim.healed
	}
	switch rng.IntN(6) {
	case 0: // replay
	case 1: // replay as if the sender had moved
		from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(256))}), uint16(1+rng.IntN(65535)))
	case 2: // forge
		data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
	case 3: // reflect
		from, to = to, from
	case 4: // truncate
		data = data[:rng.IntN(len(data))]
	case 5: // noise that looks like a frame of ours
		for i := range data[1:] {
			data[1+i] = byte(rng.Uint32())
		}
	}
	x.sim.net.Inject(x.sim.vtime(), from, to, data)
	return !x.sim.healed
}
