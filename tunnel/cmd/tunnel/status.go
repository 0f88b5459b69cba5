package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// statusCommand is 'tunnel status'.
func statusCommand() *cobra.Command {
	var raw bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show who is logged in, and what is held",
		Long: `Ask the admin pages of a server or client on this machine who is logged in, with which sessions,
and what it holds. Exit codes: 0 answered; 1 nobody answers at --admin.`,
		Args: usageArgs(cobra.NoArgs),
	}
	admin := c.Flags().String("admin", "127.0.0.1:6060", "where the admin pages are")
	c.Flags().BoolVar(&raw, "json", false, "the answer as it is, in JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		text, err := sessions(c.Context(), *admin)
		if err != nil {
			return err
		}
		if raw {
			_, err := c.OutOrStdout().Write(text)
			return err
		}
		var s status
		if err := json.Unmarshal(text, &s); err != nil {
			return fmt.Errorf("read answer of %s: %w", *admin, err)
		}
		return s.print(c.OutOrStdout())
	}
	return c
}

// sessions fetches /sessions.
func sessions(ctx context.Context, admin string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/sessions", nil)
	if err != nil {
		return nil, usageError{fmt.Errorf("--admin is %q; it must be IP:PORT", admin)}
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("nobody answers at %s: %w: give --admin as the server or client has it", admin, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("answers with %s: is it a tunnel?", resp.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", admin, err)
	}
	return text, nil
}

// status is what is shown of /sessions.
type status struct {
	Role   string         `json:"role"`
	Held   map[string]int `json:"held"`
	Logins []struct {
		Name     string `json:"name"`
		Port     int    `json:"port"`
		Sessions []struct {
			ID        string  `json:"id"`
			Peer      string  `json:"peer"`
			Age       float64 `json:"age_s"`
			Draining  bool    `json:"draining"`
			Streams   int     `json:"streams"`
			QueuedIn  int     `json:"queued_in"`
			QueuedOut int     `json:"queued_out"`
			BytesIn   int64   `json:"bytes_in"`
			BytesOut  int64   `json:"bytes_out"`
			RTT       float64 `json:"rtt_ms"`
		} `json:"sessions"`
	} `json:"logins"`
}

// print writes a line a session.
func (s *status) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tPORT\tSESSION\tPEER\tAGE\tSTATE\tSTREAMS\tQUEUED\tIN\tOUT\tRTT")
	for _, l := range s.Logins {
		port := "-"
		if l.Port != 0 {
			port = fmt.Sprint(l.Port)
		}
		for _, one := range l.Sessions {
			state := "up"
			if one.Draining {
				state = "draining"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%v\t%s\t%d\t%d\t%d\t%d\t%.1fms\n", l.Name, port, one.ID, one.Peer,
				time.Duration(one.Age*float64(time.Second)).Round(time.Second), state, one.Streams, one.QueuedIn+one.QueuedOut, one.BytesIn, one.BytesOut, one.RTT)
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print status: %w", err)
	}
	_, err := fmt.Fprintf(out, "%s: %d logins, %d sessions, %d streams, %d connections before their login, %d visitors before their request\n", s.Role,
		s.Held["logins"], s.Held["sessions"], s.Held["streams"], s.Held["pre_auth"], s.Held["heads"])
	return err
}
