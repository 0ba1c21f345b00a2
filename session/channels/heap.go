package channels

// An orderable item knows which of two comes first and where it stands in its
// heap.
type orderable[T any] interface {
	before(T) bool
	place() *int // -1 while in no heap
}

// A heap is a binary heap whose items can leave from anywhere.
type heap[T orderable[T]] []T

func (h heap[T]) put(i int, v T) {
	h[i] = v
	*v.place() = i
}

func (h *heap[T]) push(v T) {
	*h = append(*h, v)
	h.up(len(*h)-1, v)
}

// remove takes v, which is in the heap, out of it.
func (h *heap[T]) remove(v T) {
	i, n := *v.place(), len(*h)-1
	last := (*h)[n]
	var none T
	(*h)[n] = none
	*h = (*h)[:n]
	*v.place() = -1
	if i < n {
		h.put(i, last)
		h.fix(last)
	}
}

// fix moves v to where it belongs after its order has changed.
func (h heap[T]) fix(v T) {
	i := *v.place()
	if i > 0 && v.before(h[(i-1)/2]) {
		h.up(i, v)
		return
	}
	h.down(i, v)
}

func (h heap[T]) up(i int, v T) {
	for i > 0 {
		parent := (i - 1) / 2
		if !v.before(h[parent]) {
			break
		}
		h.put(i, h[parent])
		i = parent
	}
	h.put(i, v)
}

func (h heap[T]) down(i int, v T) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(v) {
			break
		}
		h.put(i, h[child])
		i = child
	}
	h.put(i, v)
}
