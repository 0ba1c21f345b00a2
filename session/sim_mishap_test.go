package session

import (
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// mishap lets one thing go wrong.
func (sim *simulation) mishap() {
	s := sim.spokes[sim.rng.IntN(len(sim.spokes))]
	switch sim.rng.IntN(15) {
	case 0, 1:
		sim.rebind(s)
	case 2:
		sim.darkness(s.peer)
	case 3:
		sim.move(s)
	case 4:
		sim.restart(s)
	case 5:
		sim.restartHub()
	case 6:
		s.host.SetLink(sim.link())
	case 7:
		sim.pause(s)
	case 8:
		sim.close(s)
	case 9:
		sim.sleep(s.peer)
	case 10:
		sim.dialBack(s)
	case 11, 12:
		sim.introduce(s)
	case 13:
		sim.retry(s)
	case 14:
		sim.dozeOff(s)
	}
}

// retry makes one side think that its network is back, rightly or not.
func (sim *simulation) retry(s *spoke) {
	if x := s.with(sim.hub); x != nil {
		s.change(x.Retry)
	}
}

// dozeOff lets one side be silent for minutes, as far as it has nothing to say.
func (sim *simulation) dozeOff(s *spoke) {
	if x := s.with(sim.hub); x != nil {
		s.change(func(now Time) { x.SetKeepAlive(now, 5*time.Minute) })
	}
}

func (sim *simulation) rebind(s *spoke) {
	if s.nat == nil {
		return
	}
	if sim.chance(0.5) {
		sim.net.Ladder().Note(sim.vtime(), s.name+": the NAT forgets its mappings")
		s.nat.Rebind()
		return
	}
	sim.net.Ladder().Note(sim.vtime(), s.name+": the NAT gets another address")
	s.nat.Renumber(sim.address())
}

func (sim *simulation) darkness(p *peer) {
	sim.net.Ladder().Note(sim.vtime(), p.name+" goes dark")
	p.host.Up.Blackhole, p.host.Down.Blackhole = true, sim.chance(0.5)
	sim.at(sim.upTo(2*time.Second), func() { p.host.Up.Blackhole, p.host.Down.Blackhole = false, false })
}

// move takes a spoke to another network. It may or may not notice.
func (sim *simulation) move(s *spoke) {
	sim.net.Ladder().Note(sim.vtime(), s.name+" moves")
	s.nat, s.home = nil, sim.address()
	s.host.Move(nil, s.home)
	if x := s.with(sim.hub); x != nil && sim.chance(0.7) {
		s.change(x.Moved)
	}
}

func (sim *simulation) restart(s *spoke) {
	s.peer.restart()
	s.dialing = nil
	sim.at(sim.upTo(100*time.Millisecond), func() { sim.dialHub(s) })
}

func (sim *simulation) restartHub() {
	sim.hub.restart()
	for _, s := range sim.spokes {
		s.dialed = nil
	}
}

// pause lets the application of the spoke leave a channel unread for a while.
func (sim *simulation) pause(s *spoke) {
	ch := uint16(sim.rng.IntN(4))
	s.slow[ch] = true
	sim.at(sim.upTo(time.Second), func() { s.resume(ch) })
}

func (p *peer) resume(channel uint16) {
	delete(p.slow, channel)
	for _, s := range p.sessions {
		p.change(func(Time) { p.take(s, channel) })
	}
}

func (sim *simulation) close(s *spoke) {
	x := s.with(sim.hub)
	if x == nil {
		return
	}
	s.change(func(now Time) {
		if sim.chance(0.5) {
			x.Close(now, 1, "enough")
		} else {
			x.CloseWhenSent(now, 2, "all said")
		}
	})
}

// sleep suspends a machine for a while.
func (sim *simulation) sleep(p *peer) {
	sim.net.Ladder().Note(sim.vtime(), p.name+" sleeps")
	p.asleep = true
	sim.at(sim.upTo(3*time.Second), func() { p.asleep = false })
}

// dialBack lets the hub dial a spoke of which it has no session, so that dials
// cross.
func (sim *simulation) dialBack(s *spoke) {
	if sim.hub.with(s.peer) != nil || s.dialed != nil && s.dialed.sendable() == nil {
		return
	}
	var paths []Path
	if s.nat == nil {
		paths = append(paths, s.path())
	}
	if s.onHub.IsRelay() {
		paths = append(paths, s.onHub)
	}
	if len(paths) > 0 {
		s.dialed = sim.hub.dial(s.peer, paths...)
	}
}

// introduce tells a spoke and the hub where the other one seems to be.
func (sim *simulation) introduce(s *spoke) {
	const port = 3478
	seen := make(map[*peer]netip.AddrPort)
	before := sim.onCatch
	sim.onCatch = func(d wiretest.Packet) bool {
		if d.Host != sim.rendezvous {
			return before != nil && before(d)
		}
		for _, p := range []*peer{s.peer, sim.hub} {
			if string(d.Data) == p.name {
				seen[p] = d.From
			}
		}
		x, y := s.with(sim.hub), sim.hub.with(s.peer)
		if len(seen) == 2 && x != nil && y != nil {
			s.addPath(x, Path{Remote: seen[sim.hub]})
			sim.hub.addPath(y, Path{Remote: seen[s.peer]})
		}
		return true
	}
	for _, p := range []*peer{s.peer, sim.hub} {
		p.host.Send(sim.vtime(), p.port, netip.AddrPortFrom(sim.rendezvous.Addrs()[0], port), []byte(p.name))
	}
}

func (sim *simulation) misbehave() bool {
	m := sim.mallory
	switch {
	case m.keys == nil && m.hs != nil && !sim.chance(0.1):
	case m.keys == nil || sim.chance(0.05):
		m.dial()
	case sim.chance(0.2):
		m.acknowledge()
	default:
		m.mischief()
	}
	return !sim.healed
}
