// Package channels holds the messages of one session: it queues and schedules
// them, cuts them into chunks, puts them together again on the other side,
// keeps each channel within its receive credit, and says what became of every
// message sent.
//
// It knows neither frames nor packet numbers. A [Set] is asked to fill the rest
// of a frame (Append) and names each chunk it put there with a recovery.Ref;
// later it is told which of those chunks were acknowledged (OnAcked) or lost
// (OnLost). What arrives comes in decoded (HandleMessage, HandleSkip,
// HandleCredit, HandleRead); an error from those means that the peer broke the
// protocol.
//
//	Send ──> stream queue ──> first chunk: the message gets its number
//	              │                 │
//	   withdrawn (Cancel,      in flight ──OnAcked──> Stored ──READ──> Read
//	   deadline, newer key)         │
//	              │              OnLost ──> sent again before anything new
//	              v                 │
//	        reported at once        └─ withdrawn: SKIP, sent until acknowledged
//
// Messages of one channel and one delivery mode form a stream and are numbered
// from 0. A number is given when the first byte is scheduled and not before, so
// what is withdrawn from the queue costs the peer nothing. Within a stream
// messages leave in the order of Send; streams share their channel evenly;
// channels share the session by priority, then by weight.
//
// Small messages of which nobody asks what became of them do not each cost a chunk, a
// number and an acknowledgement: those that wait behind each other join into a pack,
// which is one message to all of this package but Send and Recv. pack.go tells more.
//
// Reliable and unordered messages use up the credit of their channel: each
// takes [MessageOverhead] from the moment it is numbered, and its bytes as they
// are sent for the first time. Unreliable and sequenced ones use none; they live
// in bounded queues on both sides, whose oldest message gives way.
package channels
