package reports

import (
	"context"
	_ "embed" // what is asked of a page
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	pages "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// ask is a script that looks at the page as drawn and lists what is wrong with it.
//
//go:embed testdata/ask.js
var ask string

// chromium starts one headless browser for a test; it ends with the test. Without a
// browser on this machine the test is skipped.
func chromium(t testing.TB) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no chromium on this machine: apt-get install chromium")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
	}
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has none for root
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	browser, end := chromedp.NewContext(allocator)
	t.Cleanup(end)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return browser
}

// mode is a way to look at a page.
type mode struct {
	name          string
	width, height int64
	phone         bool
	scheme        string // "light" or "dark"
	media         string // "print", else the screen
	scripts       bool
}

var modes = []mode{
	{name: "light", width: 1100, height: 800, scheme: "light", scripts: true},
	{name: "dark", width: 1100, height: 800, scheme: "dark", scripts: true},
	{name: "phone", width: 360, height: 740, phone: true, scheme: "light", scripts: true},
	{name: "without scripts", width: 1100, height: 800, scheme: "light"},
	{name: "print", width: 718, height: 1000, scheme: "dark", media: "print", scripts: true}, // A4 at 96 dpi, with margins
}

// seen is what the browser says of a page.
type seen struct {
	Problems []string
	Text     string
	Texts    []string // the pieces of the text that have a number
	Charts   int
	Controls int
	Dialogs  int
}

// step is a command to the tab, as an action.
func step[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

// into runs an action and keeps what it returns.
func into[T any](to *T, a chromedp.Action[T]) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) (err error) {
		*to, err = a(ctx, t)
		return err
	})
}

// look opens the file in a new tab. What it logs, and each request that is not for
// the file itself, is among the problems.
func look(t *testing.T, browser context.Context, m mode, file string, more ...chromedp.Action[chromedp.Void]) seen {
	t.Helper()
	tab, closeTab := chromedp.NewContext(browser)
	defer closeTab()
	var mu sync.Mutex
	var logged []string
	problem := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		logged = append(logged, fmt.Sprintf(format, args...))
	}
	address := "file://" + file
	err := chromedp.Listen(tab, func(event any) {
		switch e := event.(type) {
		case *log.EventEntryAdded:
			problem("log: %s %s", e.Entry.Level, e.Entry.Text)
		case *runtime.EventConsoleAPICalled:
			problem("console: %s", e.Type)
		case *runtime.EventExceptionThrown:
			problem("exception: %s", e.ExceptionDetails.Text)
		case *network.EventRequestWillBeSent:
			if url, _, _ := strings.Cut(e.Request.URL, "#"); url != address {
				problem("request: %s", e.Request.URL)
			}
		case *pages.EventJavascriptDialogOpening:
			problem("dialog: %s", e.Message)
		}
	})
	if err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	ctx, cancel := context.WithTimeout(tab, time.Minute)
	defer cancel()
	var answer string
	err = chromedp.Do(ctx, append([]chromedp.Action[chromedp.Void]{
		step(log.Enable, cdp.Empty{}), step(network.Enable, network.EnableParams{}),
		step(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: m.width, Height: m.height, DeviceScaleFactor: 1, Mobile: m.phone}),
		step(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: m.media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: m.scheme}}}),
		step(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !m.scripts}),
		chromedp.Navigate(address),
		into(&answer, chromedp.Evaluate[string](ask)),
	}, more...)...)
	if err != nil {
		t.Fatalf("look at %s, %s: %v", file, m.name, err)
	}
	var s seen
	if err := json.Unmarshal([]byte(answer), &s); err != nil {
		t.Fatalf("read the answer of the page: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	s.Problems = append(s.Problems, logged...)
	return s
}

// drawn writes the pages of every kind and gives the file of each.
func drawn(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for name, b := range map[string]*recordBuilder{
		"pass": passRun(t), "leak": leakRun(t), "soak": soakRun(t, 30, 17), "interrupted": interruptedRun(t), "empty": newRecord(t), "hostile": hostileRun(t), "sweep": sweepRun(t),
		"late": lateRun(t), "shrunk": shrunkRun(t), "survived": survivedRun(t),
	} {
		dir := b.write()
		mustWrite(t, dir)
		files[name] = filepath.Join(dir, PageName)
	}
	dir := leakRun(t).write()
	path := filepath.Join(dir, "run.jsonl")
	data := read(t, dir, "run.jsonl")
	if err := os.WriteFile(path, []byte(data[:len(data)*2/3]), 0o644); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, dir)
	files["cut"] = filepath.Join(dir, PageName)
	dir = runsFolder(t, "20261120-093000-scenarios", "20261121-093000-scenarios", "20261122-093000-soak")
	mustIndex(t, dir, 0)
	files["index"] = filepath.Join(dir, PageName)
	return files
}

func TestPagesInTheBrowser(t *testing.T) {
	browser := chromium(t)
	for name, file := range drawn(t) {
		full := seen{}
		// On paper and without scripts the others have nothing that these do not.
		rich := name == "leak" || name == "soak" || name == "hostile" || name == "sweep" || name == "shrunk" || name == "index"
		for _, m := range modes {
			if !rich && (m.media == "print" || !m.scripts) {
				continue
			}
			var s seen
			if m.name == "light" {
				var pdf []byte
				if s, pdf = printed(t, browser, file); !whole(pdf) {
					t.Errorf("%s: the PDF has %d bytes", name, len(pdf))
				}
			} else {
				s = look(t, browser, m, file)
			}
			for _, p := range s.Problems {
				t.Errorf("%s, %s: %s", name, m.name, p)
			}
			switch {
			case m.name == "light":
				full = s
			case s.Charts != full.Charts:
				t.Errorf("%s, %s: %d charts, %d in the light", name, m.name, s.Charts, full.Charts)
			}
			if (s.Controls > 0) != (m.scripts && full.Controls > 0) {
				t.Errorf("%s, %s: %d controls", name, m.name, s.Controls)
			}
			if m.name == "without scripts" && s.Text != full.Text {
				t.Errorf("%s: the page reads otherwise without scripts", name)
			}
		}
	}
}

// printed looks at the page in the light, and prints it.
func printed(t *testing.T, browser context.Context, file string) (s seen, pdf []byte) {
	t.Helper()
	s = look(t, browser, modes[0], file, into(&pdf, chromedp.PrintToPDF(chromedp.PDFPrintBackground())))
	return s, pdf
}

// whole says whether a PDF has letters and drawings: the fonts alone are more than that.
func whole(pdf []byte) bool { return strings.HasPrefix(string(pdf), "%PDF-") && len(pdf) > 20_000 }

// What these tests look for is found where it is planted.
func TestBrowserFindsWhatIsPlanted(t *testing.T) {
	browser := chromium(t)
	light, phone, paper := modes[0], modes[2], modes[len(modes)-1]
	planted := func(css string) string {
		t.Helper()
		sound := styleText
		defer func() { styleText = sound }()
		styleText += css
		dir := leakRun(t).write()
		mustWrite(t, dir)
		return filepath.Join(dir, PageName)
	}
	for _, c := range []struct {
		css, want string
		in        mode
	}{
		{".plot text.end { transform: translateX(900px); }", "label off the screen", light},
		{".panel { margin-top: -60px; }", "charts on each other", light},
		{".panel { margin-top: 300px; }", "a gap of 300 px between charts", light},
		{"table.baseline tbody th { white-space: nowrap !important; }", "cut at the right: gauge tunnel_pre_auth_connections", phone},
		{"pre.command { width: 12rem; } pre.command span { white-space: pre-wrap !important; }", "a word of a command on two lines", phone},
		{".files td.addr { white-space: nowrap !important; } .files td.prose { min-width: 12rem !important; }", "cut at the right", phone},
		{"@media print { .panel { margin-top: -60px; } }", "charts on each other", paper},
	} {
		if s := look(t, browser, c.in, planted(c.css)); !strings.Contains(strings.Join(s.Problems, "\n"), c.want) {
			t.Errorf("%s, %s: found %q, not %q", c.css, c.in.name, s.Problems, c.want)
		}
	}
	file := planted("@media print { .plot svg.chart { display: none; } }")
	if all, left := look(t, browser, light, file).Charts, look(t, browser, paper, file).Charts; all == 0 || left != 0 {
		t.Errorf("%d charts on the screen, %d on paper, where they are hidden", all, left)
	}
	if _, pdf := printed(t, browser, planted("@media print { body { display: none; } }")); whole(pdf) {
		t.Errorf("an empty PDF has %d bytes, and passes", len(pdf))
	}
}

// The script adds what it says, and nothing that it adds is broken.
func TestScriptAddsComfort(t *testing.T) {
	browser := chromium(t)
	files := drawn(t)
	var over struct{ X, Y, Width float64 }
	var label, clock, copied string
	var rows, sorted int
	var watched bool
	s := look(t, browser, modes[0], files["leak"],
		// A pointer over the first chart: its value there, and the time.
		into(&over, chromedp.Evaluate[struct{ X, Y, Width float64 }](`(() => {
			const c = document.querySelector("svg.chart"); c.scrollIntoView();
			const b = c.getBoundingClientRect(); return {X: b.x, Y: b.y + b.height / 2, Width: b.width}; })()`)),
		chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, over.X+over.Width*0.05, over.Y)(ctx, t)
			return err
		}),
		into(&label, chromedp.Evaluate[string](`document.querySelector("text.end").textContent`)),
		into(&clock, chromedp.Evaluate[string](`document.querySelector(".clock").textContent`)),
		into(&rows, chromedp.Evaluate[int](`(() => { const f = [...document.querySelectorAll(".find")].at(-1); f.value = "INCONCLUSIVE"; f.dispatchEvent(new Event("input"));
			return [...f.nextElementSibling.querySelectorAll("tbody tr")].filter((r) => !r.hidden).length; })()`)),
		into(&sorted, chromedp.Evaluate[int](`(() => { document.querySelector("table.filter thead button").click(); return document.querySelectorAll("[aria-sort=ascending]").length; })()`)),
		// The button says so for a moment, and then what it said before.
		into(&watched, chromedp.Evaluate[bool](`(() => { const b = document.querySelector("button.copy");
			new MutationObserver(() => { if (b.textContent !== "copy") window.copied = b.textContent; }).observe(b, {childList: true}); return true; })()`)),
		chromedp.Click(chromedp.CSS("button.copy")), chromedp.WaitVisible(chromedp.CSS("button.copy")),
		into(&copied, chromedp.Poll[string](`window.copied || null`)))
	if len(s.Problems) > 0 {
		t.Errorf("problems: %q", s.Problems)
	}
	if !strings.HasSuffix(clock, " s") || label != "left 0" {
		t.Errorf("the crosshair says %q and %q", clock, label)
	}
	if rows != 1 || sorted != 1 {
		t.Errorf("%d rows are left of the filter, %d columns are sorted", rows, sorted)
	}
	if !watched || copied == "" {
		t.Error("the copy button says nothing when clicked")
	}
}
