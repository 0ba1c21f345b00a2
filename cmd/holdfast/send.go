package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func sendVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:      "send",
		Usage:     "send a file to a peer that runs receive",
		ArgsUsage: "FILE PEER",
		Action:    verb(s, 2, 2, send),
	}
}

func send(ctx context.Context, cmd *cli.Command, r *run) error {
	peer, err := parsePeer(cmd.Args().Get(1))
	if err != nil {
		return err
	}
	f, o, err := openOffer(cmd.Args().First())
	if err != nil {
		return err
	}
	defer f.Close()
	key, err := r.guest()
	if err != nil {
		return err
	}
	if err := r.mayCall(key, peer); err != nil {
		return err
	}
	n, err := r.node(key, nil)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := r.online(ctx, n); err != nil {
		return err
	}
	c, err := r.call(ctx, n, peer, fileService)
	if err != nil {
		return err
	}
	defer c.Close()
	begin := time.Now()
	sum, err := r.upload(ctx, c, f, o)
	if err != nil {
		return err
	}
	r.print.result(transferred{
		Event: "sent", Peer: c.Peer(), Name: o.Name, Size: o.Size, SHA256: sum,
		ElapsedMS: milliseconds(time.Since(begin)), Route: c.Path(),
	})
	return nil
}

func openOffer(name string) (*os.File, offer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, offer{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = program.Hint(fmt.Errorf("%s is not a plain file", name), "send a directory as an archive of it")
	}
	if err != nil {
		f.Close()
		return nil, offer{}, err
	}
	return f, offer{Name: filepath.Base(f.Name()), Size: info.Size()}, nil
}

// upload sends the file and returns its hash once the peer has kept it.
func (r *run) upload(ctx context.Context, c *node.Conn, f io.Reader, o offer) ([]byte, error) {
	// The peer may refuse at any time: its answer ends the sending.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ch := c.Channel(dataChannel, nil)
	kept := make(chan trailer, 1)
	go func() {
		var t trailer
		if err := recvJSON(ctx, ch, &t); err != nil {
			cancel(err)
			return
		}
		kept <- t
	}()
	sum, err := r.uploadBytes(ctx, ch, f, o)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	select {
	case t := <-kept:
		if !bytes.Equal(t.SHA256, sum) {
			return nil, errors.New("the peer kept something else")
		}
		return sum, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *run) uploadBytes(ctx context.Context, ch *node.Channel, f io.Reader, o offer) ([]byte, error) {
	if err := sendJSON(ctx, ch, o); err != nil {
		return nil, err
	}
	bar := progress(r.err, o.Size, o.Name, r.json)
	defer bar.Close()
	hash := sha256.New()
	piece := make([]byte, pieceLen)
	for left := o.Size; left > 0; {
		n, err := io.ReadFull(f, piece[:min(left, pieceLen)])
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("the file became shorter while it was sent")
			}
			return nil, err
		}
		hash.Write(piece[:n])
		if err := ch.Send(ctx, piece[:n]); err != nil {
			return nil, err
		}
		bar.Add(n)
		left -= int64(n)
	}
	sum := hash.Sum(nil)
	return sum, sendJSON(ctx, ch, trailer{sum})
}
