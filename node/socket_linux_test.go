package node

import (
	"net/netip"
	"testing"

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
	if err := from.write(sent, 1200, to.localAddr()); err != nil {
		t.Fatal(err)
	}
	if !from.gso.Load() {
		t.Error("batches were turned off")
	}
	var got []byte
	for len(got) < len(sent) {
		batch, err := to.read()
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
	if err := from.writeSingly(from.conn, b, 1000, to.localAddr(), unix.EIO); err != nil {
		t.Fatal(err)
	}
	if from.gso.Load() {
		t.Error("batches are still on")
	}
	for n := 0; n < len(b); {
		batch, err := to.read()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range batch {
			n += len(d.data)
		}
	}
	if err := from.writeSingly(from.conn, b, 1000, to.localAddr(), unix.EPERM); err != unix.EPERM {
		t.Errorf("another error is not the batch's fault: %v", err)
	}
}

func TestAncillaryDataIsReadWithCare(t *testing.T) {
	good := segmentControl() // of the form that is sent, not that of UDP_GRO
	if n := segmentSize(good); n != 0 {
		t.Errorf("found a size of %d", n)
	}
	for n := range good {
		segmentSize(good[:n])
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0xff
		segmentSize(bad)
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

func FuzzAncillaryData(f *testing.F) {
	f.Add(segmentControl())
	f.Add(make([]byte, unix.CmsgSpace(4)))
	f.Fuzz(func(t *testing.T, control []byte) {
		segmentSize(control) // must not panic
	})
}
