package node

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How many slots recvmmsg(2) may fill: few, so that what comes is handled while it is in
// the processor's caches, and what one peer's bulk waits for is not held up; more while
// short datagrams of many peers fill them all.
const (
	slotsMin  = 2
	slotsMax  = 32
	slotShort = 2 << 10 // bytes of a slot on average, up to which there may be more
)

// A receiveBatch holds what one system call has received. Each slot has a datagram, or
// several of one sender that the system has joined.
type receiveBatch struct {
	raw   syscall.RawConn
	use   int // slots
	n     int // of these, filled
	errno syscall.Errno

	bufs  [slotsMax][]byte // nil until they are first used
	heads [slotsMax]mmsghdr
	parts [slotsMax]unix.Iovec
	names [slotsMax]unix.RawSockaddrInet6 // or RawSockaddrInet4 in the same place
	rooms [slotsMax][]byte                // for ancillary data

	eager bool // this time, who reads may look again before it sleeps
	look  eagerness

	polled bool // this time, nobody waits

	zones   map[uint32]string // of interfaces, by their numbers
	zonesAt time.Time         // when they were last looked up

	call func(fd uintptr) bool // receiveInto, bound once
}

func newReceiveBatch(conn *net.UDPConn, first []byte) (*receiveBatch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &receiveBatch{raw: raw}
	b.call = b.receiveInto
	b.bufs[0] = first
	b.provide(slotsMin)
	return b, nil
}

// provide makes slots fit for use.
func (b *receiveBatch) provide(n int) {
	b.use = n
	for i := range n {
		if b.bufs[i] == nil {
			b.bufs[i] = make([]byte, datagramBufferLen)
		}
		if b.rooms[i] == nil {
			b.rooms[i] = make([]byte, ancillaryRoom)
			b.parts[i].Base = &b.bufs[i][0]
			b.parts[i].SetLen(len(b.bufs[i]))
			h := &b.heads[i].Msghdr
			h.Iov = &b.parts[i]
			h.SetIovlen(1)
			h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
			h.Control = &b.rooms[i][0]
		}
	}
}

// receive waits for at least one datagram and returns how many slots are filled.
func (b *receiveBatch) receive(eager bool) (int, error) {
	b.eager = eager && processors() > 1 // else who looks keeps others from answering
	if err := b.raw.Read(b.call); err != nil {
		b.look.giveUp()
		return 0, err
	}
	if b.look.waits() {
		b.look.found(time.Now())
	}
	if b.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", b.errno)
	}
	return b.n, nil
}

// poll returns how many slots are filled by what has arrived.
func (b *receiveBatch) poll() (int, error) {
	b.eager, b.polled = false, true
	err := b.raw.Read(b.call)
	b.polled = false
	switch {
	case err != nil:
		return 0, err
	case b.errno == unix.EAGAIN:
		return 0, nil
	case b.errno != 0:
		return 0, os.NewSyscallError("recvmmsg", b.errno)
	}
	return b.n, nil
}

// processors is how many this process may use.
var processors = func() int { return runtime.GOMAXPROCS(0) }

// adapt chooses the number of slots by what the last call has received: so many bytes, of
// so many peers.
func (b *receiveBatch) adapt(bytes, peers int) {
	switch {
	case bytes > slotShort*b.n || b.n > 1 && peers <= b.n/2:
		b.use = slotsMin
	case b.n == b.use && b.n < slotsMax:
		b.provide(2 * b.n)
	case b.n <= b.use/4:
		b.use /= 2
	}
}

// peers counts the senders of what is in the slots.
func (b *receiveBatch) peers() (count int) {
	for i := range b.n {
		seen := false
		for j := 0; j < i && !seen; j++ {
			seen = b.names[j] == b.names[i]
		}
		if !seen {
			count++
		}
	}
	return count
}

// cannotReceiveMany are the errors of a system that has no recvmmsg(2), or not for this
// process.
var cannotReceiveMany = []error{unix.ENOSYS, unix.EPERM, unix.EOPNOTSUPP}

// receiveInto makes the system call. It reports false if there is nothing to receive.
func (b *receiveBatch) receiveInto(fd uintptr) bool {
	for i := range b.use {
		h := &b.heads[i].Msghdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(len(b.rooms[i]))
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.heads[0])), uintptr(b.use), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN && b.eager && b.look.looks(time.Now()) {
			continue
		}
		b.n, b.errno = int(n), errno
		return errno != unix.EAGAIN || b.polled
	}
}

// get returns what is in a slot.
func (b *receiveBatch) get(i int) (data, control []byte, from netip.AddrPort) {
	h := &b.heads[i]
	return b.bufs[i][:h.len], b.rooms[i][:h.Controllen], b.source(&b.names[i])
}

func (b *receiveBatch) source(name *unix.RawSockaddrInet6) netip.AddrPort {
	if name.Family == unix.AF_INET {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), networkOrder(name.Port))
	}
	addr := netip.AddrFrom16(name.Addr)
	if name.Scope_id != 0 {
		addr = addr.WithZone(b.zone(name.Scope_id))
	}
	return unmapped(netip.AddrPortFrom(addr, networkOrder(name.Port)))
}

// zonesFor is how long the name of an interface is remembered.
const zonesFor = time.Minute

// zone returns the name of an interface, as package net has it in addresses.
func (b *receiveBatch) zone(index uint32) string {
	if now := time.Now(); now.Sub(b.zonesAt) > zonesFor {
		b.zones, b.zonesAt = make(map[uint32]string), now
	}
	name, known := b.zones[index]
	if !known {
		name = strconv.FormatUint(uint64(index), 10)
		if ifc, err := net.InterfaceByIndex(int(index)); err == nil {
			name = ifc.Name
		}
		b.zones[index] = name
	}
	return name
}
