package program

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/seed-67dce94e/holdfast/node"
)

// StateDir returns the directory for what holdfast keeps between runs:
// $XDG_STATE_HOME/holdfast, or what the operating system has in its place.
func StateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) { // others are to be ignored, says the XDG specification
		return filepath.Join(dir, "holdfast"), nil
	}
	switch runtime.GOOS {
	case "windows":
		if dir := os.Getenv("LocalAppData"); dir != "" {
			return filepath.Join(dir, "holdfast"), nil
		}
	case "darwin", "ios":
		if dir, err := os.UserConfigDir(); err == nil {
			return filepath.Join(dir, "holdfast"), nil
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for the key file: %w", err)
	}
	return filepath.Join(home, ".local", "state", "holdfast"), nil
}

// Key returns the identity in the file at path, which it creates if it is not
// there. An empty path is the file called name in [StateDir].
func Key(path, name string) (node.Key, error) {
	if path == "" {
		dir, err := StateDir()
		if err != nil {
			return node.Key{}, Hint(err, "name a file with --key")
		}
		path = filepath.Join(dir, name)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return node.Key{}, Hint(err, "name another file with --key")
	}
	return node.LoadOrCreateKey(path)
}
