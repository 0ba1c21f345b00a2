package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func receiveVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:  "receive",
		Usage: "wait for one file, verify it and keep it",
		Description: `Whoever has the ticket may send. The file gets the name that the sender gives it,
in the directory and nowhere else; one that is there already is not replaced.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Aliases: []string{"d"}, Value: ".", Usage: "`DIRECTORY` to keep the file in", TakesFile: true},
		},
		Action: verb(s, 0, 0, receive),
	}
}

func receive(ctx context.Context, cmd *cli.Command, r *run) error {
	dir := cmd.String("dir")
	if info, err := os.Stat(dir); err != nil {
		return program.Hint(fmt.Errorf("--dir: %w", err), "make the directory first")
	} else if !info.IsDir() {
		return program.Misused("receive: --dir: %s is not a directory", dir)
	}
	n, err := r.awaits(ctx, "holdfast send FILE")
	if err != nil {
		return err
	}
	defer n.Close()
	received := false
	err = r.answerOne(ctx, n, fileService, func(ctx context.Context, c *node.Conn) error {
		received = true
		return r.download(ctx, c, dir)
	})
	if err == nil && !received {
		return ctx.Err() // interrupted before anybody called
	}
	return err
}

// download receives one file into dir and tells the peer.
func (r *run) download(ctx context.Context, c *node.Conn, dir string) error {
	ch := c.Channel(dataChannel, nil)
	var o offer
	if err := recvJSON(ctx, ch, &o); err != nil {
		return err
	}
	begin := time.Now()
	path, sum, err := r.keep(ctx, ch, o, dir)
	if err != nil {
		c.CloseWith(closeRefused, reasonFor(err))
		return err
	}
	if err := sendJSON(ctx, ch, trailer{sum}); err != nil {
		return err
	}
	r.print.result(transferred{
		Event: "received", Peer: c.Peer(), Name: o.Name, Path: path, Size: o.Size, SHA256: sum,
		ElapsedMS: milliseconds(time.Since(begin)), Route: c.Path(),
	})
	return c.Close()
}

// reasonFor tells the sender why the file was not kept, without the names of
// directories on this machine.
func reasonFor(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if errors.Is(err, context.Canceled) {
		return "the receiver was interrupted"
	}
	return err.Error()
}

// keep writes the offered file under a temporary name and gives it its own once
// it is whole and verified. It never replaces a file.
func (r *run) keep(ctx context.Context, ch *node.Channel, o offer, dir string) (path string, sum []byte, err error) {
	if err := o.check(); err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, o.Name)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("%s is there already", o.Name)
	}
	tmp, err := os.CreateTemp(dir, ".holdfast-*")
	if err != nil {
		return "", nil, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if sum, err = r.downloadBytes(ctx, ch, tmp, o); err != nil {
		return "", nil, err
	}
	if err := errors.Join(tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return "", nil, err
	}
	return path, sum, moveNew(tmp.Name(), path)
}

// moveNew renames a file to a name that must be free.
func moveNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err // the temporary name is removed by the caller
	}
	// A file system without hard links: the name is claimed first, and replaced.
	claim, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	claim.Close()
	return os.Rename(from, to)
}

func (r *run) downloadBytes(ctx context.Context, ch *node.Channel, to io.Writer, o offer) ([]byte, error) {
	bar := progress(r.err, o.Size, o.Name, r.json)
	defer bar.Close()
	sum := sha256.New()
	if err := copyPieces(ctx, ch, io.MultiWriter(to, sum, bar), o.Size); err != nil {
		return nil, err
	}
	return verify(ctx, ch, sum)
}

func copyPieces(ctx context.Context, ch *node.Channel, to io.Writer, size int64) error {
	for left := size; left > 0; {
		m, err := ch.Recv(ctx)
		if err != nil {
			return fmt.Errorf("the file is not whole: %w", cmp.Or(ended(err), errors.New("the sender left")))
		}
		if int64(len(m.Data)) > left || len(m.Data) == 0 {
			return errors.New("the file is not of the size that was offered")
		}
		if _, err := to.Write(m.Data); err != nil {
			return err
		}
		left -= int64(len(m.Data))
	}
	return nil
}

func verify(ctx context.Context, ch *node.Channel, sum hash.Hash) ([]byte, error) {
	var t trailer
	if err := recvJSON(ctx, ch, &t); err != nil {
		return nil, err
	}
	got := sum.Sum(nil)
	if !bytes.Equal(t.SHA256, got) {
		return nil, errors.New("the hash of the file differs from that of the sender's")
	}
	return got, nil
}
