package node

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/seed-67dce94e/holdfast/session"
)

// A Key is the identity of a node: a private key, whose public half is the peer
// ID. The zero Key is nobody's.
type Key struct{ secret [32]byte }

// NewKey makes a key from the system's random source.
func NewKey() (Key, error) {
	var k Key
	rand.Read(k.secret[:]) // never fails
	if _, err := session.PublicKey(k.secret); err != nil {
		return Key{}, fmt.Errorf("node: making a key: %w", err)
	}
	return k, nil
}

// ID returns the peer ID that belongs to the key, or the zero PeerID if k is zero.
func (k Key) ID() PeerID {
	if k.IsZero() {
		return PeerID{}
	}
	id, err := session.PublicKey(k.secret)
	if err != nil {
		return PeerID{} // no key that NewKey or LoadKey returned
	}
	return id
}

// IsZero reports whether k is the zero Key.
func (k Key) IsZero() bool { return k == Key{} }

// String returns the peer ID, never the secret: keys end up in logs.
func (k Key) String() string { return k.ID().String() }

// GoString keeps the secret out of %#v as String does out of %v.
func (k Key) GoString() string { return "node.Key(" + k.String() + ")" }

// A KeyFileError reports a key file that cannot be used. The file is left as it
// is: a node never takes a new identity because the old one is unreadable.
type KeyFileError struct {
	Path string
	Err  error
	Hint string // what to do about it
}

func (e *KeyFileError) Error() string {
	msg := fmt.Sprintf("node: key file %s: %v", e.Path, e.Err)
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return msg
}

// Unwrap returns e.Err.
func (e *KeyFileError) Unwrap() error { return e.Err }

// The text of a key file is keyPrefix, then the secret and a checksum in base32,
// on one line.
const (
	keyPrefix      = "hfk1"
	keyChecksumLen = 4
	keyFileMax     = 4096
)

var keyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Faults in the content of a key file.
var (
	errKeyEmpty    = errors.New("the file is empty")
	errKeyPrefix   = errors.New("this is not a holdfast key")
	errKeyMangled  = errors.New("the key is damaged")
	errKeyExposed  = errors.New("other users may read the key")
	errKeyNotAFile = errors.New("not a regular file")
)

// LoadKey reads a key file. Its errors are *KeyFileError.
func LoadKey(path string) (Key, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return Key{}, err
	}
	key, err := parseKey(text)
	if err != nil {
		return Key{}, &KeyFileError{path, err, "restore it from a backup, or move it away to get a new identity"}
	}
	return key, nil
}

func readKeyFile(path string) (string, error) {
	// Stat first: opening a pipe or a device may block or have effects.
	info, err := os.Stat(path)
	if err != nil {
		return "", &KeyFileError{Path: path, Err: withoutPath(err)}
	}
	if !info.Mode().IsRegular() {
		return "", &KeyFileError{path, errKeyNotAFile, "name a file"}
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return "", &KeyFileError{path, errKeyExposed, "chmod 600 " + path}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", &KeyFileError{path, withoutPath(err), "make it readable for this user"}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, keyFileMax))
	if err != nil {
		return "", &KeyFileError{Path: path, Err: withoutPath(err)}
	}
	return string(b), nil
}

// withoutPath drops what an *fs.PathError says of the path, which a
// KeyFileError says already.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

func parseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Key{}, errKeyEmpty
	}
	digits, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		return Key{}, errKeyPrefix
	}
	b, err := keyEncoding.DecodeString(digits)
	if err != nil || len(b) != len(Key{}.secret)+keyChecksumLen {
		return Key{}, errKeyMangled
	}
	key := Key{secret: [32]byte(b)}
	if key.text() != text+"\n" || key.IsZero() { // compares the checksum, and refuses other spellings
		return Key{}, errKeyMangled
	}
	if _, err := session.PublicKey(key.secret); err != nil {
		return Key{}, errKeyMangled
	}
	return key, nil
}

func (k Key) text() string {
	sum := k.checksum()
	return keyPrefix + keyEncoding.EncodeToString(append(k.secret[:], sum[:keyChecksumLen]...)) + "\n"
}

func (k Key) checksum() [sha256.Size]byte {
	return sha256.Sum256(append([]byte(keyPrefix), k.secret[:]...))
}

// LoadOrCreateKey reads a key file, or makes one with a new key if there is none
// at the path. Whatever else is there is left alone and reported. Of several
// processes that create it at once, all get the same key. Its errors are
// *KeyFileError.
func LoadOrCreateKey(path string) (Key, error) {
	key, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = NewKey(); err != nil {
		return Key{}, err
	}
	switch err := createKeyFile(path, key.text()); {
	case errors.Is(err, fs.ErrExist):
		return LoadKey(path) // another process was first
	case err != nil:
		return Key{}, &KeyFileError{path, withoutPath(err), "a new identity could not be stored"}
	}
	return key, nil
}

// createKeyFile makes a file that did not exist. A crash at any point leaves
// either no file at path or the whole one: the content is on disk before it gets
// its name, and link(2), unlike rename(2), never replaces what is there.
func createKeyFile(path, text string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".holdfast-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(text)
	if err == nil {
		err = temp.Sync()
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir puts the names in a directory on disk.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there; NTFS journals names
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
