// Package lab is a laboratory for NAT traversal: hosts behind every kind of NAT,
// firewall and carrier, a rendezvous server, and the outcome that each pair of
// them must come to.
//
//	   Internet: 8 hops, a delay
//	  /          |             \
//	server    router a       router b, perhaps behind a carrier's
//	             |              |
//	           node           node
//
// Its network is a pretend one (package nodetest) on the clock of the process.
// Inside a bubble of testing/synctest that is virtual time, and a matrix of all
// pairs takes seconds:
//
//	synctest.Test(t, func(t *testing.T) {
//		r, err := lab.Run(t.Context(), lab.Pair{A: lab.PortRestricted, B: lab.Linux}, lab.Options{Seed: 1})
//		...
//	})
//
// Outside of one, as in "holdfast lab", it takes as long as it says. The same
// kinds of NAT exist as the Linux kernel's own, in network namespaces, for the
// tests of cmd/holdfast: what these say is the truth.
package lab
