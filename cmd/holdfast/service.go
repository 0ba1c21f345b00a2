package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
)

// A service is what the listening verb does for those who call. The caller names
// it in the first message of the session, so that a ping which meets a chat is
// told so.
type service string

const (
	echoService  service = "echo"
	chatService  service = "chat"
	fileService  service = "file"
	benchService service = "bench"
	lookService  service = "look" // that of callers who only look at the way there: every verb that listens offers it
)

// Channels of every service.
const (
	helloChannel uint16 = iota // the service's name, and nothing else
	dataChannel
)

// Close codes.
const (
	closeDone uint64 = iota
	closeWrongService
	closeRefused
)

const helloTimeout = 10 * time.Second

// parsePeer reads a PEER argument.
func parsePeer(arg string) (node.Ticket, error) {
	if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(arg)), "hf") {
		return node.Ticket{}, program.Misused("PEER: %.40q is neither a ticket (hft1...) nor a peer ID (hf1...)", arg)
	}
	t, err := node.ParseTicket(arg)
	if err != nil {
		return t, program.Misused("PEER: %s", program.Plain(err))
	}
	return t, nil
}

// mayCall refuses a call that cannot succeed, before the node starts: one under
// the key of a verb that listens would take its place at the server.
func (r *run) mayCall(key node.Key, peer node.Ticket) error {
	switch {
	case peer.Peer == key.ID():
		return program.Hint(errors.New("PEER is yourself: both sides use the same key"), "give one of the two another identity, as in --key ./other.key")
	case len(r.servers) == 0 && len(peer.Servers) == 0 && len(peer.Addrs) == 0 && !r.lan:
		return program.Misused("a peer ID alone does not say where the peer is: add --server, use the ticket that the peer prints, or look for it here with --lan")
	case r.relayOnly && len(r.servers) == 0 && len(peer.Servers) == 0:
		return program.Misused("--relay-only needs a server to relay: add --server, or use a ticket that names one")
	}
	return nil
}

// call opens a session with the peer and asks for the service.
func (r *run) call(ctx context.Context, n *node.Node, peer node.Ticket, s service) (*node.Conn, error) {
	c, err := n.DialTicket(ctx, peer)
	if err != nil {
		return nil, explainDial(err)
	}
	if err := c.Channel(helloChannel, nil).Send(ctx, []byte(s)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func explainDial(err error) error {
	switch {
	case errors.Is(err, node.ErrPeerAbsent):
		return program.Hint(err, "is the other side running, and using the same rendezvous server?")
	case errors.Is(err, node.ErrOffline):
		return program.Hint(err, "is the rendezvous server running, and its UDP port open?")
	case errors.Is(err, node.ErrHandshakeTimeout), errors.Is(err, context.DeadlineExceeded):
		return program.Hint(err, "is the other side still running? A server lets both sides find each other again when addresses change")
	}
	return err
}

// serve accepts sessions until ctx ends, and runs handle for each that asks for
// the service. It returns when every handle has.
func (r *run) serve(ctx context.Context, n *node.Node, s service, handle func(context.Context, *node.Conn)) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		c, err := n.Accept(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		handlers.Go(func() {
			asked, err := greet(ctx, c, s)
			switch {
			case err != nil:
				r.log.WithField("peer", c.Peer().Short()).WithError(err).Warn("refused a session")
				return
			case asked == lookService:
				r.log.WithField("peer", c.Peer().Short()).Info("a peer looks at the way here")
				untilLeft(ctx, c)
			default:
				handle(ctx, c)
			}
			c.Close()
		})
	}
}

// untilLeft waits until the peer has left.
func untilLeft(ctx context.Context, c *node.Conn) {
	select {
	case <-c.Done():
	case <-ctx.Done():
	}
}

// greet reads the caller's hello and closes the session if it asks for a service
// that is not offered.
func greet(ctx context.Context, c *node.Conn, offered service) (asked service, err error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	m, err := c.Channel(helloChannel, nil).Recv(ctx)
	if err != nil {
		c.Close()
		return "", err
	}
	asked = service(m.Data)
	if asked != offered && asked != lookService {
		c.CloseWith(closeWrongService, fmt.Sprintf("this peer offers %s", offered))
		return "", fmt.Errorf("the peer asked for %q, not %q", program.Printable(string(asked)), offered)
	}
	return asked, nil
}

// ended turns the end of a session into the error of a verb: none if the peer
// was done, or its program has ended.
func ended(err error) error {
	if c, ok := errors.AsType[*node.CloseError](err); ok && c.Remote {
		if c.Code == closeDone || c.Code == node.CodeGoodbye {
			return nil
		}
		return fmt.Errorf("the peer closed the session: %s", program.Printable(c.Reason))
	}
	return err
}

// online is the result that a listening verb prints first: how to reach it.
type online struct {
	Event  string      `json:"event"`
	ID     node.PeerID `json:"id"`
	Ticket node.Ticket `json:"ticket"`

	invite string // what the other side is to type, before the ticket
}

func (o online) String() string {
	return fmt.Sprintf("ready; on the other machine run:\n\n   %s %s\n", o.invite, o.Ticket)
}

// announce waits until the node can be found, and prints its ticket.
func (r *run) announce(ctx context.Context, n *node.Node, invite string) error {
	t := r.ticket(n)
	if len(t.Servers) == 0 && len(t.Addrs) == 0 && !r.lan {
		return program.Misused("nobody could find this node: add --server, --lan, or --listen with an address of this machine")
	}
	if err := r.online(ctx, n); err != nil {
		return err
	}
	r.print.result(online{Event: "online", ID: n.ID(), Ticket: t, invite: invite})
	return nil
}

// ticket returns the node's ticket, with the addresses it was bound to if it was
// bound to any in particular and peers may know them.
func (r *run) ticket(n *node.Node) node.Ticket {
	t := n.Ticket()
	if r.relayOnly {
		return t
	}
	if addr := n.LocalAddr(); len(t.Addrs) == 0 && addr.IsValid() && !addr.Addr().IsUnspecified() {
		t.Addrs = append(t.Addrs, addr)
	}
	return t
}
