package node

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A Status is a snapshot of a node, ready for JSON.
type Status struct {
	ID        PeerID           `json:"id"`
	Addresses []netip.AddrPort `json:"addresses"` // of the local sockets, on each interface that peers may reach
	Reflexive []netip.AddrPort `json:"reflexive"` // as servers see the node
	NAT       wire.NAT         `json:"nat"`       // before the node, as peers are told
	Public    Verdict          `json:"public"`    // there is none
	Surveyed  bool             `json:"surveyed"`  // until it is true, more is being found out about it
	Servers   []ServerStatus   `json:"servers"`
	Peers     []PeerStatus     `json:"peers"`
	Socket    SocketStatus     `json:"socket"`
}

// A ServerStatus is what a node knows of one of its rendezvous servers.
type ServerStatus struct {
	ID       PeerID         `json:"id"`
	Addr     string         `json:"addr"` // as configured
	State    ServerState    `json:"state"`
	RTT      time.Duration  `json:"rtt_ns"`
	Observed netip.AddrPort `json:"observed"`        // this node's address as the server sees it
	Error    string         `json:"error,omitempty"` // why the server could not be reached, or was lost
}

// A ServerState says how far the session with a rendezvous server has come.
type ServerState uint8

// Server states.
const (
	ServerDown       ServerState = iota // not reachable; tried again by itself
	ServerConnected                     // a session is open
	ServerRegistered                    // the server introduces and relays for this node
)

var serverStateNames = [...]string{"down", "connected", "registered"}

// String returns "down", "connected" or "registered".
func (s ServerState) String() string {
	if int(s) < len(serverStateNames) {
		return serverStateNames[s]
	}
	return "unknown"
}

// MarshalText implements [encoding.TextMarshaler].
func (s ServerState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A PeerStatus is one session of a node.
type PeerStatus struct {
	ID      PeerID    `json:"id"`
	Session uuid.UUID `json:"session"`
	Path    Path      `json:"path"`
}

// A SocketStatus counts what the node's sockets met.
type SocketStatus struct {
	ReceiveBuffer int                     `json:"receive_buffer"` // bytes the system granted; 0 if unknown
	SendBuffer    int                     `json:"send_buffer"`
	GRO           bool                    `json:"gro"` // the system hands over many datagrams in one call (Linux, UDP_GRO)
	GSO           bool                    `json:"gso"` // and takes many (Linux, UDP_SEGMENT), unless a driver has failed at it
	ECN           bool                    `json:"ecn"` // it sets and tells ECN marks (Linux), unless it has refused to
	ReadErrors    uint64                  `json:"read_errors"`
	WriteErrors   uint64                  `json:"write_errors"`   // datagrams lost to an error of the system
	RelayDropped  uint64                  `json:"relay_dropped"`  // datagrams for a relay that could not be asked
	StreamDropped uint64                  `json:"stream_dropped"` // datagrams that found no room in a WebSocket
	Misrouted     uint64                  `json:"misrouted"`      // datagrams that came to the socket of another shard
	SideFailed    uint64                  `json:"side_failed"`    // sockets for meeting a peer that could not be opened
	Rebinds       uint64                  `json:"rebinds"`
	NetworkMoved  uint64                  `json:"network_moved"` // times that the network of the machine changed
	Core          []session.EndpointStats `json:"core"`          // of each shard
}

// Status returns a snapshot of the node.
func (n *Node) Status() Status {
	st := Status{
		ID:        n.id,
		Addresses: []netip.AddrPort{}, // in JSON, nothing is [] and not null
		Reflexive: []netip.AddrPort{},
		Servers:   []ServerStatus{},
		Peers:     []PeerStatus{},
	}
	st.Socket.ReadErrors = n.readErrors.Load()
	st.Socket.Misrouted = n.misrouted.Load()
	st.Socket.Rebinds = n.rebinds.Load()
	st.Socket.NetworkMoved = n.networkChanges.Load()
	for _, s := range n.shards {
		s.addStatus(&st)
	}
	slices.SortFunc(st.Peers, func(a, b PeerStatus) int { return bytes.Compare(a.Session[:], b.Session[:]) })
	return st
}

func (s *shard) addStatus(st *Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == 0 { // the others have the same
		for _, host := range s.node.hosts(s.sockets) {
			st.Addresses = append(st.Addresses, host.Addr)
		}
		for _, sock := range s.sockets.all() {
			st.Socket.ReceiveBuffer, st.Socket.SendBuffer = sock.buffers()
			st.Socket.GRO, st.Socket.GSO = sock.batches()
			st.Socket.ECN = sock.marks()
		}
	}
	st.Socket.WriteErrors += s.writeErrors
	st.Socket.StreamDropped += s.streamDropped
	st.Socket.Core = append(st.Socket.Core, s.core.Stats())
	for c := range s.conns {
		st.Peers = append(st.Peers, PeerStatus{ID: c.Peer(), Session: c.id, Path: c.presentPath()})
	}
	if s.reach != nil {
		s.reach.addStatus(st)
	}
}

func (r *rendezvous) addStatus(st *Status) {
	st.Socket.RelayDropped, st.Socket.SideFailed = r.dropped, r.sideFailed
	st.Reflexive = append(st.Reflexive, r.client.Reflexive()...)
	f := r.client.Findings()
	st.NAT, st.Public, st.Surveyed = f.NAT, f.Public, f.Done
	for i := range r.client.Servers() {
		server := r.client.Server(i)
		row := ServerStatus{
			ID: server.Server.ID, Addr: server.Server.Addr,
			State: serverStateOf(server.State), RTT: server.RTT, Observed: server.Observed,
		}
		if server.Err != nil {
			row.Error = server.Err.Error()
		}
		st.Servers = append(st.Servers, row)
	}
}

func serverStateOf(s reach.ServerState) ServerState {
	switch s {
	case reach.Online:
		return ServerRegistered
	case reach.Connected:
		return ServerConnected
	}
	return ServerDown
}
