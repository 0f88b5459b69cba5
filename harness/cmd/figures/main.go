// Command figures runs the benchmarks of the harness that have a goal, and the story of
// a crowd, and prints each figure beside its goal, with the load of the machine at that
// time: on a busy one, times of the clock are too long.
//
// It writes reports/figures/latest.json, and exits with 1 if a goal is missed.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/halfopen/halfopen/harness/record"
)

// figure is one line of the table.
type figure struct {
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Goal   float64 `json:"goal"` // at most; 0 for one that has none
	OK     bool    `json:"ok"`
	Load   string  `json:"load"` // of the last minute, when it was measured
}

// wanted says which metric of which benchmark is a figure.
type wanted struct {
	figure, room, benchmark, metric, unit string
	scale, goal                           float64
}

var all = []wanted{
	{"lab of three hosts with NAT, built and taken down", "lab", "BenchmarkLab/ThreeHostsNAT", "ns/op", "ms", 1e-6, 15},
	{"lab BehindNAT (five hosts)", "lab", "BenchmarkLab/BehindNAT", "ns/op", "ms", 1e-6, 0},
	{"10,000 sockets sampled by sock_diag", "probe", "BenchmarkCrowd/SockDiag", "ns/op", "ms", 1e-6, 20},
	{"the same, CPU time", "probe", "BenchmarkCrowd/SockDiag", "cpu-ms/op", "ms", 1, 0},
	{"a point of the timeline, 10,000 sockets and descriptors, CPU time", "probe", "BenchmarkCrowd/Point", "cpu-ms/op", "ms", 1, 0},
	{"the target's own CPU time while it is sampled", "probe", "BenchmarkCrowd/TargetCPU", "%core-sampled", "% of a core", 1, 1},
	{"the target's own CPU time, nobody looking", "probe", "BenchmarkCrowd/TargetCPU", "%core-alone", "% of a core", 1, 0},
}

func main() {
	figures, err := measure()
	if err == nil {
		err = write(figures)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(2)
	}
	for _, f := range figures {
		if !f.OK {
			os.Exit(1)
		}
	}
}

func measure() (figures []figure, err error) {
	for _, room := range []string{"lab", "probe"} {
		fmt.Fprintf(os.Stderr, "figures: benchmarks of harness/%s ...\n", room)
		metrics, err := bench(room)
		if err != nil {
			return nil, err
		}
		for _, w := range all {
			if w.room != room {
				continue
			}
			value, ok := metrics[w.benchmark+" "+w.metric]
			if !ok {
				return nil, fmt.Errorf("%s of harness/%s has no %s", w.benchmark, room, w.metric)
			}
			figures = append(figures, show(figure{Figure: w.figure, Value: value * w.scale, Unit: w.unit, Goal: w.goal}))
		}
	}
	fmt.Fprintln(os.Stderr, "figures: the story of a crowd ...")
	took, exposures, err := crowd()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("verdict after the window, %d connections exposed", exposures)
	return append(figures, show(figure{Figure: name, Value: took, Unit: "s", Goal: 10})), nil
}

// show judges a figure, and prints it.
func show(f figure) figure {
	f.OK = f.Goal == 0 || f.Value <= f.Goal
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		f.Load, _, _ = strings.Cut(string(text), " ")
	}
	goal := ""
	if f.Goal > 0 {
		goal = fmt.Sprintf("goal <= %g: ok", f.Goal)
		if !f.OK {
			goal = fmt.Sprintf("goal <= %g: MISSED", f.Goal)
		}
	}
	fmt.Printf("%-66s %9.3g %-11s  load %-6s %s\n", f.Figure, f.Value, f.Unit, f.Load, goal)
	return f
}

// bench runs a room's benchmarks; the metrics are by "Benchmark/Sub metric".
func bench(room string) (map[string]float64, error) {
	pattern := map[string]string{"lab": "^BenchmarkLab$", "probe": "^BenchmarkCrowd$"}[room]
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", pattern, "./harness/"+room)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out.Bytes())
	}
	return parse(out.String()), nil
}

// parse reads what go test -bench prints: name-procs, rounds, then value and unit pairs.
func parse(text string) map[string]float64 {
	metrics := map[string]float64{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := f[0]
		if at := strings.LastIndexByte(name, '-'); at > 0 {
			name = name[:at]
		}
		for i := 2; i+1 < len(f); i += 2 {
			if value, err := strconv.ParseFloat(f[i], 64); err == nil {
				metrics[name+" "+f[i+1]] = value
			}
		}
	}
	return metrics
}

// crowd plays the big story, and tells how long its verdict took and what it rests on.
func crowd() (took float64, exposures int, err error) {
	dir, err := os.MkdirTemp("", "halfopen-figures-")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.Command("go", "tool", "ginkgo", "--no-color", "--label-filter=big", "./scenarios")
	cmd.Env = append(os.Environ(), "HALFOPEN_OUT="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	events, err := record.Read(filepath.Join(dir, "latest"))
	if err != nil {
		return 0, 0, err
	}
	for _, e := range events {
		if e.Kind == record.KindVerdict && e.Verdict != nil {
			took, exposures = max(took, e.Verdict.Took), exposures+e.Verdict.Exposures
		}
	}
	if exposures == 0 {
		return 0, 0, fmt.Errorf("the big story has judged nothing\n%s", out)
	}
	return took, exposures, nil
}

func write(figures []figure) error {
	text, err := json.MarshalIndent(map[string]any{"figures": figures}, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Join("reports", "figures")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, "latest.json")
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}
