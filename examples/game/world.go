package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
)

// Size of the field.
const (
	width  = 40
	height = 12
)

// ticksPerCell is the speed: a player crosses a cell in so many ticks.
const ticksPerCell = 6

// A point is a cell of the field.
type point struct{ x, y int }

func (p point) bytes() []byte { return []byte{byte(p.x), byte(p.y)} }

// parsePoint refuses what is not on the field: it comes from another machine.
func parsePoint(b []byte) (point, bool) {
	if len(b) != 2 || b[0] >= width || b[1] >= height {
		return point{}, false
	}
	return point{int(b[0]), int(b[1])}, true
}

// A world is the game as one player knows it. Each player says where it is
// itself; the one who is it says when it has caught the other.
type world struct {
	me, other point
	heading   point
	it        bool // we chase
	caught    int  // how often we were
	ticks     int
	safe      int // no tag before this tick, so that the other can run away
}

func newWorld(initiator bool) *world {
	left, right := point{2, 2}, point{width - 3, height - 3}
	if initiator {
		return &world{me: left, other: right, heading: point{1, 0}, it: true, safe: 60}
	}
	return &world{me: right, other: left, heading: point{-1, 0}, safe: 60}
}

// step moves this player by one tick and tells the other.
func (w *world) step(c *node.Conn) error {
	w.ticks++
	if w.ticks%ticksPerCell == 0 {
		w.me = point{(w.me.x + w.heading.x + width) % width, (w.me.y + w.heading.y + height) % height}
	}
	// The key lets a newer position take the place of one that still waits.
	err := c.TrySend(node.Message{Channel: positions, Mode: node.Sequenced, Data: w.me.bytes(), Key: 1})
	if err == nil && w.it && w.me == w.other && w.ticks >= w.safe {
		w.it, w.safe = false, w.ticks+60
		err = c.TrySend(node.Message{Channel: events, Data: []byte("tag")})
	}
	return err
}

// tagged is the other's news that it has caught us.
func (w *world) tagged() {
	w.it, w.safe = true, w.ticks+60
	w.caught++
}

func (w *world) turn(key byte) {
	if to, ok := map[byte]point{'w': {0, -1}, 'a': {-1, 0}, 's': {0, 1}, 'd': {1, 0}}[key]; ok {
		w.heading = to
	}
}

// draw paints the field over the one before, ten times a second.
func (w *world) draw(out io.Writer, path node.Path) {
	if w.ticks%6 != 0 {
		return
	}
	var b strings.Builder
	b.WriteString("\x1b[H\x1b[2J+" + strings.Repeat("-", width) + "+\n")
	for y := range height {
		row := []byte(strings.Repeat(" ", width))
		if w.other.y == y {
			row[w.other.x] = 'o'
		}
		if w.me.y == y {
			row[w.me.x] = '@'
		}
		fmt.Fprintf(&b, "|%s|\n", row)
	}
	role := "run from o"
	if w.it {
		role = "catch o"
	}
	fmt.Fprintf(&b, "+%s+\nyou are @: %s   caught %d times   %v, %v\n", strings.Repeat("-", width), role, w.caught, path.Kind, path.RTT.Round(100*time.Microsecond))
	io.WriteString(out, b.String())
}
