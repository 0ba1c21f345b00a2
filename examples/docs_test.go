package examples_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readText returns a file with the ends of lines as Go has them.
func readText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

func TestReadmeShowsTheHelloProgram(t *testing.T) {
	_, body, _ := strings.Cut(readText(t, "hello/main.go"), "package main\n")
	program := "package main\n" + body
	blocks := goBlocks(readText(t, "../README.md"))
	if len(blocks) == 0 {
		t.Fatal("the README shows no program")
	}
	for _, b := range blocks {
		if b != program {
			t.Errorf("the README shows:\n%s\nwhich is not hello/main.go:\n%s", b, program)
		}
	}
}

// goBlocks returns the fenced blocks of Go in a Markdown text.
func goBlocks(text string) []string {
	var blocks []string
	for {
		_, rest, ok := strings.Cut(text, "\n```go\n")
		if !ok {
			return blocks
		}
		block, rest, _ := strings.Cut(rest, "```\n")
		blocks = append(blocks, block)
		text = rest
	}
}

func TestEveryTestThatThePromisesNameExists(t *testing.T) {
	defined := testsOfTheModule(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllStringSubmatch(readText(t, "../SECURITY.md"), -1)
	if len(named) < 15 {
		t.Fatalf("SECURITY.md names %d tests, fewer than it has promises", len(named))
	}
	for _, m := range named {
		if !defined[m[1]] {
			t.Errorf("SECURITY.md names %s, which does not exist", m[1])
		}
	}
}

func testsOfTheModule(t *testing.T) map[string]bool {
	t.Helper()
	defined := make(map[string]bool)
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range declaration.FindAllStringSubmatch(readText(t, path), -1) {
			defined[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return defined
}

func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	code := regexp.MustCompile("(?s)\n```.*?\n```")
	link := regexp.MustCompile(`\]\(([^)#]+)\)`)
	for _, doc := range []string{"../README.md", "../SECURITY.md", "../CHANGELOG.md"} {
		text := code.ReplaceAllString(readText(t, doc), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("%s: %v", doc, err)
			}
		}
	}
}
