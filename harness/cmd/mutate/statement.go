package main

import (
	"fmt"
	"go/parser"
	"go/scanner"
	"go/token"
	"strings"
)

// checkStatements checks that text is statements, as a body may hold them.
func checkStatements(text string) error {
	body := "package p; func _() {\n" + text + "\n}"
	f, err := parser.ParseFile(token.NewFileSet(), "edit", body, parser.SkipObjectResolution)
	if err == nil && len(f.Decls) == 1 {
		return nil
	}
	if err == nil {
		return fmt.Errorf("parse statement: more than a body: %s", text)
	}
	return fmt.Errorf("parse statement: %s: %w", text, err)
}

// tokens is source as its tokens, between zero bytes, in a form that layout and comments
// do not change: no semicolon at the end or before a closing bracket, and no
// comma before one.
func tokens(source []byte) string {
	var s scanner.Scanner
	s.Init(token.NewFileSet().AddFile("", -1, len(source)), source, nil, 0)
	var words []string
	trim := func() {
		for n := len(words); n > 0 && (words[n-1] == ";" || words[n-1] == ","); n = len(words) {
			words = words[:n-1]
		}
	}
	for {
		_, tok, literal := s.Scan()
		switch {
		case tok == token.EOF:
			trim()
			return strings.Join(words, "\x00")
		case tok == token.SEMICOLON:
			words = append(words, ";")
			continue
		case tok == token.RBRACE || tok == token.RPAREN || tok == token.RBRACK:
			trim()
		}
		if literal == "" {
			literal = tok.String()
		}
		words = append(words, literal)
	}
}
