package netmon

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMonitorOfTheMachineClosesAtOnce(t *testing.T) {
	m := Start(Config{})
	began := time.Now()
	m.Close()
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v", took)
	}
	for range m.Changes() {
	}
}

func BenchmarkTake(b *testing.B) {
	for b.Loop() {
		Take()
	}
}
