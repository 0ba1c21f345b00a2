package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"github.com/seed-67dce94e/holdfast/node"
)

// A file travels on the data channel as an offer, its bytes in messages of at
// most pieceLen, and a trailer. Once it has kept the file, the receiver answers
// with a trailer of its own. Offer and trailer are JSON.
const pieceLen = 64 << 10

// nameLenMax is what every common file system takes.
const nameLenMax = 255

type offer struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

type trailer struct {
	SHA256 hexBytes `json:"sha256"`
}

// check refuses an offer that this machine could not keep as a plain file in a
// directory of its choice, whatever the sender's intentions are.
func (o offer) check() error {
	switch {
	case o.Size < 0:
		return errors.New("the size is negative")
	case len(o.Name) > nameLenMax || !utf8.ValidString(o.Name):
		return errors.New("the name is too long or not text")
	case strings.ContainsAny(o.Name, `/\:`) || strings.IndexFunc(o.Name, isControl) >= 0:
		return errors.New("the name holds a character that no plain name has")
	case o.Name == "." || !filepath.IsLocal(o.Name):
		return errors.New("the name is not that of a file")
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// hexBytes is a hash in JSON.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

func sendJSON(ctx context.Context, ch *node.Channel, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return ch.Send(ctx, b)
}

// recvJSON fails with the reason that the peer gave if it closed the session.
func recvJSON(ctx context.Context, ch *node.Channel, v any) error {
	m, err := ch.Recv(ctx)
	if err != nil {
		if err := ended(err); err != nil {
			return err
		}
		return errors.New("the peer left in the middle")
	}
	if err := json.Unmarshal(m.Data, v); err != nil {
		return fmt.Errorf("the peer does not speak this protocol: %w", err)
	}
	return nil
}

// progress shows on w how many of so many bytes are done, if a person is watching
// there.
func progress(w io.Writer, size int64, what string, quiet bool) *progressbar.ProgressBar {
	return bar(w, size, what, quiet, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
}

func bar(w io.Writer, total int64, what string, quiet bool, unit ...progressbar.Option) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, append(unit,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetVisibility(watched(w) && !quiet),
		progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)...)
}

// A transferred file is the result of send and receive.
type transferred struct {
	Event     string      `json:"event"` // sent or received
	Peer      node.PeerID `json:"peer"`
	Name      string      `json:"name"`
	Path      string      `json:"path,omitempty"` // where the received file is
	Size      int64       `json:"size"`
	SHA256    hexBytes    `json:"sha256"`
	ElapsedMS float64     `json:"elapsed_ms"`
	Route     node.Path   `json:"route"`
}

func (t transferred) String() string {
	name := t.Name
	if t.Path != "" {
		name = t.Path
	}
	rate := float64(t.Size) / (1 << 20) / max(t.ElapsedMS/1000, 1e-3)
	return fmt.Sprintf("%s %s: %d bytes in %.1f s (%.1f MiB/s), %s, verified\nsha256 %x",
		t.Event, name, t.Size, t.ElapsedMS/1000, rate, t.Route, []byte(t.SHA256))
}
