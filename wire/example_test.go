package wire_test

import (
	"fmt"
	"net/netip"

	"github.com/google/uuid"

	"github.com/seed-67dce94e/holdfast/wire"
)

func key(first byte) (p wire.PeerID) {
	for i := range p {
		p[i] = first + byte(i)
	}
	return p
}

func ExampleClassify() {
	for _, datagram := range [][]byte{
		(&wire.Reset{ID: wire.ConnID{1}}).Append(nil),
		wire.AppendDataHeader(nil, wire.ConnID{1}, false, 7, 1),
		[]byte("GET / HTTP/1.1"), // looks like DATA so far; its connection ID will be nobody's
	} {
		fmt.Println(wire.Classify(datagram))
	}
	// Output:
	// RESET
	// DATA
	// DATA
}

func ExampleAppendDataHeader() {
	dst := wire.ConnID{0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18}
	const pn, acknowledged = 0xac5c02, 0xabe8b3
	n := wire.PacketNumberLen(pn, acknowledged, true)
	header := wire.AppendDataHeader(nil, dst, true, pn, n)
	fmt.Printf("%x\n", header)

	id, _ := wire.Destination(header)
	fmt.Println(id)
	// Output:
	// 4511121314151617185c02
	// 1112131415161718
}

func ExampleUnmaskHeader() {
	frame := wire.AppendDataHeader(nil, wire.ConnID{1}, true, 0x5c02, 2)
	frame = append(frame, make([]byte, wire.MinDataLen)...) // chunks and tag
	mask := [5]byte{0x35, 0x11, 0x22}                       // made from wire.Sample(frame)
	wire.MaskHeader(frame, &mask, 2)
	fmt.Printf("%x\n", frame[:11])

	truncated, n, keyPhase, ok := wire.UnmaskHeader(frame, &mask)
	fmt.Printf("%#x %v %v %v\n", truncated, n, keyPhase, ok)
	fmt.Printf("%#x\n", wire.DecodePacketNumber(0xac5b00, true, truncated, n))
	// Output:
	// 7001000000000000004d20
	// 0x5c02 2 true true
	// 0xac5c02
}

func ExampleConsumeVarint() {
	b := wire.AppendVarint(nil, 15293)
	v, rest, err := wire.ConsumeVarint(append(b, 0xff))
	fmt.Printf("%x %d %x %v\n", b, v, rest, err)

	_, _, err = wire.ConsumeVarint([]byte{0x40, 0x25}) // 37 fits into one byte
	fmt.Println(err)
	// Output:
	// 7bbd 15293 ff <nil>
	// wire: integer not in its shortest form
}

func ExampleConsumeChunk() {
	var body []byte
	body = wire.AppendAck(body, 16, []wire.Range{{Lo: 1019, Hi: 1024}, {Lo: 1016, Hi: 1017}}, 64)
	m := wire.Message{Mode: wire.Reliable, Seq: 5, Data: []byte("hello")}
	body = m.Append(body)

	var c wire.Chunk
	for len(body) > 0 {
		var err error
		if body, err = wire.ConsumeChunk(body, &c); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(&c)
	}
	// Output:
	// ACK delay=16us ranges=1019-1024,1016-1017
	// MESSAGE ch=0 reliable seq=5 len=5
}

func ExampleAck_Next() {
	b := wire.AppendAck(nil, 0, []wire.Range{{Lo: 8, Hi: 9}, {Lo: 1, Hi: 5}}, 64)
	var c wire.Chunk
	if _, err := wire.ConsumeChunk(b, &c); err != nil {
		fmt.Println(err)
		return
	}
	for r, ok := c.Ack.Next(); ok; r, ok = c.Ack.Next() {
		fmt.Println(r.Lo, r.Hi)
	}
	// Output:
	// 8 9
	// 1 5
}

func ExampleParseParams() {
	p := wire.Params{ConnID: wire.ConnID{1}, IdleTimeout: 30_000, MaxMessage: 1 << 20}
	b := p.Append(nil)
	got, err := wire.ParseParams(b)
	fmt.Println(len(b) == wire.ParamsLen, got == p, err)
	// Output: true true <nil>
}

func ExampleParseInit() {
	frame := wire.AppendInitHeader(nil, wire.ConnID{1, 2, 3, 4, 5, 6, 7, 8})
	frame = append(frame, make([]byte, wire.InitLen-len(frame))...) // Noise message, MACs
	f, err := wire.ParseInit(frame)
	fmt.Println(f.Version, f.Src, len(f.Noise), err)
	// Output: 1 0102030405060708 142 <nil>
}

func ExampleParseResp() {
	frame := wire.AppendRespHeader(nil, wire.ConnID{1, 2, 3, 4, 5, 6, 7, 8})
	frame = append(frame, make([]byte, wire.RespLen-len(frame))...) // Noise message, MAC
	f, err := wire.ParseResp(frame)
	fmt.Println(f.Dst, len(f.Noise), err)
	// Output: 0102030405060708 94 <nil>
}

func ExampleParseCookie() {
	sent := wire.Cookie{Dst: wire.ConnID{1}}
	got, err := wire.ParseCookie(sent.Append(nil))
	fmt.Println(got == sent, err)
	// Output: true <nil>
}

func ExampleParseReset() {
	sent := wire.Reset{ID: wire.ConnID{1}, Token: wire.ResetToken{2}}
	got, err := wire.ParseReset(sent.Append(nil))
	fmt.Println(got == sent, err)
	// Output: true <nil>
}

func ExampleParseRendezvous() {
	punch := wire.Punch{
		ID:      uuid.MustParse("0192f3c4-a5b6-7c8d-9e0f-112233445566"),
		Peer:    key(0x20),
		StartIn: 30_000,
	}
	punch.Candidates.Add(wire.Candidate{
		Kind: wire.CandidateReflexive,
		Addr: netip.MustParseAddrPort("203.0.113.9:40000"),
	})

	var m wire.Rendezvous
	if err := wire.ParseRendezvous(punch.Append(nil), &m); err != nil {
		fmt.Println(err)
		return
	}
	switch m.Type {
	case wire.RendezvousPunch:
		for candidate := range m.Punch.Candidates.All() {
			fmt.Println(candidate.Kind, candidate.Addr)
		}
	}
	// Output: reflexive 203.0.113.9:40000
}

func ExampleParseRelay() {
	b := append(wire.AppendRelay(nil, key(0x20)), "a frame"...)
	peer, datagram, err := wire.ParseRelay(b)
	fmt.Printf("%s %q %v\n", peer.Short(), datagram, err)
	// Output: hf1eaqseize "a frame" <nil>
}

func ExampleCandidates_Add() {
	var list wire.Candidates
	for _, addr := range []string{"192.168.1.7:45678", "192.168.1.7:45678", "224.0.0.1:45678"} {
		fmt.Println(addr, list.Add(wire.Candidate{Kind: wire.CandidateHost, Addr: netip.MustParseAddrPort(addr)}))
	}
	fmt.Println(list.Len())
	// Output:
	// 192.168.1.7:45678 true
	// 192.168.1.7:45678 false
	// 224.0.0.1:45678 false
	// 1
}

func ExampleParsePeerID() {
	text := key(0x20).String()
	fmt.Println(text)

	id, err := wire.ParsePeerID(text)
	fmt.Println(id == key(0x20), err)

	_, err = wire.ParsePeerID(text[:9] + "0" + text[10:])
	fmt.Println(err)
	_, err = wire.ParsePeerID(text[:9] + "a" + text[10:])
	fmt.Println(err)
	// Output:
	// hf1eaqseizeeutcokbjfivsyljof4ydcmrtgq2tmnzyhe5dwpb5hy77acogea
	// true <nil>
	// wire: peer ID has a bad character '0' at position 10
	// wire: peer ID does not match its checksum (mistyped?)
}

func ExampleParseServer() {
	server, err := wire.ParseServer(key(0x80).String() + "@rv.example.net:7411")
	fmt.Println(server.ID.Short(), server.Addr, err)

	_, err = wire.ParseServer(key(0x80).String() + "@rv.example.net")
	fmt.Println(err)
	// Output:
	// hf1qcayfa4e rv.example.net:7411 <nil>
	// wire: server address "rv.example.net": no port: want host:port
}

func ExampleParseTicket() {
	text := wire.Ticket{
		Peer:    key(0x20),
		Servers: []wire.Server{{ID: key(0x80), Addr: "rv.example.net:7411"}},
	}.String()

	ticket, err := wire.ParseTicket(text)
	fmt.Println(ticket.Peer.Short(), ticket.Servers[0].Addr, err)

	ticket, err = wire.ParseTicket(key(0x20).String()) // a peer ID will do
	fmt.Println(ticket.Peer.Short(), len(ticket.Servers), err)
	// Output:
	// hf1eaqseize rv.example.net:7411 <nil>
	// hf1eaqseize 0 <nil>
}
