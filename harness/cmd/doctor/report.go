package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// need says who needs a capability.
type need string

const (
	byCatalogue need = "catalogue" // no story can be judged without it
	byFaults    need = "faults"    // some faults and checks need it
	byWorkshop  need = "workshop"  // who works on halfopen wants it
)

// titles stand above the groups of the table.
var titles = []struct {
	need need
	text string
}{
	{byCatalogue, "Needed by every run"},
	{byFaults, "For some faults and checks"},
	{byWorkshop, "For working on halfopen"},
}

// capability is one thing that the machine can do or cannot.
type capability struct {
	Name    string `json:"name"`
	Need    need   `json:"need"`
	Present bool   `json:"present"`
	Detail  string `json:"detail"`        // what was found
	Lost    string `json:"lost"`          // without it
	Get     string `json:"get,omitempty"` // how, where it is absent
}

func (c capability) present(detail string) capability {
	c.Present, c.Detail, c.Get = true, oneLine(detail), ""
	return c
}

// absent is the capability as it is missing here; get replaces the way to get it
// that it has by nature, unless empty.
func (c capability) absent(detail, get string) capability {
	c.Present, c.Detail = false, oneLine(detail)
	if get != "" {
		c.Get = oneLine(get)
	}
	return c
}

// tried is the capability after a try that ended with err; detail describes a
// success.
func (c capability) tried(err error, detail string) capability {
	if err != nil {
		return c.absent(err.Error(), "")
	}
	return c.present(detail)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// report is all that was found.
type report struct {
	Fit          bool         `json:"catalogue_can_run"`
	User         string       `json:"user"`
	Kernel       string       `json:"kernel"`
	Capabilities []capability `json:"capabilities"`
}

func newReport(found []capability) report {
	r := report{Fit: true, User: "root", Capabilities: found}
	if os.Geteuid() != 0 {
		r.User = "ordinary user"
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	for _, c := range found {
		r.Fit = r.Fit && (c.Present || c.Need != byCatalogue)
	}
	return r
}

// table prints the report for people: a line for what is here, three for what is
// not.
func (r report) table(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "as %s, Linux %s\n", r.User, r.Kernel)
	width := 0
	for _, c := range r.Capabilities {
		width = max(width, len(c.Name))
	}
	var missing []string
	for _, t := range titles {
		fmt.Fprintf(&b, "\n%s\n", t.text)
		for _, c := range r.Capabilities {
			if c.Need != t.need {
				continue
			}
			sign := "yes"
			if !c.Present {
				sign = "NO "
			}
			fmt.Fprintf(&b, "  %s  %-*s  %s\n", sign, width, c.Name, c.Detail)
			if c.Present {
				continue
			}
			fmt.Fprintf(&b, "       %-*s  lost: %s\n       %-*s  get:  %s\n", width, "", c.Lost, width, "", c.Get)
			if c.Need == byCatalogue {
				missing = append(missing, c.Name)
			}
		}
	}
	if r.Fit {
		b.WriteString("\nThe catalogue can run here.\n")
	} else {
		fmt.Fprintf(&b, "\nThe catalogue cannot run here: %s.\n", strings.Join(missing, ", "))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
