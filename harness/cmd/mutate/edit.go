package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/cfg"
)

var errNoFunc = errors.New("there is no func")

// Apply makes the edits in source, the content of the file at path. They are made
// in the text, not printed anew from the tree: comments and layout stay, and //line
// directives keep the numbers of all lines that were there before. The statements
// that are new have the number of the line where they are put in, and those after
// it. The error is errNoFunc if a function is not here; two edits of the same
// statements are an error, too.
func Apply(path string, source []byte, places []Place) ([]byte, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse source: %w", err)
	}
	p := patcher{path: path, source: source, file: fset.File(file.Pos())}
	var cuts []cut
	var imports []string
	for _, place := range places {
		fn, err := findFunc(file, place.Func)
		if err != nil {
			return nil, err
		}
		if fn.Body == nil {
			return nil, fmt.Errorf("func %s has no body", place.Func)
		}
		c, err := p.cut(fn, place)
		if err != nil {
			return nil, err
		}
		cuts = append(cuts, c)
		imports = append(imports, place.Imports...)
	}
	// Stable: two edits that add at one place come in the order of the definition.
	slices.SortStableFunc(cuts, func(a, b cut) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(cuts); i++ {
		if cuts[i].from < cuts[i-1].to {
			return nil, fmt.Errorf("two edits meet in line %d", p.file.Line(p.file.Pos(cuts[i].from)))
		}
	}
	patched := p.splice(append([]cut{importCut(p, file, imports)}, cuts...)...)
	if _, err := parser.ParseFile(token.NewFileSet(), path, patched, parser.SkipObjectResolution); err != nil {
		return nil, fmt.Errorf("parse patched source: %w", err)
	}
	return patched, nil
}

// findFunc finds the function that stacks call name.
func findFunc(file *ast.File, name string) (*ast.FuncDecl, error) {
	var found *ast.FuncDecl
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || stackName(fn) != name {
			continue
		}
		if found != nil { // init, or _
			return nil, fmt.Errorf("func %s is ambiguous: the file has it twice", name)
		}
		found = fn
	}
	if found == nil {
		return nil, errNoFunc
	}
	return found, nil
}

func stackName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	recv, form := fn.Recv.List[0].Type, "%s.%s"
	for {
		switch t := recv.(type) {
		case *ast.ParenExpr:
			recv = t.X
		case *ast.StarExpr:
			recv, form = t.X, "(*%s).%s"
		case *ast.IndexExpr:
			recv = t.X
		case *ast.IndexListExpr:
			recv = t.X
		case *ast.Ident:
			return fmt.Sprintf(form, t.Name, fn.Name.Name)
		default:
			return "" // does not compile
		}
	}
}

// cut is a piece of source, from one offset to another, and what is put there.
type cut struct {
	from, to int
	text     string
	inline   bool // on the line itself; else with lines of its own
}

type patcher struct {
	path   string
	source []byte
	file   *token.File
}

// cut is the place and the text of the edit.
func (p patcher) cut(fn *ast.FuncDecl, place Place) (cut, error) {
	e := place.Edit
	switch {
	case e.Append != "":
		if fn.Type.Results != nil || !fallsOff(fn.Body) {
			return cut{}, fmt.Errorf("append to func %s: control never comes to the end of its body; replace a statement", place.Func)
		}
		at := p.file.Offset(fn.Body.Rbrace)
		return cut{from: at, to: at, text: e.Append}, checkStatements(e.Append)
	case e.Prepend != "":
		at := p.file.Offset(fn.Body.Lbrace) + 1
		return cut{from: at, to: at, text: e.Prepend}, checkStatements(e.Prepend)
	}
	old, text := e.Remove, ""
	if e.Replace != nil {
		old, text = e.Replace.Old, e.Replace.New
		if err := checkStatements(text); err != nil {
			return cut{}, err
		}
	}
	statement, err := p.find(fn, old)
	if err != nil {
		return cut{}, fmt.Errorf("edit func %s: %w", place.Func, err)
	}
	return cut{from: p.file.Offset(statement.Pos()), to: p.file.Offset(statement.End()), text: text}, nil
}

// find is the one statement of fn, at any depth, that has the tokens of text.
func (p patcher) find(fn *ast.FuncDecl, text string) (ast.Stmt, error) {
	if err := checkStatements(text); err != nil {
		return nil, err
	}
	want := tokens([]byte(text))
	var found []ast.Stmt
	var lines []string
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		var list []ast.Stmt
		switch n := n.(type) {
		case *ast.BlockStmt:
			list = n.List
		case *ast.CaseClause:
			list = n.Body
		case *ast.CommClause:
			list = n.Body
		}
		for _, s := range list {
			if tokens(p.source[p.file.Offset(s.Pos()):p.file.Offset(s.End())]) == want {
				found = append(found, s)
				lines = append(lines, strconv.Itoa(p.file.Line(s.Pos())))
			}
		}
		return true
	})
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("statement not found: %s", text)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("statement is ambiguous, in lines %s: %s", strings.Join(lines, ", "), text)
}

// splice puts the cuts, in their order, into the source.
func (p patcher) splice(cuts ...cut) []byte {
	var out bytes.Buffer
	p.directive(&out, 1)
	at := 0
	for _, c := range cuts {
		out.Write(p.source[at:c.from])
		if c.inline {
			out.WriteString(c.text)
		} else {
			out.WriteByte('\n')
			p.directive(&out, p.file.Line(p.file.Pos(c.from)))
			out.WriteString(c.text)
			out.WriteByte('\n')
			p.directive(&out, p.file.Line(p.file.Pos(c.to)))
		}
		at = c.to
	}
	out.Write(p.source[at:])
	return out.Bytes()
}

// directive says that the next line is line n of the file: "//line" works only
// from the first column.
func (p patcher) directive(out *bytes.Buffer, n int) {
	fmt.Fprintf(out, "//line %s (patched):%d\n", p.path, n)
}

// importCut imports the paths that the file does not import yet, on the line of
// the package clause.
func importCut(p patcher, file *ast.File, paths []string) cut {
	has := map[string]bool{}
	for _, spec := range file.Imports {
		has[spec.Path.Value] = true
	}
	var text strings.Builder
	for _, path := range paths {
		if quoted := strconv.Quote(path); !has[quoted] {
			fmt.Fprintf(&text, "; import %s", quoted)
			has[quoted] = true
		}
	}
	at := p.file.Offset(file.Name.End())
	return cut{from: at, to: at, text: text.String(), inline: true}
}

// fallsOff tells whether control may come to the end of body.
func fallsOff(body *ast.BlockStmt) bool {
	mayReturn := func(call *ast.CallExpr) bool {
		name, ok := call.Fun.(*ast.Ident)
		return !ok || name.Name != "panic"
	}
	for _, block := range cfg.New(body, mayReturn).Blocks {
		if r := block.Return(); block.Live && r != nil && r.Return == body.Rbrace {
			return true
		}
	}
	return false
}
