package node

// Lent reports whether a reader of the session's shard has lent its socket.
func (c *Conn) Lent() bool {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.shard.loan.sock != nil
}
