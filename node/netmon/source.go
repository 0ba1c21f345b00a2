package netmon

// A source tells that the system changed something about its network.
type source struct {
	events chan struct{} // has room for one; closed when nothing more will come
	close  func()        // called once
}

// notify leaves word of an event, unless there already is one.
func notify(events chan<- struct{}) {
	select {
	case events <- struct{}{}:
	default:
	}
}
