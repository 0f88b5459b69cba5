package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/halfopen/halfopen/tunnel"
)

// An option is a flag of 'tunnel server' or 'tunnel client'. What the command
// line does not give is taken from the environment, then from the config file,
// and then is the default:
//
//	--half-close 30s      TUNNEL_HALF_CLOSE=30s      server: {half-close: 30s}
//
// The flag's own parser reads all three, so that they cannot differ.

// side is one end of the tunnel: a command that has options.
type side struct {
	command *cobra.Command
	check   func() error // does all that the command does before it opens anything; then the flags say what is in force
}

// configFlag is the one flag that the file cannot hold.
const configFlag = "config"

// from says where the value of a flag came from, by the flag's name.
type from map[string]string

// settle fills what the command line did not give.
func settle(c *cobra.Command) (from, error) {
	sources := from{}
	c.Flags().Visit(func(f *pflag.Flag) { sources[f.Name] = "flag" })
	if err := fromEnvironment(c, sources); err != nil {
		return nil, err
	}
	path := c.Flags().Lookup(configFlag).Value.String()
	if path == "" {
		return sources, nil
	}
	sections, err := readConfig(path)
	if err != nil {
		return nil, err
	}
	section, ok := sections[c.Name()]
	if !ok {
		return nil, noSection(path, c.Name())
	}
	return sources, fromFile(c, section, sources)
}

// variable is the name of an option in the environment: the plural where it may hold
// several, so that the client's TUNNEL_TOKEN, a secret, is not the server's TUNNEL_TOKENS.
func variable(f *pflag.Flag) string {
	name := "TUNNEL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
	if repeatable(f) {
		name += "S"
	}
	return name
}

// fromEnvironment takes what the environment has. A variable that looks like
// ours but is nobody's option is a mistake, and is told.
func fromEnvironment(c *cobra.Command, sources from) error {
	known := map[string]bool{}
	for _, sibling := range c.Parent().Commands() {
		sibling.Flags().VisitAll(func(f *pflag.Flag) { known[variable(f)] = true })
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "TUNNEL_") && !known[name] {
			return usageError{fmt.Errorf("the environment has %s, which is no option: unset it", name)}
		}
	}
	var failed error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		text, ok := os.LookupEnv(variable(f))
		if !ok || f.Name == "help" || sources[f.Name] != "" || failed != nil {
			return
		}
		texts := []string{text}
		if repeatable(f) {
			texts = strings.Fields(text)
		}
		for _, text := range texts {
			if err := c.Flags().Set(f.Name, text); err != nil {
				failed = usageError{fmt.Errorf("%s: %w", variable(f), reason(err))}
				return
			}
		}
		sources[f.Name] = variable(f)
	})
	return failed
}

// reason is what a flag's parser said, without pflag's words about it: those
// repeat the value, which may be a secret.
func reason(err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		return bad.Unwrap()
	}
	return err
}

// repeatable says whether a flag may be given more than once.
func repeatable(f *pflag.Flag) bool {
	_, ok := f.Value.(*tokens)
	return ok
}

// fileError is a mistake in a config file.
type fileError struct {
	path string
	line int // 0: the file as a whole
	text string
}

func (e *fileError) Error() string {
	if e.line == 0 {
		return fmt.Sprintf("%s: %s", e.path, e.text)
	}
	return fmt.Sprintf("%s:%d: %s", e.path, e.line, e.text)
}

func (e *fileError) Unwrap() error { return tunnel.ErrSetup }

// noSection says that a file lacks a side's part.
func noSection(path, name string) error {
	return &fileError{path, 0, fmt.Sprintf("has no section %q", name+":")}
}

// section is one side's part of a config file.
type section struct {
	path string
	line int
	keys []*yaml.Node // name, value, name, value, ...
}

// readConfig reads a file's sections, by the name of their command.
func readConfig(path string) (map[string]section, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &fileError{path, 0, "cannot be read: " + err.Error()}
	}
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, &fileError{path, 0, strings.TrimPrefix(err.Error(), "yaml: ")} // it names the line
	}
	if len(file.Content) == 0 || file.Content[0].Kind != yaml.MappingNode {
		return nil, &fileError{path, 0, "wants the sections server: or client:"}
	}
	sections := map[string]section{}
	for pair := range slices.Chunk(file.Content[0].Content, 2) {
		name, value := pair[0].Value, pair[1]
		switch {
		case name != "server" && name != "client":
			return nil, &fileError{path, pair[0].Line, fmt.Sprintf("unknown section %q: there are server and client", name)}
		case sections[name].path != "":
			return nil, &fileError{path, pair[0].Line, fmt.Sprintf("a second section %q", name)}
		case value.Kind != yaml.MappingNode:
			return nil, &fileError{path, pair[0].Line, fmt.Sprintf("section %q wants OPTION: VALUE lines", name)}
		}
		sections[name] = section{path, pair[0].Line, value.Content}
	}
	return sections, nil
}

// fromFile takes what a section has; all of its mistakes are told.
func fromFile(c *cobra.Command, s section, sources from) error {
	var mistakes []error
	wrong := func(n *yaml.Node, format string, args ...any) {
		mistakes = append(mistakes, &fileError{s.path, n.Line, fmt.Sprintf(format, args...)})
	}
	seen := map[string]bool{}
	for pair := range slices.Chunk(s.keys, 2) {
		key, value := pair[0], pair[1]
		f := c.Flags().Lookup(key.Value)
		switch {
		case f == nil || f.Name == configFlag || f.Name == "help":
			wrong(key, "unknown key %q: '%s --help' lists the options", key.Value, c.CommandPath())
			continue
		case seen[f.Name]:
			wrong(key, "a second %q", f.Name)
			continue
		}
		seen[f.Name] = true
		if sources[f.Name] != "" {
			continue
		}
		sources[f.Name] = fmt.Sprintf("line %d", key.Line)
		values := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode && repeatable(f) {
			values = value.Content
		}
		for _, v := range values {
			switch {
			case v.Kind != yaml.ScalarNode:
				wrong(v, "%s wants one value", f.Name)
			case v.Tag == "!!null":
				wrong(v, "%s has no value", f.Name)
			default:
				if err := f.Value.Set(v.Value); err != nil {
					wrong(v, "%s: %v", f.Name, reason(err))
				}
			}
		}
	}
	return errors.Join(mistakes...)
}
