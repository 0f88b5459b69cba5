package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/tunnel"
)

// tokenCommand is 'tunnel token'.
func tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token NAME[,NAME...][,PORT...]",
		Short: "Make a token",
		Long: `Make a secret for a client, and the line that gives it its rights in the server's --token-file:

  tunnel token app.example,9000

The secret is shown once; the line holds only its hash. Add the line to the file and send the
server SIGHUP; take it out and send SIGHUP, and the client is shut out.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			secret, line, err := tunnel.NewToken(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "# TUNNEL_TOKEN of the client:\n%s\n# line of the server's --token-file:\n%s\n", secret, line)
			return err
		},
	}
}
