// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever other packages can use says what it is: types, functions, methods,
// constants, variables. A field may be explained by its type's comment.
func TestEveryExportedNameIsExplained(t *testing.T) {
	files := token.NewFileSet()
	explained := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); name != ".." && strings.HasPrefix(name, ".") || name == "cmd" || name == "dist" {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		if file.Name.Name == "main" {
			return nil
		}
		for _, name := range unexplained(file, &explained) {
			t.Errorf("%s: nothing explains %s", files.Position(name.Pos()), name.Name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if explained < 50 {
		t.Errorf("only %d names were looked at", explained)
	}
}

// unexplained returns the exported names of a file that have no comment, and
// counts those that do.
func unexplained(file *ast.File, explained *int) []*ast.Ident {
	var missing []*ast.Ident
	check := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		for _, comment := range comments {
			if comment != nil {
				*explained++
				return
			}
		}
		missing = append(missing, name)
	}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || receiverIsExported(d) {
				check(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					check(s.Name, s.Doc, d.Doc)
					body, ok := s.Type.(*ast.InterfaceType)
					if !ok || !s.Name.IsExported() {
						continue
					}
					for _, method := range body.Methods.List {
						for _, name := range method.Names {
							check(name, method.Doc, method.Comment)
						}
					}
				case *ast.ValueSpec:
					for _, name := range s.Names {
						check(name, s.Doc, s.Comment, d.Doc)
					}
				}
			}
		}
	}
	return missing
}

func receiverIsExported(d *ast.FuncDecl) bool {
	base := d.Recv.List[0].Type
	if star, ok := base.(*ast.StarExpr); ok {
		base = star.X
	}
	name, ok := base.(*ast.Ident)
	return ok && name.IsExported()
}
