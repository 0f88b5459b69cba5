// Command mutate plants leaks: edits of a target's source, built as overlays
// (go help build, -overlay), so that the tree itself is never touched. The
// edits are the YAML files in scenarios/mutants; see Definition.
//
//	dir=$(mktemp -d)
//	go build -overlay "$(mutate overlay parked-handler --dir "$dir")" ./tunnel/cmd/tunnel
//
// Its other half runs the stories that must catch them:
//
//	mutate run [NAME...]
//
// The exit status is 0; 1 if a planted leak was not caught; 2 for any other error.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func main() {
	cmd := command()
	err := cmd.Execute()
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "mutate: %v\n", err)
	if errors.Is(err, errMissed) {
		os.Exit(1)
	}
	os.Exit(2)
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "mutate",
		Short:         "Plant leaks in a target, as overlays for go build",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("choose a command: list, overlay or run (see --help)")
		},
	}
	root.AddCommand(listCommand(), overlayCommand(), runCommand())
	return root
}

func listCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the leaks that can be planted",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			module, err := findModule()
			if err != nil {
				return err
			}
			all, err := ReadDefinitions(filepath.Join(module, definitions))
			if err != nil {
				return err
			}
			return printList(cmd.OutOrStdout(), all, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the whole definitions, a JSON array")
	return cmd
}

func printList(out io.Writer, all []Definition, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, d := range all {
		fmt.Fprintf(table, "%s\t%s\n", d.Name, d.What)
	}
	return table.Flush()
}

func overlayCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "overlay NAME --dir DIR",
		Short: "Write the patched source and overlay.json into DIR, and print the latter's path",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			module, err := findModule()
			if err != nil {
				return err
			}
			d, err := FindDefinition(filepath.Join(module, definitions), args[0])
			if err != nil {
				return err
			}
			path, err := WriteOverlay(module, dir, d)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the `folder` to write into; made if it is missing")
	if err := cmd.MarkFlagRequired("dir"); err != nil {
		panic(err) // the flag is two lines above
	}
	return cmd
}

// findModule is the folder of the innermost go.mod around the working folder.
func findModule() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("find module: %w", err)
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find module: no go.mod in or above %s", start)
		}
	}
}
