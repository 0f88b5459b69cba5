package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/lab"
	"github.com/halfopen/halfopen/harness/load"
	"github.com/halfopen/halfopen/harness/target"
)

// rehearseTime bounds a rehearsal, the target's build not counted.
const rehearseTime = 30 * time.Second

// What a rehearsal leaves in the folder that --into names: the compiled scenarios,
// and a link to Ginkgo's own program.
const (
	suiteName  = "scenarios.test"
	ginkgoName = "ginkgo"
)

// rehearseCommand compiles the scenarios and the target, starts it in a lab and
// visits it once, in a process of its own: the sandbox is entered by re-executing,
// and the compilers in it die with it.
func rehearseCommand() *cobra.Command {
	var file, mutant, into string
	cmd := &cobra.Command{
		Use:    "rehearse",
		Short:  "compile the scenarios and the target, start it in a lab and visit it once",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := lab.Sandbox(); err != nil {
				return err
			}
			return rehearse(cmd.Context(), file, mutant, into)
		},
	}
	cmd.Flags().StringVar(&file, "target", "", "YAML file of the system under test")
	cmd.Flags().StringVar(&mutant, "mutant", "", "leak to plant")
	cmd.Flags().StringVar(&into, "into", "", "folder for what was compiled")
	return cmd
}

func rehearse(ctx context.Context, file, mutant, into string) (err error) {
	if err := lab.Check(); err != nil {
		return err
	}
	t, err := target.Load(file)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "halfopen-rehearsal-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	root, err := harness.ModuleRoot()
	if err != nil {
		return err
	}
	if err := compile(ctx, root, into); err != nil {
		return err
	}
	bins, err := t.Compile(ctx, root, dir, mutant)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rehearseTime)
	defer cancel()
	l, err := lab.Direct()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	web, err := l.Origin.Listen(ctx, fmt.Sprintf("%s:%d", l.OriginIP, target.OriginHTTP))
	if err != nil {
		return err
	}
	raw, err := l.Origin.Listen(ctx, fmt.Sprintf("%s:%d", l.OriginIP, target.OriginTCP))
	if err != nil {
		return errors.Join(err, web.Close())
	}
	origin := load.Serve(web, raw)
	defer func() { err = errors.Join(err, origin.Close()) }()
	d, err := t.Deploy(l, bins, dir, filepath.Join(dir, "logs"))
	if err != nil {
		return err
	}
	if _, err := d.StartServer(ctx); err != nil {
		return err
	}
	if _, err := d.StartClient(ctx, target.Returning); err != nil {
		return err
	}
	routes, err := d.Routes(target.Returning)
	if err != nil {
		return err
	}
	for protocol, r := range routes {
		v := load.Visit{Protocol: load.Protocol(protocol), Address: r.Address, Host: r.Host, Path: r.Path, Seed: 1}
		if err := load.Once(ctx, l.Visitor.DialContext, v); err != nil {
			return err
		}
	}
	return nil
}

// compile compiles the scenarios of the main module into a folder, and links
// Ginkgo's own program there.
func compile(ctx context.Context, root, into string) error {
	ginkgo, err := goTool(ctx, root, "tool", "-n", "ginkgo")
	if err != nil {
		return err
	}
	if err := os.Symlink(ginkgo, filepath.Join(into, ginkgoName)); err != nil {
		return fmt.Errorf("link ginkgo: %w", err)
	}
	_, err = goTool(ctx, root, "test", "-c", "-o", filepath.Join(into, suiteName), "./scenarios")
	return err
}

// goTool runs the go command in the main module and returns what it printed.
func goTool(ctx context.Context, root string, args ...string) (string, error) {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = root, &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
