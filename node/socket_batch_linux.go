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
	to      *sender // of the same socket
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

func newSendBatch(to *sender) *sendBatch {
	b := &sendBatch{to: to}
	b.call = b.send
	for i := range b.heads {
		h := &b.heads[i].Msghdr
		h.Iov = &b.parts[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.parts[i].Base = &b.data[i][0]
	}
	return b
}

func (b *sendBatch) add(d []byte, to netip.AddrPort) {
	b.parts[b.n].SetLen(copy(b.data[b.n][:], d))
	b.heads[b.n].Namelen = b.to.address(&b.names[b.n], to)
	b.n++
}

// flush sends all that is held. A datagram that cannot be sent holds up no other.
func (b *sendBatch) flush() (failed int, err error) {
	for b.sent < b.n {
		if e := b.to.raw.Write(b.call); e != nil {
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
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.heads[b.sent])), uintptr(b.n-b.sent), unix.MSG_DONTWAIT, 0, 0)
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

// post has a short datagram sent with others, if its address allows for that.
func (s *platformSocket) post(conn *net.UDPConn, d []byte, to netip.AddrPort) error {
	if s.one == nil {
		return s.write(conn, d, 0, wire.NotECT, to)
	}
	if s.out == nil {
		s.out = newSendBatch(s.one)
	}
	var err error
	if s.out.n == batchMax {
		_, err = s.out.flush()
	}
	if !s.one.reaches(to.Addr()) {
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
