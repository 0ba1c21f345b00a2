package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the packages of the project from the lowest up. A package imports
// its own floor and those below, never one above.
var floors = []string{"wire", "session", "node", "rendezvous", "cmd", "examples"}

func TestImportsGoDownOnly(t *testing.T) {
	const module = "github.com/seed-67dce94e/holdfast/"
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		floor := slices.Index(floors, strings.Split(filepath.ToSlash(rel), "/")[0])
		if floor < 0 {
			t.Errorf("%s stands on no floor", rel)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files++
		for _, imp := range f.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			inside, ok := strings.CutPrefix(name, module)
			if !ok {
				continue
			}
			if below := slices.Index(floors, strings.Split(inside, "/")[0]); below > floor {
				t.Errorf("%s imports %s, a floor above it", rel, inside)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Fatalf("only %d files were looked at", files)
	}
}
