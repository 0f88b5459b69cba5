package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/halfopen/halfopen/tunnel"
)

// checkCommand is 'tunnel check'.
func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check CONFIG",
		Short: "Say what is wrong with a config file, and what it makes",
		Long: `Read a config file as 'tunnel server --config' and 'tunnel client --config' would, with the
TUNNEL_... variables of this environment, load the certificates and tokens that it names, open
nothing, and print every option with its value and where that came from. Secrets are not shown.

  server:
    listen: 0.0.0.0:4443
    cert: /etc/tunnel/cert.pem
    key: /etc/tunnel/key.pem
    token: ["s3cret=app.example,9000"]
    half-close: 30s
  client:
    server: tunnel.example:4443
    ...

A machine that runs one side only, and has the other's options but not its secrets, checks
that side: --only server. Keys are the flags of the two commands. Exit codes: 0 all is well; 2 something is wrong, told as
FILE:LINE: MESSAGE, one line a mistake.`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	only := c.Flags().String("only", "", "check one section: server or client")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *only != "" && *only != "server" && *only != "client" {
			return usageError{fmt.Errorf("--only %q: want server or client", *only)}
		}
		sections, err := readConfig(args[0])
		if err != nil {
			return err
		}
		if _, ok := sections[*only]; *only != "" && !ok {
			return noSection(args[0], *only)
		}
		// Sides of their own, whose flags nobody has parsed; the environment needs
		// their siblings.
		root := &cobra.Command{Use: c.Root().Use}
		sides := []side{serverSide(), clientSide()}
		for _, side := range sides {
			root.AddCommand(side.command)
		}
		var mistakes []error
		for _, side := range sides {
			s, ok := sections[side.command.Name()]
			if !ok || *only != "" && *only != side.command.Name() {
				continue
			}
			if err := checkSide(c.OutOrStdout(), side, s); err != nil {
				mistakes = append(mistakes, err)
			}
		}
		return flat(mistakes)
	}
	return c
}

// checkSide checks one section and prints what it makes.
func checkSide(out io.Writer, side side, s section) error {
	if err := side.command.Flags().Set(configFlag, s.path); err != nil {
		return err
	}
	sources, err := settle(side.command)
	if err != nil {
		return err
	}
	if err := side.check(); err != nil {
		return s.locate(err)
	}
	return show(out, side.command, sources)
}

// locate gives what is wrong with the settings the lines that they come from.
func (s section) locate(err error) error {
	var wrong tunnel.ConfigError
	if !errors.As(err, &wrong) {
		return &fileError{s.path, s.line, err.Error()}
	}
	var mistakes []error
	for _, p := range wrong {
		line := s.line
		for i := 0; i < len(s.keys); i += 2 {
			if s.keys[i].Value == p.Option {
				line = s.keys[i].Line
			}
		}
		mistakes = append(mistakes, &fileError{s.path, line, p.Text})
	}
	return errors.Join(mistakes...)
}

// flat joins errors, each of which may be several.
func flat(list []error) error {
	var all []error
	for _, err := range list {
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			all = append(all, several.Unwrap()...)
		} else {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// show prints a side's options as a section of a config file.
func show(out io.Writer, c *cobra.Command, sources from) error {
	options := &yaml.Node{Kind: yaml.MappingNode}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Name == configFlag {
			return
		}
		source := sources[f.Name]
		if source == "" {
			source = "default"
		}
		value := &yaml.Node{Kind: yaml.ScalarNode, Value: shown(f), LineComment: source}
		if value.Value == "" {
			value.Style = yaml.DoubleQuotedStyle
		}
		options.Content = append(options.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.Name}, value)
	})
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Value: c.Name()}, options,
	}}); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	return nil
}

// shown is a flag's value without secrets.
func shown(f *pflag.Flag) string {
	if f.Name == "token" && f.Value.String() != "" {
		return "(hidden)"
	}
	return f.Value.String()
}
