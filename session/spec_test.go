package session

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-67dce94e/holdfast/session/channels"
	"github.com/seed-67dce94e/holdfast/session/seal"
	"github.com/seed-67dce94e/holdfast/wire"
)

// spec returns SPEC.md in two parts: the text, and the table of tests.
func spec(t *testing.T) (text, table string) {
	t.Helper()
	b, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	text, table, ok := strings.Cut(string(b), "## 14. Where each requirement is tested")
	if !ok {
		t.Fatal("no table of tests")
	}
	return text, table
}

// Every numbered requirement of SPEC.md names tests, and they exist.
func TestEveryRequirementNamesItsTests(t *testing.T) {
	text, table := spec(t)
	var sources strings.Builder
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	ofChannels, err := filepath.Glob("channels/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, ofChannels...) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sources.Write(b)
	}
	tested := make(map[string]bool)
	for _, row := range regexp.MustCompile(`(?m)^\| (\[S\d+\]) \| (.*) \|$`).FindAllStringSubmatch(table, -1) {
		tested[row[1]] = true
		if !strings.Contains(text, row[1]) {
			t.Errorf("%s is tested, but the text does not have it", row[1])
		}
		for _, name := range strings.Split(row[2], ", ") {
			if !strings.Contains(sources.String(), "\nfunc "+name+"(t *testing.T)") {
				t.Errorf("%s names %s, which does not exist", row[1], name)
			}
		}
	}
	for _, number := range regexp.MustCompile(`\[S\d+\]`).FindAllString(text, -1) {
		if !tested[number] {
			t.Errorf("%s names no test", number)
		}
	}
}

// The limits of SPEC.md §11 are the constants of the code.
func TestLimitsAreThoseOfTheSpec(t *testing.T) {
	cfg := (Config{}).withDefaults()
	text, _ := spec(t)
	for what, limit := range map[string]string{
		"half-open sessions; under load, per source":       fmt.Sprintf("%d; %d", maxHalfOpen, halfOpenPerHost),
		"handshake; half-open life":                        fmt.Sprintf("%.0f s; %.0f s", cfg.HandshakeTimeout.Seconds(), halfOpenLife.Seconds()),
		"message accepted":                                 fmt.Sprintf("%d MiB, negotiated", cfg.MaxMessage>>20),
		"unreliable or sequenced message":                  fmt.Sprintf("%d KiB", channels.MaxUnreliable>>10),
		"unacknowledged bytes a sender holds, per channel": fmt.Sprintf("twice the congestion window, from %d KiB to %d MiB, then `ErrWouldBlock`", channels.SendBufferMin>>10, channels.SendBufferMax>>20),
		"credit of a channel":                              fmt.Sprintf("%d KiB, growing to %d MiB", initialCredit>>10, cfg.windowMax()>>20),
		"channels":                                         fmt.Sprintf("%d each way", channels.DefaultMaxChannels),
		"sessions; of one peer that it began":              fmt.Sprintf("%d; %d", cfg.MaxSessions, cfg.MaxSessions/peerShare),
		"ack ranges":                                       fmt.Sprint(wire.MaxAckRanges),
		"replay window":                                    fmt.Sprintf("%d frames", seal.WindowSize),
		"paths; of a dial":                                 fmt.Sprintf("%d; %d", maxPaths, maxDialPaths),
		"connection IDs held; retirements pending":         fmt.Sprintf("%d; %d", activeIDs, pendingRetire),
		"copies for an escort":                             fmt.Sprintf("%d, %d KiB", escortFrames, escortBytes>>10),
		"datagrams that answer strangers, queued":          fmt.Sprint(maxStateless),
	} {
		if row := "| " + what + " | " + limit + " |"; !strings.Contains(text, row) {
			t.Errorf("SPEC.md has no row %s", row)
		}
	}
}
