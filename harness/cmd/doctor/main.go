// Doctor says what this machine can and cannot do for halfopen: each capability,
// present or not, what is lost without it, and how to get it.
//
//	doctor ---- looks at the machine: programs, sysctls, limits
//	   \
//	    +-- doctor probe ---- in a sandbox: hosts, cables, rules, sockets
//	           \
//	            +-- doctor hold ---- a process with one connection, to be looked at
//
// All that is tried is tried on hosts inside the sandbox: the machine's own network
// is never touched.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/halfopen/halfopen/harness"
)

// unfit is the exit status on a machine that cannot run the catalogue.
const unfit = 2

// probeTime bounds all that is tried in the sandbox.
const probeTime = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	status := 0
	if err := command(&status).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "doctor:", err)
		status = unfit
	}
	os.Exit(status) // what ctx still holds, the end of the process lets go
}

func command(status *int) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "say what this machine can and cannot do for halfopen",
		Long: `doctor tries each capability that halfopen uses, inside a sandbox of its own, and
says whether it is here, what is lost without it, and how to get it. It changes
nothing, and the machine's own network is never touched.

Exit status: 0 if the catalogue of stories can run here, 2 if it cannot.`,
		Example: `  make doctor
  scripts/doctor --json | jq '.capabilities[] | select(.present | not) | .name'`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := harness.ModuleRoot()
			if err != nil {
				return err
			}
			r := examine(cmd.Context(), root)
			if !r.Fit {
				*status = unfit
			}
			if asJSON {
				return r.json(cmd.OutOrStdout())
			}
			return r.table(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "for scripts: one JSON object")
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(probeCommand(), holdCommand())
	return cmd
}

// examine looks at the machine, and then from inside a sandbox.
func examine(ctx context.Context, root string) report {
	var found []capability
	inside, err := sandboxed(ctx)
	if err != nil {
		what, help := refusal(err.Error())
		found = append(found, sandbox.absent(what, help))
		for _, c := range triedInside {
			found = append(found, c.absent("not tried: there is no sandbox to try it in", "see "+sandbox.Name))
		}
	} else {
		found = append(found, inside...)
	}
	found = append(found, machine(ctx, root)...)
	return newReport(found)
}

// refusal parts a refusal's text: what was refused, and what helps.
func refusal(text string) (what, help string) {
	const limits = ": a limit of namespaces is reached: " // the one with a colon of its own
	if what, help, ok := strings.Cut(text, limits); ok {
		return what, help
	}
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[:i], text[i+2:]
	}
	return text, text
}

// sandboxed runs doctor probe, a process of its own because the sandbox is entered
// by re-executing, and returns what it found.
func sandboxed(ctx context.Context) ([]capability, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, fmt.Errorf("it took more than %v: run it again when the machine has less to do", probeTime))
	defer cancel()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "probe")
	cmd.Stdout, cmd.Stderr = &out, &said
	// Ctrl-C comes to us; what is tried ends with us, however that is.
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("probe: %w", context.Cause(ctx))
	case errors.As(err, &exit):
		text := strings.TrimPrefix(strings.TrimSpace(said.String()), "doctor: ")
		if text == "" {
			text = "probe: " + exit.String()
		}
		return nil, errors.New(text)
	case err != nil:
		return nil, fmt.Errorf("probe: %w", err)
	}
	var found []capability
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		return nil, fmt.Errorf("probe: read what it found: %w", err)
	}
	return found, nil
}

// json writes the report as one object.
func (r report) json(out io.Writer) error {
	in := json.NewEncoder(out)
	in.SetIndent("", "  ")
	in.SetEscapeHTML(false)
	return in.Encode(r)
}
