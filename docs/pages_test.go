// SPDX-License-Identifier: Apache-2.0

// Package docs_test keeps the pages true: it runs their commands, imports their
// trust policies, follows their links, and compares their tables with the code's.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages returns the Markdown of this folder and of the repository's root, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, pattern := range []string{"*.md", "*/*.md", "../*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			pages[path] = page(t, path)
		}
	}
	return pages
}

func page(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// block is a fenced block of a page.
type block struct {
	language string
	line     int // of its first line, counted from 1
	text     string
}

var fence = regexp.MustCompile("^```([a-z]*)$")

func blocks(page string) []block {
	var found []block
	var open *block
	for i, line := range strings.SplitAfter(page, "\n") {
		switch match := fence.FindStringSubmatch(strings.TrimSuffix(line, "\n")); {
		case match != nil && open == nil:
			open = &block{language: match[1], line: i + 2}
		case match != nil:
			found = append(found, *open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	return found
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names that GitHub gives to the headings of a page.
func anchors(page string) map[string]bool {
	names := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(page, -1) {
		name := dropped.ReplaceAllString(strings.ToLower(match[1]), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

func TestLinksLeadSomewhere(t *testing.T) {
	for path, content := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(content, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, ":") {
				continue // another site
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			there, err := os.ReadFile(to)
			if info, statErr := os.Stat(to); statErr == nil && info.IsDir() && anchor == "" {
				continue
			}
			if err != nil {
				t.Errorf("%s: %s: %v", path, match[1], err)
				continue
			}
			if anchor != "" && !anchors(string(there))[anchor] {
				t.Errorf("%s: %s: no such heading", path, match[1])
			}
		}
	}
}

// Every page can be reached from the index.
func TestIndexHasEveryPage(t *testing.T) {
	index := page(t, "README.md")
	for path := range pages(t) {
		if strings.HasPrefix(path, "..") || path == "README.md" || strings.HasPrefix(path, "tokens/") && path != "tokens/README.md" {
			continue
		}
		if !strings.Contains(index, "]("+path+")") {
			t.Errorf("docs/README.md lacks %s", path)
		}
	}
}

var namedFile = regexp.MustCompile("`([\\w./*-]+/[\\w.*-]+\\.(?:go|txtar|sh|yml|yaml|sha256))`")

// A page that names a test or a file of this repository names one that is there.
func TestNamedFilesAreThere(t *testing.T) {
	named := 0
	for path, content := range pages(t) {
		for _, match := range namedFile.FindAllStringSubmatch(content, -1) {
			named++
			found, err := filepath.Glob(filepath.Join("..", match[1]))
			if err != nil {
				t.Fatal(err)
			}
			if len(found) == 0 {
				t.Errorf("%s: no %s", path, match[1])
			}
		}
	}
	if named == 0 {
		t.Error("no files are named")
	}
}
