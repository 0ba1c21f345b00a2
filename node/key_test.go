package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestKeyIsCreatedOnceAndFoundAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "holdfast", "key")
	first, err := LoadOrCreateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, load := range []func(string) (Key, error){LoadKey, LoadOrCreateKey} {
		if again, err := load(path); err != nil || again != first {
			t.Errorf("loaded %v, %v; want %v", again, err, first)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestProcessesThatCreateAKeyAtOnceGetTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	keys := make([]Key, 16)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = LoadOrCreateKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, k := range keys {
		if k != keys[0] {
			t.Fatal("two identities were created")
		}
	}
}

// A key that cannot be read is left as it is, and no new identity is made.
func TestBadKeyFileIsReportedAndLeftAlone(t *testing.T) {
	good, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text := good.text()
	flipped := []byte(text)
	flipped[20] = 'a' + 'b' - min(flipped[20], 'b') // another letter
	for name, content := range map[string]string{
		"empty":         "",
		"blank":         "\n\n",
		"cut short":     text[:len(text)/2],
		"too long":      strings.TrimSpace(text) + "aa",
		"mistyped":      string(flipped),
		"another thing": "-----BEGIN OPENSSH PRIVATE KEY-----\n",
		"zero":          Key{}.text(),
		"huge":          strings.Repeat("x", 1<<20),
		"binary":        "\x00\xff\x00",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			wantKeyError(t, path)
			if b, err := os.ReadFile(path); err != nil || string(b) != content {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

func wantKeyError(t *testing.T, path string) {
	t.Helper()
	for _, load := range []func(string) (Key, error){LoadKey, LoadOrCreateKey} {
		k, err := load(path)
		var bad *KeyFileError
		if !errors.As(err, &bad) || bad.Path != path || !strings.Contains(err.Error(), path) {
			t.Errorf("the error is %v", err)
		}
		if !k.IsZero() {
			t.Error("a key came with the error")
		}
	}
}

func TestKeyFileThatOthersMayReadIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	path := filepath.Join(t.TempDir(), "key")
	if _, err := LoadOrCreateKey(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	wantKeyError(t, path)
	if _, err := LoadKey(path); !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("the error does not say what to do: %v", err)
	}
}

func TestKeyPathThatIsNoFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	wantKeyError(t, dir)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantKeyError(t, filepath.Join(file, "key"))
	if runtime.GOOS == "windows" {
		return
	}
	wantKeyError(t, "/dev/null")
	dangling := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), dangling); err != nil {
		t.Fatal(err)
	}
	wantKeyError(t, dangling)
	if _, err := os.Stat(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was created through a symbolic link")
	}
}

// A crash while a key is being created may leave temporary files of any length,
// or one with both names. None of it matters to the next start.
func TestKeyIsCreatedAfterACrashAtAnyPoint(t *testing.T) {
	other, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text := other.text()
	for cut := 0; cut <= len(text); cut += 8 {
		dir := t.TempDir()
		temp := filepath.Join(dir, ".holdfast-key-123")
		if err := os.WriteFile(temp, []byte(text[:cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := LoadOrCreateKey(filepath.Join(dir, "key")); err != nil || k == other {
			t.Fatalf("after a crash at byte %d: %v, %v", cut, k, err)
		}
	}
	dir := t.TempDir()
	temp, path := filepath.Join(dir, ".holdfast-key-123"), filepath.Join(dir, "key")
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(temp, path); err != nil {
		t.Skipf("no hard links here: %v", err)
	}
	if k, err := LoadOrCreateKey(path); err != nil || k != other {
		t.Fatalf("after a crash between link and unlink: %v, %v", k, err)
	}
}

func TestKeyDoesNotPrintItsSecret(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%s", "%+v", "%#v", "%q"} {
		s := fmt.Sprintf(verb, k)
		if strings.Contains(k.text(), strings.Trim(s, `"`)) || !strings.Contains(s, k.ID().String()) {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

func FuzzKeyFile(f *testing.F) {
	k, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.text())
	f.Add(k.text()[:30])
	f.Add("")
	f.Add(keyPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		k, err := parseKey(text)
		switch {
		case err != nil && !k.IsZero():
			t.Error("a key came with the error")
		case err == nil && k.text() != strings.TrimSpace(text)+"\n":
			t.Errorf("%q reads as the key %q", text, k.text())
		}
	})
}
