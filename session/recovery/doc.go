// Package recovery knows which frames of a session are in flight, which have
// arrived and which are lost (RFC 9002), and on the other side which
// acknowledgements are owed (RFC 9000 §13.2).
//
//	            OnSent                     OnAck
//	NextPN ---------------> outstanding -----------> Result.Acked
//	                         |      ^  \
//	      loss, Requeue      |      |   PTO: OnTimeout says to probe
//	                         v
//	    Result.Lost <--- given up, remembered for 3 PTO --- late ack ---> Result.Acked
//
// A session numbers its frames in one space over all its paths, but round trip
// time, loss and congestion belong to a path: State does the first, Path the
// second, and frames are only ever compared with frames of the same path.
//
// What a frame carried is a list of Refs. They come back when its fate is
// known, and it is for the caller to say what that means to a message.
//
// Nothing here reads a clock, and nothing allocates once the tables have grown
// to what a path holds.
package recovery
