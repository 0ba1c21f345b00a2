//go:build !linux

package node

import (
	"net"
	"net/netip"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A platformSocket is what a system adds to a UDP socket.
type platformSocket struct {
	receive, send int // buffers granted, in bytes; 0 if unknown
	one           [1]inbound
}

func (s *platformSocket) buffers() (receive, send int) { return s.receive, s.send }

func (s *platformSocket) batches() (receive, send bool) { return false, false }

func (s *platformSocket) marks() bool { return false }

func (s *platformSocket) read(conn *net.UDPConn, buf []byte, _ bool) ([]inbound, error) {
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		return nil, err
	}
	s.one[0] = inbound{from: unmapped(from), data: buf[:n]}
	return s.one[:], nil
}

func (s *platformSocket) poll() ([]inbound, error) { return nil, nil }

func (s *platformSocket) polls() bool { return false }

func (s *platformSocket) write(conn *net.UDPConn, b []byte, segment int, _ wire.ECN, to netip.AddrPort) error {
	return segments(b, segment, func(d []byte) error {
		_, err := conn.WriteToUDPAddrPort(d, to)
		return err
	})
}

func (s *platformSocket) post(conn *net.UDPConn, b []byte, to netip.AddrPort) error {
	return s.write(conn, b, 0, wire.NotECT, to)
}

func (s *platformSocket) flush() (failed int, err error) { return 0, nil }
