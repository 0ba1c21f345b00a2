package recovery

import "github.com/seed-67dce94e/holdfast/wire"

// Ref names one chunk of a sent frame in protocol terms: what must be marked
// delivered when the frame is acknowledged, or sent again when it is lost. It
// holds no pointer, so the record of a frame costs the garbage collector
// nothing and outlives the channel it speaks of without keeping it alive.
// Package recovery carries Refs and never looks inside them.
type Ref struct {
	// Seq is the number of the message, or whatever number identifies the
	// chunk among those of its kind.
	Seq uint64
	// Off and Len bound the bytes of the message that the chunk carried.
	Off, Len uint32
	// Channel is the channel the chunk belongs to.
	Channel uint16
	// Copy tells the copies of a chunk that was sent several times apart; 0 if
	// nobody needs to.
	Copy uint16
	// Kind is the type of the chunk.
	Kind wire.ChunkType
	// Mode is the delivery mode of the message the chunk belongs to.
	Mode wire.Mode
}
