package record

import _ "embed" // the schema

// Schema is the JSON Schema (draft 2020-12) of one line of the record. It is made from
// the types of this package, and a test holds it against them:
//
//	go test ./harness/record -run Schema -update
//
//go:embed schema.json
var Schema string
