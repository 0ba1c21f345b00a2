package node

import (
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"github.com/seed-67dce94e/holdfast/wire"
	"golang.org/x/sys/unix"
)

// A sendBatch holds short datagrams, to whatever addresses, for sendmmsg(2).
type sendBatch struct {
	raw     syscall.RawConn
	isIPv4  bool // of the socket; one for IPv6 may serve both
	n, sent int
	errno   syscall.Errno

	heads [batchMax]mmsghdr
	parts [batchMax]unix.Iovec
	names [batchMax]unix.RawSockaddrInet6 // or RawSockaddrInet4 in the same place
	data  [batchMax][shortMax]byte

	call func(fd uintptr) bool // send, bound once
}

// mmsghdr is struct mmsghdr of sendmmsg(2) and recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	len uint32
}

func newSendBatch(conn *net.UDPConn) (*sendBatch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &sendBatch{raw: raw}
	b.call = b.send
	raw.Control(func(fd uintptr) {
		domain, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		b.isIPv4 = domain == unix.AF_INET
	})
	for i := range b.heads {
		h := &b.heads[i].Msghdr
		h.Iov = &b.parts[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Namelen = unix.SizeofSockaddrInet6
		if b.isIPv4 {
			h.Namelen = unix.SizeofSockaddrInet4
		}
		b.parts[i].Base = &b.data[i][0]
	}
	return b, nil
}

func (b *sendBatch) add(d []byte, to netip.AddrPort) {
	b.parts[b.n].SetLen(copy(b.data[b.n][:], d))
	name := &b.names[b.n]
	if b.isIPv4 {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		name.Family, name.Addr = unix.AF_INET, to.Addr().As4()
		name.Port = networkOrder(to.Port())
	} else {
		name.Family, name.Addr = unix.AF_INET6, to.Addr().As16()
		name.Port = networkOrder(to.Port())
	}
	b.n++
}

func networkOrder(port uint16) (n uint16) {
	*(*[2]byte)(unsafe.Pointer(&n)) = [2]byte{byte(port >> 8), byte(port)}
	return n
}

// flush sends all that is held. A datagram that cannot be sent holds up no other.
func (b *sendBatch) flush() (failed int, err error) {
	for b.sent < b.n {
		if e := b.raw.Write(b.call); e != nil {
			failed, err = failed+b.n-b.sent, e // the socket is closed
			break
		}
		if b.errno != 0 {
			failed, err = failed+1, b.errno
			b.sent++
		}
	}
	b.n, b.sent = 0, 0
	return failed, err
}

// send makes the system call. It reports false if it has to wait for room.
func (b *sendBatch) send(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.heads[b.sent])), uintptr(b.n-b.sent), 0, 0, 0)
	switch b.errno = errno; errno {
	case 0:
		b.sent += int(n)
	case unix.EAGAIN:
		return false
	case unix.EINTR:
		b.errno = 0
	}
	return true
}

// post has a short datagram sent with others. One whose address has a zone, which
// the system wants as a number, goes alone.
func (s *platformSocket) post(conn *net.UDPConn, d []byte, to netip.AddrPort) error {
	if s.out == nil {
		var err error
		if s.out, err = newSendBatch(conn); err != nil {
			return err
		}
	}
	var err error
	if s.out.n == batchMax {
		_, err = s.out.flush()
	}
	if to.Addr().Zone() != "" || s.out.isIPv4 && !to.Addr().Is4() {
		return s.write(conn, d, 0, wire.NotECT, to)
	}
	s.out.add(d, to)
	return err
}

func (s *platformSocket) flush() (failed int, err error) {
	if s.out == nil {
		return 0, nil
	}
	return s.out.flush()
}
