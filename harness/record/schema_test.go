package record_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	generator "github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/halfopen/halfopen/harness/record"
)

var update = flag.Bool("update", false, "write the schema and docs/record.md anew")

// schema is made from the types and their comments.
func schema(t *testing.T) *generator.Schema {
	t.Helper()
	r := generator.Reflector{AllowAdditionalProperties: true} // a later version of the same form may add fields
	if err := r.AddGoComments("github.com/halfopen/halfopen/harness/record", ".", generator.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(&record.Event{})
	s.ID = generator.ID(fmt.Sprintf("https://halfopen.invalid/record/%d", record.Version))
	s.Title = fmt.Sprintf("One line of run.jsonl, record version %d", record.Version)
	return s
}

// hold compares text with a file, or writes it.
func hold(t *testing.T, name string, text []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, text) {
		t.Errorf("%s is not what the types say; run: go test ./harness/record -run Schema -update", name)
	}
}

func TestSchemaIsThatOfTheTypes(t *testing.T) {
	s := schema(t)
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	hold(t, "schema.json", append(text, '\n'))
	hold(t, filepath.Join("..", "..", "docs", "record.md"), page(s))
}

// page is docs/record.md: a table for each type.
func page(s *generator.Schema) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# The record of a run

Version %d. %s is one JSON object a line, an event each, appended as it happens. Everything that a report shows is in
it; %s judges it again and %s draws it again. A reader refuses a record of another version by name. Fields may be added
within a version: skip those that you do not know. Of a run that was killed the last line may be half a line; if something
was appended after that, the half line ends in a CANCEL (0x18): skip it.

The JSON Schema of a line: %s, or %s.

This page is made from the types in harness/record, and a test holds it against them.

`, record.Version, "`run.jsonl`", "`leakreport judge`", "`leakreport render`", "`leakreport schema`", "[harness/record/schema.json](../harness/record/schema.json)")
	names := slices.Sorted(maps.Keys(s.Definitions))
	names = append([]string{"Event"}, slices.DeleteFunc(names, func(n string) bool { return n == "Event" })...)
	for _, name := range names {
		d := s.Definitions[name]
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", name, flat(d.Description))
		if d.Properties == nil {
			continue
		}
		b.WriteString("| field | type | |\n| --- | --- | --- |\n")
		for p := d.Properties.Oldest(); p != nil; p = p.Next() {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Key, typeName(p.Value), strings.ReplaceAll(flat(p.Value.Description), "|", "\\|"))
		}
		b.WriteString("\n")
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

func typeName(s *generator.Schema) string {
	switch {
	case s.Ref != "":
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	case s.Type == "array":
		return "list of " + typeName(s.Items)
	case s.Type == "object" && s.AdditionalProperties != nil:
		return "map to " + typeName(s.AdditionalProperties)
	case s.Format != "":
		return s.Format
	}
	return s.Type
}

// A record that the package writes fits the schema; one that is damaged does not.
func TestSchemaFitsWhatIsWritten(t *testing.T) {
	raw, err := validator.UnmarshalJSON(strings.NewReader(record.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("record.json", raw); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("record.json")
	if err != nil {
		t.Fatal(err)
	}
	fits := func(text []byte) error {
		v, err := validator.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return s.Validate(v)
	}
	for i := range reflect.TypeFor[record.Event]().NumField() {
		e := record.Event{At: time.Unix(1, 0).UTC(), Kind: "x"}
		f := reflect.ValueOf(&e).Elem().Field(i)
		if f.Kind() != reflect.Pointer {
			continue
		}
		f.Set(full(f.Type(), 0))
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := fits(text); err != nil {
			t.Errorf("%s: %v", f.Type(), err)
		}
	}
	for _, bad := range []string{`{"at":"2026-01-01T00:00:00Z"}`, `{"at":"2026-01-01T00:00:00Z","kind":"run","run":{"version":"one"}}`, `{"at":5,"kind":"end"}`} {
		if fits([]byte(bad)) == nil {
			t.Errorf("%s fits the schema", bad)
		}
	}
}

// full is a value with something in each field.
func full(t reflect.Type, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(full(t.Elem(), depth+1))
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(7, 0).UTC()))
			break
		}
		for i := range t.NumField() {
			if t.Field(i).IsExported() && depth < 8 {
				v.Field(i).Set(full(t.Field(i).Type, depth+1))
			}
		}
	case reflect.Slice:
		v.Set(reflect.Append(v, full(t.Elem(), depth+1)))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(full(t.Key(), depth+1), full(t.Elem(), depth+1))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint64:
		v.SetUint(3)
	case reflect.Float64:
		v.SetFloat(0.5)
	}
	return v
}

// A record of another version is refused by name, an older one and a newer one.
func TestOtherVersionsAreRefusedByName(t *testing.T) {
	for version, want := range map[int]string{record.Version + 1: "newer", 0: "older"} {
		_, err := record.Decode(strings.NewReader(fmt.Sprintf(`{"kind":"run","run":{"version":%d}}`+"\n", version)))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fmt.Sprintf("version %d", version)) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}
