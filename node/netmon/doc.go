// Package netmon tells that the machine's network changed: an address came or
// went, the default route moved to another address, or the machine slept.
//
//	m := netmon.Start(netmon.Config{})
//	defer m.Close()
//	for c := range m.Changes() {
//		if !c.Minor() {
//			// probe every path, ask for introductions
//		}
//	}
//
// # What is watched
//
// A [Snapshot] holds what a node could send from: the interfaces that are up,
// their addresses, and the source address of the default route of either
// family. The system says only that something happened, and even that not
// reliably; whether it matters is decided by comparing two snapshots. Link-local
// addresses and interfaces without any other are not in them, so the coming and
// going of containers on the machine is no change.
//
//	Linux      rtnetlink      ┐
//	BSD, macOS routing socket ├─ event ─ 10 ms ─ snapshot ─┬─ same: nothing
//	Windows    IP helper      │                            ├─ a way out appeared: Change at once
//	none       poll, 10 s     ┘                            └─ else: Change once it is quiet
//
// # How soon
//
// A device that gets a usable address, or another source address, is told of at
// once: sessions are waiting for it. A loss waits until nothing was lost or
// gained for 250 ms, for at most 1 s in all, since a lease that is renewed or an
// access point that is changed often brings the address back; if it does, nothing
// happened. These times are constants in settle.go.
//
// # Sleep
//
// Timers stop while a machine sleeps, and so does the monotonic clock: nothing
// in the process notices. The monitor compares the time of day with that of 5 s
// ago, and calls what is far more than 5 s a sleep. That a clock was set, or the
// process was stopped, looks the same; to the other side of a session it is.
//
// # What it cannot see
//
// Two networks that give a machine the same address look alike, unless there was
// no network between them for longer than a loss may last. Sessions find out by
// themselves then, as they do when a NAT on the way forgets them.
package netmon
