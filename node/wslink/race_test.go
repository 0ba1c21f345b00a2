//go:build race

package wslink

const raceEnabled = true
