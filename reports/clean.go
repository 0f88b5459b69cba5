package reports

import (
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/halfopen/halfopen/harness/record"
)

// mostString is the length, in characters, from which on a text is cut: a target that
// prints a line of a megabyte makes no page of one.
const mostString = 4000

// clean makes every string of the events fit to be shown: what is not UTF-8, not
// printable, or turns the direction of the text becomes U+FFFD. The escaping of
// HTML and XML is the encoders' own work; this is about bytes that they let
// through (a control character is escaped well and still breaks XML, and a
// right-to-left override lets a peer name read as another one).
func clean(events []record.Event) {
	for i := range events {
		cleanValue(reflect.ValueOf(&events[i]).Elem())
	}
}

func cleanValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			cleanValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				cleanValue(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			cleanValue(v.Index(i))
		}
	case reflect.Map:
		cleanMap(v)
	case reflect.String:
		if old := v.String(); len(old) > mostString || !isClean(old) {
			v.SetString(cutText(cleanString(old), mostString))
		}
	}
}

// cleanMap builds the map anew: neither keys nor values can be changed in place.
func cleanMap(v reflect.Value) {
	if v.IsNil() {
		return
	}
	fresh := reflect.MakeMapWithSize(v.Type(), v.Len())
	for _, key := range v.MapKeys() {
		k := reflect.New(key.Type()).Elem()
		k.Set(key)
		cleanValue(k)
		value := reflect.New(v.Type().Elem()).Elem()
		value.Set(v.MapIndex(key))
		cleanValue(value)
		fresh.SetMapIndex(k, value)
	}
	v.Set(fresh)
}

func isClean(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return strings.IndexFunc(s, isUnfit) < 0
}

func cleanString(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' {
			return -1 // of a line that ended in CRLF: nothing to see
		}
		if isUnfit(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// isUnfit tells the controls (C0 without tab and newline, DEL, C1), the
// overrides, marks and isolates of direction, and the two that XML 1.0 forbids.
func isUnfit(r rune) bool {
	switch {
	case r == '\t' || r == '\n':
		return false
	case r < 0x20, r >= 0x7f && r <= 0x9f:
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
		return true
	}
	return r == 0xfffe || r == 0xffff
}
