// SPDX-License-Identifier: Apache-2.0

package wording_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/wording"
)

// root is the module's directory.
const root = "../.."

// shipped are the directories whose errors users read.
var shipped = []string{"pkcs11", "plugin", "action", "cmd", "internal"}

// maker is a function that makes errors, by the places of its arguments: the error's
// text, and the hint. No argument is in the place -1.
type maker struct{ what, hint int }

var makers = map[string]maker{
	"Errorf": {0, -1}, "New": {0, -1}, "notOfThisKey": {1, -1},
	"newError": {1, -1}, "failed": {1, -1}, "asError": {1, -1}, "uriError": {0, -1}, "wallError": {0, -1}, "refuse": {0, -1},
	"NewError": {1, -1}, "NewValidationError": {0, -1}, "NewValidationErrorf": {0, -1}, "NewGenericError": {0, -1},
	"Refuse": {2, 1}, "advise": {1, 0}, "withTodo": {-1, 0},
}

// Members of errors that are written as a value.
var (
	whats = []string{"Message", "error", "Advice"}
	hints = []string{"Todo", "hint"}
)

// advices is the table of what to do about errors of a kind.
const advices, advicesIn = "ofKind", "plugin"

// Every error and every hint in the code has the form, whatever may lead to it, and no
// error that says what to do has a hint beside it. What is put together when the program
// runs is looked at by tests that run it.
func TestStringsInTheCodeHaveTheForm(t *testing.T) {
	ofKind := readAdvices(t)
	if len(ofKind) < 20 {
		t.Errorf("the table of advices has %d rows", len(ofKind))
	}
	errors, hinted := 0, 0
	for _, directory := range packages(t) {
		p := parse(t, directory)
		p.ofKind = ofKind
		for _, file := range p.files {
			seen := map[ast.Node]bool{} // as a part of another
			ast.Inspect(file, func(n ast.Node) bool {
				if n == nil || seen[n] {
					return n != nil
				}
				what, hint := p.told(n, seen)
				var flaws []string
				switch {
				case what != "":
					errors++
					flaws = wording.Pair(what, hint)
				case hint != "":
					flaws = wording.Hint(hint)
				}
				if hint != "" {
					hinted++
				}
				for _, flaw := range flaws {
					t.Errorf("%s: %s: %q %q", p.positions.Position(n.Pos()), flaw, what, hint)
				}
				return true
			})
		}
	}
	if errors < 500 || hinted < 80 {
		t.Errorf("only %d errors and %d hints were looked at", errors, hinted)
	}
}

// packages are the directories below those of shipped.
func packages(t *testing.T) []string {
	t.Helper()
	var directories []string
	for _, top := range shipped {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				directories = append(directories, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return directories
}

// source is a package, and the texts that it names.
type source struct {
	positions *token.FileSet
	files     []*ast.File
	values    map[string]ast.Expr
	ofKind    map[string]string // of errors of the package pkcs11
}

func parse(t *testing.T, directory string) source {
	t.Helper()
	p := source{token.NewFileSet(), nil, map[string]ast.Expr{}, nil}
	names, err := filepath.Glob(filepath.Join(directory, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(p.positions, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		p.files = append(p.files, file)
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for i, value := range spec.Values {
					p.values[spec.Names[i].Name] = value
				}
			}
			return true
		})
	}
	return p
}

// readAdvices reads what is to be done about errors of each kind.
func readAdvices(t *testing.T) map[string]string {
	t.Helper()
	p := parse(t, filepath.Join(root, advicesIn))
	table, ok := p.values[advices].(*ast.CompositeLit)
	if !ok {
		t.Fatalf("there is no table %s", advices)
	}
	todos := map[string]string{}
	for _, row := range table.Elts {
		pair := row.(*ast.KeyValueExpr)
		for _, member := range pair.Value.(*ast.CompositeLit).Elts {
			if member := member.(*ast.KeyValueExpr); nameOf(member.Key) == "todo" {
				todos[nameOf(pair.Key)] = p.text(member.Value)
			}
		}
	}
	return todos
}

// told returns the error and the hint that a node makes, and notes which nodes in it
// were looked at.
func (p source) told(n ast.Node, seen map[ast.Node]bool) (what, hint string) {
	switch n := n.(type) {
	case *ast.CallExpr:
		m, known := makerOf(n)
		if !known {
			return "", ""
		}
		what, hint = p.argument(n, m.what), p.argument(n, m.hint)
		if nameOf(n.Fun) == "newError" {
			hint = p.ofKind[nameOf(n.Args[0])]
		}
		if m.what < 0 { // of what the method is called on
			inner := n
			for inner != nil && nameOf(inner.Fun) != "newError" {
				on, isMethod := inner.Fun.(*ast.SelectorExpr)
				if !isMethod {
					return "", hint
				}
				inner, _ = on.X.(*ast.CallExpr)
			}
			if inner != nil {
				seen[inner] = true
				what = p.argument(inner, makers["newError"].what)
			}
		}
	case *ast.CompositeLit:
		for _, e := range n.Elts {
			member, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			for _, name := range whats {
				if nameOf(member.Key) == name {
					if call, isCall := member.Value.(*ast.CallExpr); isCall {
						what, _ = p.told(call, seen)
						seen[call] = true
					}
					what += p.text(member.Value)
				}
			}
			for _, name := range hints {
				if nameOf(member.Key) == name {
					hint = p.text(member.Value)
				}
			}
		}
	}
	return what, hint
}

func makerOf(call *ast.CallExpr) (maker, bool) {
	name := nameOf(call.Fun)
	if on, isMethod := call.Fun.(*ast.SelectorExpr); name == "New" && (!isMethod || nameOf(on.X) != "errors") {
		return maker{}, false
	}
	m, known := makers[name]
	return m, known
}

func (p source) argument(call *ast.CallExpr, i int) string {
	if i < 0 || i >= len(call.Args) {
		return ""
	}
	return p.text(call.Args[i])
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// text is what an expression says of which the beginning is constant; what else is in it
// is one word.
func (p source) text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.Ident:
		if value, known := p.values[e.Name]; known {
			return p.text(value)
		}
	case *ast.BinaryExpr:
		if left := p.text(e.X); left != "" {
			if right := p.text(e.Y); right != "" {
				return left + right
			}
			return left + "%v"
		}
	case *ast.CallExpr:
		if nameOf(e.Fun) == "Sprintf" {
			return p.argument(e, 0)
		}
	}
	return ""
}
