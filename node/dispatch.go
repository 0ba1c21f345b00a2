package node

import "github.com/seed-67dce94e/holdfast/session"

// A dispatcher calls the application's Handler, Trace and Logger from one
// goroutine, with no lock held: what the application does there, even blocking
// for ever, never holds up datagrams. What waits for it is bounded: a session is
// in the queue at most once, and its messages stay in the core until they are
// handed out, so that a slow Handler slows its peers down.
type dispatcher struct {
	shard   *shard
	off     bool // nobody listens
	wake    chan struct{}
	exited  chan struct{}
	stopped bool

	queue []*Conn // that have something to tell
	notes []func()
	buf   []byte // holds the message that the Handler looks at
}

const (
	notesMax = 256 // beyond it, notes are dropped: nobody reads them as fast as they come
	turnMax  = 32  // messages of one session before it is another's turn
)

// untold is what the application has not been told of a session.
type untold struct {
	queued    bool
	connected bool
	messages  bool
	stranded  bool
	closed    bool
	from      *Path // before the first move that is untold; nil if there was none
}

func (d *dispatcher) start(s *shard) {
	cfg := &s.node.cfg
	d.shard = s
	d.off = cfg.Handler == nil && cfg.Trace == nil && cfg.Logger == nil
	if d.off {
		return
	}
	d.wake = make(chan struct{}, 1)
	d.exited = make(chan struct{})
	go d.run()
}

func (d *dispatcher) run() {
	defer close(d.exited)
	for range d.wake {
		for d.step() {
		}
	}
}

// stop lets the goroutine end once it has told all there is. The shard is locked.
func (d *dispatcher) stop() {
	if !d.off && !d.stopped {
		d.stopped = true
		close(d.wake)
	}
}

// flush wakes the goroutine if there is something to tell. The shard is locked.
func (d *dispatcher) flush() {
	if d.stopped || len(d.queue) == 0 && len(d.notes) == 0 {
		return
	}
	select {
	case d.wake <- struct{}{}:
	default: // it is awake, or will be
	}
}

// The methods below note what is to be told. The shard is locked.

func (d *dispatcher) note(f func()) {
	if !d.off && len(d.notes) < notesMax {
		d.notes = append(d.notes, f)
	}
}

func (d *dispatcher) enqueue(c *Conn) *untold {
	if !d.off && !c.untold.queued {
		c.untold.queued = true
		d.queue = append(d.queue, c)
	}
	return &c.untold
}

func (d *dispatcher) connected(c *Conn) { d.enqueue(c).connected = true }
func (d *dispatcher) messages(c *Conn)  { d.enqueue(c).messages = true }
func (d *dispatcher) stranded(c *Conn)  { d.enqueue(c).stranded = true }
func (d *dispatcher) closed(c *Conn)    { d.enqueue(c).closed = true }

// pathChanged notes that data left the path from. Several moves become one.
func (d *dispatcher) pathChanged(c *Conn, from Path) {
	u := d.enqueue(c)
	if u.from == nil {
		u.from = &from
	}
}

// step tells one thing and reports whether there was any.
func (d *dispatcher) step() bool {
	s := d.shard
	s.mu.Lock()
	if len(d.notes) > 0 {
		notes := d.notes
		d.notes = nil
		s.mu.Unlock()
		for _, f := range notes {
			f()
		}
		return true
	}
	if len(d.queue) == 0 {
		s.mu.Unlock()
		return false
	}
	c := d.queue[0]
	d.queue[0] = nil
	d.queue = d.queue[1:]
	u, path, err := c.untold, c.path, c.err
	c.untold = untold{}
	s.mu.Unlock()
	d.tell(c, &u, path, err)
	return true
}

func (d *dispatcher) tell(c *Conn, u *untold, path Path, err error) {
	handler, trace := d.shard.node.cfg.Handler, d.shard.node.cfg.Trace
	if trace == nil {
		trace = &Trace{}
	}
	if u.connected {
		call(trace.Connected, c)
		if handler != nil {
			handler.Connected(c)
		}
	}
	if u.from != nil && !path.same(*u.from) {
		if trace.PathChanged != nil {
			trace.PathChanged(c, *u.from, path)
		}
		if handler != nil {
			handler.PathChanged(c, *u.from, path)
		}
	}
	if u.stranded {
		call(trace.Stranded, c)
	}
	if (u.messages || u.closed) && handler != nil && d.hand(c, handler) {
		d.again(c, u.closed)
		return
	}
	if u.closed {
		if trace.Closed != nil {
			trace.Closed(c, err)
		}
		if handler != nil {
			handler.Closed(c, err)
		}
	}
}

func call(hook func(*Conn), c *Conn) {
	if hook != nil {
		hook(c)
	}
}

// hand gives messages to the handler and reports whether there may be more.
func (d *dispatcher) hand(c *Conn, h Handler) bool {
	for range turnMax {
		m, ok := d.next(c)
		if !ok {
			return false
		}
		h.Message(c, m)
	}
	return true
}

// next takes a message into d.buf, which grows to the largest that came.
func (d *dispatcher) next(c *Conn) (m Message, ok bool) {
	d.shard.drive(func(now session.Time) {
		ok = !c.closing && c.inTurn(func(channel uint16) bool {
			n, mode, got, err := c.sess.RecvInto(now, channel, d.buf)
			if err != nil {
				d.buf = make([]byte, max(n, 2*len(d.buf)))
				n, mode, got, _ = c.sess.RecvInto(now, channel, d.buf)
			}
			m = Message{Channel: channel, Mode: mode, Data: d.buf[:n]}
			return got
		})
	})
	return m, ok
}

// again puts c at the end of the queue.
func (d *dispatcher) again(c *Conn, closed bool) {
	d.shard.mu.Lock()
	defer d.shard.mu.Unlock()
	u := d.enqueue(c)
	u.messages = true
	u.closed = u.closed || closed
}
