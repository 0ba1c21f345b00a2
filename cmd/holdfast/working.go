package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// watched reports whether a person is watching what is written to w.
func watched(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// working tells a person who watches standard error what takes so long, until
// done is called.
func (r *run) working(what string) (done func()) {
	bar := progressbar.NewOptions(-1,
		progressbar.OptionSetWriter(r.err),
		progressbar.OptionSetVisibility(watched(r.err) && !r.json),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
	)
	return func() { bar.Finish() }
}
