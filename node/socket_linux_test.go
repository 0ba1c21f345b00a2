package node

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"golang.org/x/sys/unix"
)

func TestKernelVersionsThatMayBatch(t *testing.T) {
	for release, want := range map[string]struct{ gso, gro bool }{
		"4.19.0-27-amd64":   {false, false},
		"5.4.0":             {true, false},
		"5.12.1-arch":       {true, true},
		"6.8.0-45-generic":  {true, true},
		"7.0.3":             {false, true},
		"7.1.4-1":           {false, true},
		"7.1.5":             {true, true},
		"7.2.0-rc1":         {true, true},
		"":                  {false, false},
		"something unusual": {false, false},
	} {
		v := parseKernel(release)
		if v.canGSO() != want.gso || v.canGRO() != want.gro {
			t.Errorf("%q: batches out %v, in %v; want %+v", release, v.canGSO(), v.canGRO(), want)
		}
	}
}

func TestBatchesCrossTheLoopbackWhole(t *testing.T) {
	from, to := bindLoopback(t), bindLoopback(t)
	if !from.gso.Load() {
		t.Skip("this kernel does not take batches")
	}
	sent := make([]byte, 30*1200+77)
	for i := range sent {
		sent[i] = byte(i / 1200)
	}
	if err := from.write(sent, 1200, wire.NotECT, to.localAddr()); err != nil {
		t.Fatal(err)
	}
	if !from.gso.Load() {
		t.Error("batches were turned off")
	}
	var got []byte
	for len(got) < len(sent) {
		batch, err := to.read(false)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range batch {
			if last := len(got)+len(d.data) == len(sent); d.from != from.localAddr() || len(d.data) != 1200 && !last {
				t.Fatalf("a datagram of %d bytes from %v", len(d.data), d.from)
			}
			got = append(got, d.data...)
		}
	}
	if string(got) != string(sent) {
		t.Error("the content differs")
	}
}

func TestStatusTellsWhetherTheSystemTakesBatches(t *testing.T) {
	n, err := Listen(&Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	sock := n.shards[0].sockets.v4.(*udpSocket)
	for _, want := range []bool{sock.gso.Load(), false} { // then a driver fails
		sock.gso.Store(want)
		if st := n.Status().Socket; st.GSO != want || st.GRO != sock.gro {
			t.Errorf("GSO %v and GRO %v, want %v and %v", st.GSO, st.GRO, want, sock.gro)
		}
	}
}

// A device that cannot segment says EIO, and so on. The datagrams go out one by
// one, and no batch is tried again.
func TestBatchThatADeviceRefusesIsSentSingly(t *testing.T) {
	from, to := bindLoopback(t), bindLoopback(t)
	b := make([]byte, 2500)
	if err := from.writeSingly(from.conn, b, 1000, wire.NotECT, to.localAddr(), unix.EIO); err != nil {
		t.Fatal(err)
	}
	if from.gso.Load() {
		t.Error("batches are still on")
	}
	for n := 0; n < len(b); {
		batch, err := to.read(false)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range batch {
			n += len(d.data)
		}
	}
	if err := from.writeSingly(from.conn, b, 1000, wire.NotECT, to.localAddr(), unix.EPERM); err != unix.EPERM {
		t.Errorf("another error is not the batch's fault: %v", err)
	}
}

func TestAncillaryDataIsReadWithCare(t *testing.T) {
	for _, good := range []sendAncillary{newSendAncillary(unix.IPPROTO_IP, unix.IP_TOS), newSendAncillary(unix.IPPROTO_IPV6, unix.IPV6_TCLASS)} {
		if n, mark := readAncillary(good.of(true, 1200)); n != 0 || mark != wire.ECT0 { // the size is of the form that is sent
			t.Errorf("found a size of %d and mark %d", n, mark)
		}
		for n := range good {
			readAncillary(good[:n])
		}
		for i := range good {
			bad := append([]byte(nil), good...)
			bad[i] ^= 0xff
			readAncillary(bad)
		}
	}
}

// The mark that was set arrives, over either family, alone and in a batch, whatever
// the sockets carry besides; and one socket can serve both families.
func TestMarksCrossTheLoopback(t *testing.T) {
	listen := func(network string) *udpSocket {
		conn, err := net.ListenPacket(network, "")
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { conn.Close() })
		return newUDPSocket(conn.(*net.UDPConn))
	}
	dual := listen("udp")
	for _, pair := range []struct {
		name     string
		from, to *udpSocket
		ip       netip.Addr
	}{
		{"IPv4", listen("udp4"), listen("udp4"), netip.AddrFrom4([4]byte{127, 0, 0, 1})},
		{"IPv6", listen("udp6"), listen("udp6"), netip.IPv6Loopback()},
		{"IPv4 from a socket of both", dual, listen("udp4"), netip.AddrFrom4([4]byte{127, 0, 0, 1})},
		{"IPv4 to a socket of both", listen("udp4"), dual, netip.AddrFrom4([4]byte{127, 0, 0, 1})},
		{"IPv6 to a socket of both", listen("udp6"), dual, netip.IPv6Loopback()},
	} {
		if !pair.from.marks() || !pair.to.marks() {
			t.Fatalf("%s: this system does not know marks", pair.name)
		}
		to := netip.AddrPortFrom(pair.ip, pair.to.localAddr().Port())
		for _, mark := range []wire.ECN{wire.NotECT, wire.ECT0, wire.NotECT} {
			for _, segments := range []int{1, 5} {
				if err := pair.from.write(make([]byte, segments*1000), 1000, mark, to); err != nil {
					t.Fatalf("%s: %v", pair.name, err)
				}
				for n := 0; n < segments; {
					batch, err := pair.to.read(false)
					if err != nil {
						t.Fatal(err)
					}
					for _, d := range batch {
						if n++; d.mark != mark || len(d.data) != 1000 {
							t.Fatalf("%s: %d bytes with mark %d, want %d", pair.name, len(d.data), d.mark, mark)
						}
					}
				}
			}
		}
		if !pair.from.marks() {
			t.Errorf("%s: marks were turned off", pair.name)
		}
	}
}

// A kernel that refuses the traffic class costs no datagram: it goes out without.
func TestMarkThatTheSystemRefusesIsLeftOut(t *testing.T) {
	from, to := bindLoopback(t), bindLoopback(t)
	from.v4 = newSendAncillary(unix.IPPROTO_IP, 0x7fff) // no option of any kernel's: EINVAL
	for _, size := range []int{1000, 5000} {
		from.ecn.Store(true)
		if err := from.write(make([]byte, size), 1000, wire.ECT0, to.localAddr()); err != nil {
			t.Fatal(err)
		}
		if from.marks() {
			t.Error("marks are still on")
		}
		for n := 0; n < size; {
			batch, err := to.read(false)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range batch {
				if n += len(d.data); d.mark != wire.NotECT {
					t.Errorf("mark %d", d.mark)
				}
			}
		}
	}
	if before := from.gso.Load(); before != (kernel().canGSO()) {
		t.Error("batches were turned off")
	}
	from.ecn.Store(true)
	if err := from.write([]byte("x"), 0, wire.ECT0, netip.AddrPort{}); err == nil || !from.marks() {
		t.Errorf("another error, %v, is not the mark's fault", err)
	}
}

// join opens a session and returns both of its ends.
func join(t *testing.T, ctx context.Context, alice, bob *Node) (ab, ba *Conn) {
	t.Helper()
	ab, err := alice.DialAddr(ctx, bob.ID(), bob.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	if ba, err = bob.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	return ab, ba
}

// Both ends of a session on loopback find the path capable.
func TestSessionsUseMarks(t *testing.T) {
	alice, bob := listen(t), listen(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ab, ba := join(t, ctx, alice, bob)
	for range 20 { // there and back, so that both sides send and acknowledge
		for _, end := range [][2]*Conn{{ab, ba}, {ba, ab}} {
			if err := end[0].Send(ctx, make([]byte, 2000)); err != nil {
				t.Fatal(err)
			}
			if _, err := end[1].Recv(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []*Conn{ab, ba} {
		if p := c.Path(); p.ECN != ECNCapable || p.Marked != 0 {
			t.Errorf("ECN %v, %d marked", p.ECN, p.Marked)
		}
	}
	if !alice.Status().Socket.ECN {
		t.Error("the status does not say that marks are used")
	}
}

// A spoiler is a socket of a system that loses what it is given in one call, and
// tells nobody.
type spoiler struct{ socket }

func (s spoiler) write(b []byte, segment int, mark wire.ECN, to netip.AddrPort) error {
	if segment > 0 && len(b) > segment {
		return nil
	}
	return s.socket.write(b, segment, mark, to)
}

func TestSystemThatSpoilsBatchesIsFoundOut(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, err := Listen(&Config{Addr: "127.0.0.1:0", MaxDatagram: 1200})
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	bob := listen(t)
	s := alice.shards[0]
	s.mu.Lock()
	s.sockets.v4 = spoiler{s.sockets.v4}
	s.mu.Unlock()
	ab, ba := join(t, ctx, alice, bob)
	for !ab.Path().Singly {
		if err := ab.Send(ctx, make([]byte, 64<<10)); err != nil {
			t.Fatal("batches go on: ", err)
		}
		if _, err := ba.Recv(ctx); err != nil {
			t.Fatal("batches go on: ", err)
		}
	}
	if all := ab.Paths(); len(all) != 1 || !all[0].Singly {
		t.Errorf("%+v", all)
	}
	if ba.Path().Singly {
		t.Error("the other side sends singly, too")
	}
}

func bindLoopback(t *testing.T) *udpSocket {
	t.Helper()
	s, err := bindOne(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	return s.(*udpSocket)
}

// Short datagrams of many senders come by few system calls: the more, the fewer for each.
func TestShortDatagramsOfManyShareASystemCall(t *testing.T) {
	const senders, rounds = 50, 2
	for _, singly := range []bool{false, true} { // as on a system that has no recvmmsg
		to := bindLoopback(t)
		if singly {
			in, err := newReceiveBatch(to.conn, to.buf)
			if err != nil {
				t.Fatal(err)
			}
			in.call = func(uintptr) bool { in.errno = unix.ENOSYS; return true }
			to.in = in
		}
		got, calls := make(map[string]inbound), 0
		var from [senders]*udpSocket
		for i := range from {
			from[i] = bindLoopback(t)
		}
		for round := range rounds {
			for i := range from {
				if err := from[i].write([]byte{byte(i), byte(round)}, 0, wire.ECN(2*(i%2)), to.localAddr()); err != nil { // some ECT(0)
					t.Fatal(err)
				}
			}
		}
		for ; len(got) < senders*rounds; calls++ {
			batch, err := to.read(false)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range batch {
				got[string(d.data)] = d
			}
		}
		for name, d := range got {
			if i := int(name[0]); d.from != from[i].localAddr() || d.mark != wire.ECN(2*(i%2)) || len(name) != 2 {
				t.Errorf("% x from %v with mark %d, want one from %v", name, d.from, d.mark, from[i].localAddr())
			}
		}
		if many := calls < senders*rounds/2; many == singly || to.singly != singly {
			t.Errorf("%d calls for %d datagrams; singly: %v", calls, len(got), singly)
		}
	}
}

func TestSlotsFollowWhatComes(t *testing.T) {
	b, err := newReceiveBatch(bindLoopback(t).conn, make([]byte, 1200))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what            string
		n, bytes, peers int
		use             int
	}{
		{"a short one", 1, 50, 1, 2},
		{"two of one peer", 2, 100, 1, 2},
		{"two of two", 2, 100, 2, 4},
		{"four of two, as of those who acknowledge bulk", 4, 200, 2, 2},
		{"two of two", 2, 100, 2, 4},
		{"four of four", 4, 200, 4, 8},
		{"eight of five", 8, 400, 5, 16},
		{"some", 5, 250, 5, 16},
		{"16 of many", 16, 800, 16, 32},
		{"as many as there may be", 32, 1600, 30, 32},
		{"few", 8, 400, 8, 16},
		{"few", 1, 50, 1, 8},
		{"bulk", 3, 150_000, 3, 2},
		{"nearly nothing", 1, 50, 1, 2},
	} {
		b.n = step.n
		if b.adapt(step.bytes, step.peers); b.use != step.use {
			t.Fatalf("%s: %d slots, want %d", step.what, b.use, step.use)
		}
	}
}

// Link-local addresses have their zones, by the names that package net gives them.
func TestSourceOfADatagramHasItsZone(t *testing.T) {
	loopback, err := net.InterfaceByIndex(1)
	if err != nil {
		t.Fatal("no interface has number 1:", err)
	}
	to := bindLoopback(t)
	to.setReadDeadline(time.Unix(0, 1))
	to.read(false) // makes room
	for scope, zone := range map[uint32]string{0: "", 1: loopback.Name, 1 << 20: "1048576"} {
		name := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: netip.MustParseAddr("fe80::1").As16(), Scope_id: scope, Port: networkOrder(4000)}
		if got, want := to.in.source(&name), netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(zone), 4000); got != want {
			t.Errorf("scope %d: %v, want %v", scope, got, want)
		}
	}
}

func FuzzAncillaryData(f *testing.F) {
	f.Add([]byte(newSendAncillary(unix.IPPROTO_IP, unix.IP_TOS)))
	f.Add(make([]byte, unix.CmsgSpace(4)))
	f.Fuzz(func(t *testing.T, control []byte) {
		readAncillary(control) // must not panic
	})
}

// More than one system call takes, to several addresses in turn: all arrive, in
// their order.
func TestPostedDatagramsArriveInOrder(t *testing.T) {
	const each = batchMax
	from := bindLoopback(t)
	to := []*udpSocket{bindLoopback(t), bindLoopback(t), bindLoopback(t)}
	for i := range each {
		for j, sock := range to {
			if err := from.post([]byte{byte(i), byte(j)}, sock.localAddr()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if failed, err := from.flush(); failed != 0 || err != nil {
		t.Fatal(failed, err)
	}
	for j, sock := range to {
		for got := byte(0); got < each; {
			batch, err := sock.read(false)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range batch {
				if d.from != from.localAddr() || len(d.data) != 2 || d.data[0] != got || d.data[1] != byte(j) {
					t.Fatalf("% x from %v, want % x", d.data, d.from, []byte{got, byte(j)})
				}
				got++
			}
		}
	}
}

func TestPostedDatagramThatFailsHoldsUpNoOther(t *testing.T) {
	from, to := bindLoopback(t), bindLoopback(t)
	nowhere := netip.AddrPortFrom(to.localAddr().Addr(), 0)
	for i, addr := range []netip.AddrPort{nowhere, to.localAddr(), nowhere, nowhere, to.localAddr()} {
		if err := from.post([]byte{byte(i)}, addr); err != nil {
			t.Fatal(err)
		}
	}
	if failed, err := from.flush(); failed != 3 || !errors.Is(err, unix.EINVAL) {
		t.Errorf("%d failed: %v; want 3 by EINVAL", failed, err)
	}
	var got []byte
	for len(got) < 2 {
		batch, err := to.read(false)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range batch {
			got = append(got, d.data...)
		}
	}
	if want := []byte{1, 4}; !bytes.Equal(got, want) {
		t.Errorf("% x arrived, want % x", got, want)
	}
	from.close()
	from.post([]byte{1}, to.localAddr())
	if failed, err := from.flush(); failed != 1 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed socket %d failed: %v", failed, err)
	}
}

// A socket for IPv6 that the application opened may serve both families.
func TestPostingOnASocketForBothFamilies(t *testing.T) {
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	from, to := newUDPSocket(conn), bindLoopback(t)
	defer from.close()
	from.post([]byte{7}, to.localAddr())
	if failed, err := from.flush(); failed != 0 || err != nil {
		t.Fatal(failed, err)
	}
	if batch, err := to.read(false); err != nil || batch[0].data[0] != 7 {
		t.Error(batch, err)
	}
}

func TestSendingAllocatesNothing(t *testing.T) {
	from, to := bindLoopback(t), bindLoopback(t)
	addr, d := to.localAddr(), make([]byte, 40)
	for name, send := range map[string]func(){
		"posted": func() {
			for range 10 {
				from.post(d, addr)
			}
			from.flush()
		},
		"alone":      func() { from.write(d, 0, wire.NotECT, addr) },
		"in a batch": func() { from.write(d, 10, wire.ECT0, addr) },
	} {
		if n := testing.AllocsPerRun(100, send); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// An address that the system call has no form for is an error, or takes another way;
// the next datagram is sent as ever.
func TestAddressThatASocketDoesNotReach(t *testing.T) {
	from, to := bindLoopback(t), bindLoopback(t)
	for name, send := range map[string]func(netip.AddrPort) error{
		"alone":  func(to netip.AddrPort) error { return from.write([]byte{1}, 0, wire.NotECT, to) },
		"posted": func(to netip.AddrPort) error { return from.post([]byte{1}, to) },
	} {
		for _, addr := range []string{"[::1]:4000", "[fe80::1%lo]:4000"} {
			if err := send(netip.MustParseAddrPort(addr)); err == nil {
				t.Errorf("%s: %s from a socket for IPv4 is no error", name, addr)
			}
		}
	}
	if err := from.write([]byte{7}, 0, wire.NotECT, to.localAddr()); err != nil {
		t.Fatal(err)
	}
	if batch, err := to.read(false); err != nil || batch[0].data[0] != 7 {
		t.Error(batch, err)
	}
	from.close()
	if err := from.write([]byte{1}, 0, wire.NotECT, to.localAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed socket: %v", err)
	}
}

// Only who is eager looks before it sleeps; who polls does neither.
func TestEagerReadLooksFirst(t *testing.T) {
	from, to := bindLoopback(t), bindLoopback(t)
	read := func(eager bool) {
		t.Helper()
		if _, err := to.read(eager); err != nil {
			t.Fatal(err)
		}
	}
	send := func(n int) {
		t.Helper()
		if err := from.write(make([]byte, n), 25, wire.NotECT, to.localAddr()); err != nil {
			t.Fatal(err)
		}
	}
	send(1)
	read(true)
	in := to.in
	defer func(f func() int) { processors = f }(processors)
	processors = func() int { return 2 }
	for _, eager := range []bool{true, false, true} {
		send(100)
		read(eager)
		in.raw.Control(func(fd uintptr) {
			if in.receiveInto(fd) {
				t.Error("there was something to read")
			}
		})
		if in.look.waits() != eager {
			t.Errorf("eager %v, looked: %v", eager, in.look.waits())
		}
		in.look.giveUp()
	}
	send(100)
	if batch, err := to.poll(); err != nil || len(batch) == 0 {
		t.Errorf("polled: %d datagrams, %v", len(batch), err)
	}
	for batch := to.batch; len(batch) > 0; {
		var err error
		if batch, err = to.poll(); err != nil {
			t.Error(err)
		}
	}
	if in.look.waits() {
		t.Error("looks when it is polled")
	}
	send(1)
	read(true)
	to.setReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := to.read(true); !errors.Is(err, os.ErrDeadlineExceeded) || in.look.waits() {
		t.Errorf("%v; still waits: %v", err, in.look.waits())
	}
	processors = func() int { return 1 }
	to.setReadDeadline(time.Time{})
	send(1)
	if read(true); in.eager {
		t.Error("looks although there is one processor")
	}
}
