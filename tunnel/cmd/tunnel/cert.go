package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/tunnel"
)

func certCommand() *cobra.Command {
	var dir string
	var hosts []string
	var force bool
	c := &cobra.Command{
		Use:   "cert",
		Short: "Make development certificates",
		Long: `Make development certificates: cert.pem and key.pem for 'tunnel server', ca.pem for 'tunnel
client --ca', and, for a server with --client-ca ca.pem, client-cert.pem and client-key.pem. The key
of the authority is thrown away; to add a host, make all anew.`,
		Args: usageArgs(cobra.NoArgs),
	}
	f := c.Flags()
	f.StringVar(&dir, "dir", ".", "where the files go")
	f.StringArrayVar(&hosts, "host", nil, "name or IP address by which clients reach the server; repeatable")
	f.BoolVar(&force, "force", false, "overwrite files")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := tunnel.WriteCerts(dir, hosts, force); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "wrote %s to %s\n", strings.Join(tunnel.CertFiles, ", "), dir)
		return nil
	}
	return c
}
