package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/spf13/cobra"
)

// newCacheCommand is `berth cache`: pull-through caches of a registry.
func newCacheCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "cache", Short: "See what pull-through caches do, and fill them ahead of time"}
	cmd.AddCommand(newCacheStatusCommand(env), newCacheWarmCommand(env))
	return cmd
}

func newCacheStatusCommand(env *environment) *cobra.Command {
	var f registryFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [PREFIX...]",
		Short: "Show what each pull-through cache rule hit, missed and saved, and the rate limit of its upstream",
		Long: `Asks a running Berth what its cache rules did since they were made. Amazon ECR does not tell that.

HITS and MISSES are manifests that were asked for and were here, or had to be asked for at the upstream. REQUESTS are those
to the upstream, FETCHED what came of it, SAVED what clients got of layers without another request. LIMIT is what the
upstream said last of the pulls that it still answers.`,
		Example: `  berth cache status
  berth cache status docker-hub --json`,
		RunE: func(cmd *cobra.Command, prefixes []string) error {
			client, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			rules, err := readCacheStatus(cmd.Context(), client, prefixes)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(env.stdout, rules)
			}
			return writeCacheStatus(env.stdout, rules, time.Now())
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// A cacheStatus is what a registry tells of one rule (BerthDescribeCacheStatus).
type cacheStatus struct {
	Prefix           string          `json:"ecrRepositoryPrefix"`
	Upstream         string          `json:"upstreamRegistryUrl"`
	Hits             int64           `json:"hits"`
	Misses           int64           `json:"misses"`
	UpstreamRequests int64           `json:"upstreamRequests"`
	FetchedLayers    int64           `json:"fetchedLayers"`
	FetchedBytes     int64           `json:"fetchedBytes"`
	FailedLayers     int64           `json:"failedLayers"`
	ServedLayers     int64           `json:"servedLayers"`
	SavedBytes       int64           `json:"savedBytes"`
	RateLimit        *cacheRateLimit `json:"rateLimit,omitempty"`
	SilentUntil      *epoch          `json:"silentUntil,omitempty"`
}

type cacheRateLimit struct {
	Limit         int   `json:"limit"`
	Remaining     int   `json:"remaining"`
	WindowSeconds int64 `json:"windowSeconds,omitempty"`
	ReadAt        epoch `json:"readAt"`
}

// An epoch is a time that is seconds in answers of the API, and text for people.
type epoch struct{ time.Time }

// UnmarshalJSON reads seconds.
func (e *epoch) UnmarshalJSON(b []byte) error {
	var seconds float64
	err := json.Unmarshal(b, &seconds)
	e.Time = time.UnixMilli(int64(seconds * 1000)).UTC()
	return err
}

func readCacheStatus(ctx context.Context, client *ecr.Client, prefixes []string) ([]cacheStatus, error) {
	out := []cacheStatus{}
	in := map[string]any{}
	if len(prefixes) > 0 {
		in["ecrRepositoryPrefixes"] = prefixes
	}
	for {
		var page struct {
			Rules     []cacheStatus
			NextToken string
		}
		if err := callOwn(ctx, client, "BerthDescribeCacheStatus", in, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Rules...)
		if page.NextToken == "" {
			return out, nil
		}
		in["nextToken"] = page.NextToken
	}
}

func writeCacheStatus(w io.Writer, rules []cacheStatus, now time.Time) error {
	if len(rules) == 0 {
		return printAll(w, "", []string{"there are no pull-through cache rules"})
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	text := "HITS\tMISSES\tREQUESTS\tFETCHED\tSAVED\tFAILED\tLIMIT\t  RULE\n"
	for _, r := range rules {
		row := []string{
			strconv.FormatInt(r.Hits, 10), strconv.FormatInt(r.Misses, 10), strconv.FormatInt(r.UpstreamRequests, 10), size(r.FetchedBytes),
			size(r.SavedBytes), strconv.FormatInt(r.FailedLayers, 10), r.limit(now),
		}
		text += strings.Join(row, "\t") + "\t  " + r.Prefix + " from " + r.Upstream + "\n"
	}
	_, err := io.WriteString(table, text)
	return errors.Join(err, table.Flush())
}

// limit says how many pulls an upstream still answers, or that it is left alone.
func (r cacheStatus) limit(now time.Time) string {
	if r.SilentUntil != nil {
		return "left alone for " + r.SilentUntil.Sub(now).Round(time.Second).String()
	}
	if r.RateLimit == nil {
		return "-"
	}
	l := r.RateLimit
	text := fmt.Sprintf("%d of %d", l.Remaining, l.Limit)
	if l.WindowSeconds > 0 {
		text += " in " + shortDuration(time.Duration(l.WindowSeconds)*time.Second)
	}
	return text + ", " + shortDuration(max(now.Sub(l.ReadAt.Time), 0)) + " ago"
}

// shortDuration writes a duration in its largest unit.
func shortDuration(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
