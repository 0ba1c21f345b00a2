package node

import (
	"net"

	"github.com/seed-67dce94e/holdfast/wire"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// steer lets the kernel give each datagram to the socket of the shard that it is
// for, by the rule of Node.shardOf, where it would else go by a hash of the
// addresses: SO_ATTACH_REUSEPORT_CBPF (socket(7)). The program belongs to all
// sockets of the port, in the order in which they were bound. Where it cannot be
// attached, Node.deliver passes datagrams on.
func steer(conn *net.UDPConn, shards int) error {
	program, err := bpf.Assemble(steering(uint32(shards)))
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &prog)
	})
	if err != nil {
		return err
	}
	return failed
}

// steering is the program: offsets count from the first byte of a datagram, and a
// load beyond its end returns 0, the first shard.
func steering(shards uint32) []bpf.Instruction {
	init := wire.AppendInitHeader(nil, wire.ConnID{})[0]
	const frame = 0x40 // in the first byte of all frames, and not in that of STUN
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(init), SkipTrue: 5},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: frame},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: frame, SkipTrue: 1},
		bpf.RetConstant{Val: 0}, // STUN, or nothing of ours
		bpf.LoadAbsolute{Off: 1, Size: 1},
		bpf.Jump{Skip: 1},
		bpf.LoadAbsolute{Off: 2, Size: 1}, // an INIT's own connection ID comes after the version
		bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: shards},
		bpf.RetA{},
	}
}
