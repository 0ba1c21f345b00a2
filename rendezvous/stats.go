package rendezvous

// Stats counts what the server holds and has done.
type Stats struct {
	Sessions   int `json:"sessions"`
	Registered int `json:"registered"`

	Introductions    uint64 `json:"introductions"`     // both peers were told to probe
	Refused          uint64 `json:"refused"`           // the peer was absent or busy
	Limited          uint64 `json:"limited"`           // a client asked too much
	Malformed        uint64 `json:"malformed"`         // a message made no sense
	Rejected         uint64 `json:"rejected"`          // a session found no room
	Replaced         uint64 `json:"replaced"`          // a key registered again in a newer session
	RelayedDatagrams uint64 `json:"relayed_datagrams"` // and their bytes:
	RelayedBytes     uint64 `json:"relayed_bytes"`
	RelayDropped     uint64 `json:"relay_dropped"` // over the rate, the queue full, or nobody there
}
