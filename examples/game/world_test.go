package main

import "testing"

func TestPositionsOffTheFieldAreRefused(t *testing.T) {
	for _, b := range [][]byte{nil, {1}, {1, 2, 3}, {width, 0}, {0, height}, {255, 255}} {
		if p, ok := parsePoint(b); ok {
			t.Errorf("% x was read as %v", b, p)
		}
	}
	corner := point{width - 1, height - 1}
	if p, ok := parsePoint(corner.bytes()); !ok || p != corner {
		t.Errorf("the corner %v was read as %v, %v", corner, p, ok)
	}
}

func TestExactlyOnePlayerIsIt(t *testing.T) {
	chaser, runner := newWorld(true), newWorld(false)
	if !chaser.it || runner.it {
		t.Fatal("want the one who called to chase")
	}
	runner.tagged()
	if !runner.it || runner.caught != 1 {
		t.Errorf("after a tag: it %v, caught %d times", runner.it, runner.caught)
	}
}
