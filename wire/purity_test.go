package wire

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// This package turns bytes into values and back. A clock, a socket, a lock or a
// random source here would mean that something else has crept in.
func TestPackageIsPure(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no sources", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !pureImport(path) {
				t.Errorf("%v: import of %s", fset.Position(spec.Pos()), path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				t.Errorf("%v: a goroutine or channel", fset.Position(n.Pos()))
			}
			return true
		})
	}
}

func pureImport(path string) bool {
	switch path {
	case "net/netip", "github.com/google/uuid":
		return true
	}
	first, _, _ := strings.Cut(path, "/")
	if strings.Contains(first, ".") {
		return false // not the standard library
	}
	if path == "crypto/rand" {
		return false
	}
	switch first {
	case "net", "os", "time", "sync", "runtime", "unsafe", "context", "syscall":
		return false
	}
	return !strings.HasPrefix(path, "math/rand")
}

func TestPurityTestKnowsWhatIsImpure(t *testing.T) {
	for _, path := range []string{
		"net", "net/http", "os", "os/exec", "time", "sync", "sync/atomic", "crypto/rand", "math/rand", "math/rand/v2",
		"unsafe", "golang.org/x/sys/unix", "github.com/sirupsen/logrus",
	} {
		if pureImport(path) {
			t.Errorf("%s passes as pure", path)
		}
	}
	for _, path := range []string{"net/netip", "encoding/binary", "crypto/sha256", "github.com/google/uuid", "math/bits"} {
		if !pureImport(path) {
			t.Errorf("%s does not pass as pure", path)
		}
	}
}
