package node

// Lent reports whether a reader of the session's shard has lent its socket.
func (c *Conn) Lent() bool {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.shard.loan.sock != nil
}

// SpareKey returns what the next handshake takes, to be compared; nil if that is not made
// yet.
func (n *Node) SpareKey() any {
	if next := n.spare.next.Load(); next != nil {
		return next
	}
	return nil
}

// BurstRun returns how many messages were sent without a pause, up to steadyRun.
func (c *Conn) BurstRun() int {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return int(c.burst.run)
}
