package channels

// A list is a doubly linked list through nodes that live in its items, so that
// an item leaves from anywhere in constant time and nothing is allocated.
type list[T any] struct {
	head, tail *node[T]
	n          int
}

// A node is the place of an item in one list.
type node[T any] struct {
	prev, next *node[T]
	item       *T
	on         *list[T] // nil while in no list
}

func (l *list[T]) first() *T {
	if l.head == nil {
		return nil
	}
	return l.head.item
}

func (l *list[T]) last() *T {
	if l.tail == nil {
		return nil
	}
	return l.tail.item
}

func (l *list[T]) pushBack(n *node[T]) { l.insertBefore(n, nil) }

// insertBefore puts n before at, or last if at is nil.
func (l *list[T]) insertBefore(n, at *node[T]) {
	if n.on != nil {
		panic("channels: already in a list")
	}
	prev := l.tail
	if at != nil {
		prev = at.prev
	}
	n.on, n.prev, n.next = l, prev, at
	if prev == nil {
		l.head = n
	} else {
		prev.next = n
	}
	if at == nil {
		l.tail = n
	} else {
		at.prev = n
	}
	l.n++
}

// remove takes n from the list it is in, if any.
func (n *node[T]) remove() {
	l := n.on
	if l == nil {
		return
	}
	if n.prev == nil {
		l.head = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.tail = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.prev, n.next, n.on = nil, nil, nil
	l.n--
}
