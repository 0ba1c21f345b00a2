package node

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls that send and receive are told not to wait. So they are made without
// telling Go's scheduler, which would wake its monitor thread for the first one after
// each pause of the process: a conversation of short messages, which pauses between any
// two, took a third more of the processor for that.

// A sender is sendmsg(2) on one socket.
type sender struct {
	raw    syscall.RawConn
	isIPv4 bool // the socket; one for IPv6 may serve both

	head  unix.Msghdr
	part  unix.Iovec
	name  unix.RawSockaddrInet6 // or RawSockaddrInet4 in the same place
	errno syscall.Errno

	call func(fd uintptr) bool // transmit, bound once
}

func newSender(raw syscall.RawConn) *sender {
	s := &sender{raw: raw}
	s.call = s.transmit
	raw.Control(func(fd uintptr) {
		domain, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		s.isIPv4 = domain == unix.AF_INET
	})
	s.head.Iov = &s.part
	s.head.SetIovlen(1)
	s.head.Name = (*byte)(unsafe.Pointer(&s.name))
	return s
}

// reaches reports whether the address can be given to the system. It wants a zone as a
// number, and none of the other family.
func (s *sender) reaches(a netip.Addr) bool { return a.Zone() == "" && (a.Is4() || !s.isIPv4) }

// send makes the system call, once there is room for what it sends.
func (s *sender) send(b, control []byte, to netip.AddrPort) error {
	s.part.Base = unsafe.SliceData(b)
	s.part.SetLen(len(b))
	s.head.Control = unsafe.SliceData(control)
	s.head.SetControllen(len(control))
	s.head.Namelen = s.address(&s.name, to)
	err := s.raw.Write(s.call)
	s.part.Base = nil
	if err == nil && s.errno != 0 {
		err = s.errno
	}
	return err
}

// transmit reports false if it has to wait for room.
func (s *sender) transmit(fd uintptr) bool {
	for {
		_, _, s.errno = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&s.head)), unix.MSG_DONTWAIT)
		if s.errno != unix.EINTR {
			return s.errno != unix.EAGAIN
		}
	}
}

// address writes one that the socket reaches as the system takes it, and returns its size.
func (s *sender) address(name *unix.RawSockaddrInet6, to netip.AddrPort) uint32 {
	if s.isIPv4 {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		name.Family, name.Addr = unix.AF_INET, to.Addr().As4()
		name.Port = networkOrder(to.Port())
		return unix.SizeofSockaddrInet4
	}
	name.Family, name.Addr = unix.AF_INET6, to.Addr().As16()
	name.Port = networkOrder(to.Port())
	return unix.SizeofSockaddrInet6
}

func networkOrder(port uint16) (n uint16) {
	*(*[2]byte)(unsafe.Pointer(&n)) = [2]byte{byte(port >> 8), byte(port)}
	return n
}
