package session

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestFloorIsPure parses the sources of this package and those below it: they
// import nothing that touches the world (errors.go names net.ErrClosed), start no goroutine and read no clock.
func TestFloorIsPure(t *testing.T) {
	banned := map[string]bool{
		"os": true, "sync": true, "sync/atomic": true, "crypto/rand": true,
		"log": true, "syscall": true, "runtime": true, "context": true,
	}
	clockCalls := map[string]bool{
		"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true,
		"AfterFunc": true, "NewTimer": true, "NewTicker": true, "Tick": true,
	}
	files := 0
	walk := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if banned[name] || name == "net" && filepath.Base(path) != "errors.go" {
				t.Errorf("%s imports %s", path, name)
			}
			for _, above := range []string{"holdfast/node", "holdfast/rendezvous", "holdfast/cmd"} {
				if strings.Contains(name, above) {
					t.Errorf("%s imports %s, a floor above", path, name)
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine", fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && clockCalls[n.Sel.Name] {
					t.Errorf("%s uses time.%s", fset.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
		return nil
	}
	if err := filepath.WalkDir(".", walk); err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d files were looked at", files)
	}
}
