package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/rendezvous"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A World is a pretend Internet with a rendezvous server, and nodes behind what
// keeps them apart.
type World struct {
	Net    *nodetest.Net
	Server *rendezvous.Server

	link   wiretest.Link
	host   *wiretest.Host // of the server
	key    node.Key
	places []Place
}

// A Place is where a node is.
type Place struct {
	Kind   Kind
	Host   *wiretest.Host
	Router *wiretest.NAT // next to the host; nil if there is none
	Node   *node.Node
}

var (
	server4 = netip.MustParseAddr("203.0.113.250")
	server6 = netip.MustParseAddr("2001:db8::250")
)

const serverPort = 3478

// New makes a world in which chance is decided by the seed, and any two hosts are
// oneWay apart.
func New(seed uint64, oneWay time.Duration) (*World, error) {
	w := &World{Net: nodetest.New(seed), link: wiretest.Link{Delay: oneWay / 2}}
	w.host = w.Net.Host("server", nil, server4, server6)
	w.Net.Do(func(*wiretest.Net) { w.host.SetLink(w.link) })
	var err error
	if w.key, err = node.NewKey(); err != nil {
		return nil, err
	}
	return w, w.StartServer()
}

// StartServer starts the server, with the same key and address every time.
func (w *World) StartServer() (err error) {
	w.Server, err = rendezvous.Listen(&rendezvous.Config{
		Key: w.key, Stack: w.Net.Stack(w.host), Addr: fmt.Sprintf(":%d", serverPort),
	})
	return err
}

// Close ends the nodes and the server.
func (w *World) Close() {
	for _, p := range w.places {
		p.Node.Close()
	}
	w.Server.Close()
}

// Add puts a node on a network of the kind. Of cfg, which may be nil, it sets what
// ties the node to the world.
func (w *World) Add(k Kind, cfg *node.Config) (Place, error) {
	return w.start(place(w.Net, k, byte(len(w.places)+1), w.link), cfg)
}

// AddBehind is Add for a host behind a NAT that is none of the kinds.
func (w *World) AddBehind(nat wiretest.NATConfig, cfg *node.Config) (Place, error) {
	return w.start(placeBehind(w.Net, Random, nat, byte(len(w.places)+1), w.link), cfg)
}

func (w *World) start(p Place, cfg *node.Config) (Place, error) {
	var c node.Config
	if cfg != nil {
		c = *cfg
	}
	c.Stack = w.Net.Stack(p.Host)
	c.Rendezvous = []string{w.serverFor(p.Kind)}
	var err error
	if p.Node, err = node.Listen(&c); err != nil {
		return p, err
	}
	w.places = append(w.places, p)
	return p, nil
}

// serverFor names the server by an address that a host of the kind can reach.
func (w *World) serverFor(k Kind) string {
	at := server4
	if k == IPv6Firewall {
		at = server6
	}
	server := w.Server.Server()
	server.Addr = netip.AddrPortFrom(at, serverPort).String()
	return server.String()
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
