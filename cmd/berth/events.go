package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/spf13/cobra"
)

// newEventsCommand is `berth events`: what happened to images, and what of it
// could not be told.
func newEventsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "See the events of a registry, and those that no sink took",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEventsTailCommand(env), newEventsDeadCommand(env))
	return cmd
}

// A wireEvent is an event as EventBridge writes it.
type wireEvent struct {
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Account    string          `json:"account"`
	Region     string          `json:"region"`
	Time       time.Time       `json:"time"`
	Detail     json.RawMessage `json:"detail"`
}

// line is an event on one line: when, what, of which image.
func (e wireEvent) line() string {
	var d struct {
		Action     string         `json:"action-type"`
		Scan       string         `json:"scan-status"`
		Sync       string         `json:"sync-status"`
		Class      string         `json:"target-storage-class"`
		Repository string         `json:"repository-name"`
		Tag        string         `json:"image-tag"`
		Digest     string         `json:"image-digest"`
		Counts     map[string]int `json:"finding-severity-counts"`
	}
	if err := json.Unmarshal(e.Detail, &d); err != nil {
		return fmt.Sprintf("%s  %s  %s", e.Time.Format(time.RFC3339), e.DetailType, e.Detail)
	}
	words := []string{e.Time.Format(time.RFC3339), e.DetailType}
	for _, w := range []string{d.Action, d.Class, d.Scan, d.Sync} {
		if w != "" {
			words = append(words, w)
		}
	}
	image := d.Repository
	if d.Tag != "" {
		image += ":" + d.Tag
	}
	if d.Digest != "" {
		image += "@" + d.Digest
	}
	words = append(words, image)
	for _, severity := range []string{"CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNDEFINED", "UNTRIAGED"} {
		if n := d.Counts[severity]; n > 0 {
			words = append(words, fmt.Sprintf("%s=%d", severity, n))
		}
	}
	return strings.TrimRight(strings.Join(words, " "), " ")
}

// maxEventsPage is how many events one request gives at most.
const maxEventsPage = 50

func newEventsTailCommand(env *environment) *cobra.Command {
	var f registryFlags
	var lines int
	var once, asJSON bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print the newest events of a registry, and go on as they happen",
		Long: `Prints the newest events of a registry, the oldest of them first, and then each that happens, until it is interrupted.
Events are there without any sink. It needs Berth, and the right to ecr:DescribeImages on all repositories; an event that is
a second old is seen.`,
		Example: `  berth events tail
  berth events tail --json | jq .detail
  berth events tail --lines 50 --once`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lines < 1 || lines > maxEventsPage {
				return &exitError{usageError, fmt.Errorf("--lines is %d, and must be from 1 to %d", lines, maxEventsPage)}
			}
			client, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			return tailEvents(cmd.Context(), env, client, lines, once, asJSON)
		},
	}
	f.register(cmd)
	cmd.Flags().IntVar(&lines, "lines", 10, "events to begin with, 1 to 50")
	cmd.Flags().BoolVar(&once, "once", false, "print these and end")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each event as a JSON document on a line, as EventBridge delivers it")
	return cmd
}

// tailPause is the time between two questions for what is new.
const tailPause = time.Second

func tailEvents(ctx context.Context, env *environment, client *ecr.Client, limit int, once, asJSON bool) error {
	for token := ""; ; {
		in := map[string]any{"maxResults": limit}
		if token != "" {
			in["nextToken"] = token
		}
		var page struct {
			Events    []json.RawMessage `json:"events"`
			NextToken string            `json:"nextToken"`
		}
		if err := callOwn(ctx, client, "BerthListEvents", in, &page); err != nil {
			if ctx.Err() != nil && token != "" {
				return nil
			}
			return fmt.Errorf("read the events of the registry: %w", err)
		}
		for _, raw := range page.Events {
			text := string(raw)
			if !asJSON {
				var e wireEvent
				if err := json.Unmarshal(raw, &e); err != nil {
					return fmt.Errorf("read an event of the registry: %w", err)
				}
				text = e.line()
			}
			if _, err := fmt.Fprintln(env.stdout, text); err != nil {
				return err
			}
		}
		if once {
			return nil
		}
		token = page.NextToken
		if limit == maxEventsPage && len(page.Events) == limit { // there may be more
			continue
		}
		limit = maxEventsPage
		select {
		case <-time.After(tailPause):
		case <-ctx.Done():
			return nil // interrupted, as it is meant to end
		}
	}
}

func newEventsDeadCommand(env *environment) *cobra.Command {
	var f registryFlags
	var retry, asJSON bool
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "List the events that were given up for a sink, or have them delivered again",
		Long: `Lists the events of a registry that a sink did not take in 20 tries, or within a day, with what it said last. With --retry
all of them are delivered again, with all their tries. It needs Berth and the right to ecr:DescribeImages on all repositories,
and --retry that to ecr:PutReplicationConfiguration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			if retry {
				return retryDeadEvents(cmd.Context(), env, client, asJSON)
			}
			return listDeadEvents(cmd.Context(), env, client, asJSON)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&retry, "retry", false, "deliver all of them again")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func retryDeadEvents(ctx context.Context, env *environment, client *ecr.Client, asJSON bool) error {
	var out struct {
		Retried int64 `json:"retried"`
	}
	if err := callOwn(ctx, client, "BerthRetryDeadEvents", map[string]any{}, &out); err != nil {
		return fmt.Errorf("have dead events delivered again: %w", err)
	}
	if asJSON {
		return printJSON(env.stdout, out)
	}
	_, err := fmt.Fprintf(env.stdout, "%d deliveries are tried again\n", out.Retried)
	return err
}

// A deadDelivery is an event that was given up for a sink.
type deadDelivery struct {
	Sink     string          `json:"sink"`
	Attempts int             `json:"attempts"`
	Reason   string          `json:"reason"`
	DeadAt   float64         `json:"deadAt"` // seconds since the epoch
	Event    json.RawMessage `json:"event"`
}

func listDeadEvents(ctx context.Context, env *environment, client *ecr.Client, asJSON bool) error {
	list := []deadDelivery{}
	for token := ""; ; {
		in := map[string]any{"maxResults": maxEventsPage}
		if token != "" {
			in["nextToken"] = token
		}
		var page struct {
			Events    []deadDelivery `json:"events"`
			NextToken string         `json:"nextToken"`
		}
		if err := callOwn(ctx, client, "BerthListDeadEvents", in, &page); err != nil {
			return fmt.Errorf("list the dead events of the registry: %w", err)
		}
		list = append(list, page.Events...)
		if token = page.NextToken; token == "" {
			break
		}
	}
	if asJSON {
		return printJSON(env.stdout, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(env.stdout, "no event was given up")
		return err
	}
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, d := range list {
		var e wireEvent
		if err := json.Unmarshal(d.Event, &e); err != nil {
			return fmt.Errorf("read an event of the registry: %w", err)
		}
		if _, err := fmt.Fprintf(w, "%s\t%d tries\t%s\t%s\n", d.Sink, d.Attempts, e.line(), d.Reason); err != nil {
			return err
		}
	}
	return w.Flush()
}
