package reports

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// evidenceView is what was kept of one spec, or of one cycle.
type evidenceView struct {
	Of, Dir  string
	Files    []evidenceFile
	Missing  []string
	Redacted string
}

// evidenceFile is one file; Link leads to it, "" if its name would lead out of the
// run's folder.
type evidenceFile struct{ Name, Link, What, Size string }

// evidence lists what the record says was kept beside it.
func (sp *spec) evidence() []evidenceView {
	var list []evidenceView
	for _, r := range sp.rounds {
		for _, e := range r.evidence {
			v := evidenceView{Of: (focus{sp, r}).name(), Dir: e.it.Dir, Missing: e.it.Missing}
			if e.it.Redacted > 0 {
				v.Redacted = count(e.it.Redacted, "secret") + " blacked out"
			}
			for _, f := range e.it.Files {
				file := evidenceFile{Name: f.Name, What: f.What, Size: size(f.Bytes)}
				if f.Cut {
					file.Size += ", its last part only"
				}
				file.Link = localLink(path.Join(e.it.Dir, f.Name))
				v.Files = append(v.Files, file)
			}
			list = append(list, v)
		}
	}
	return list
}

// localLink is a link to a file of the run's folder. A record comes from anywhere: only a
// plain path below that folder is one, else it is "".
func localLink(to string) string {
	if to == "" || !filepath.IsLocal(to) || strings.ContainsAny(to, ":\\") {
		return ""
	}
	return "./" + to
}

// evidenceWords sums up what was kept.
func (v evidenceView) Words() string {
	text := fmt.Sprintf("%s in %s", count(len(v.Files), "file"), v.Dir)
	if v.Redacted != "" {
		text += ", " + v.Redacted
	}
	return text
}
