package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"berth/internal/cost"
	"berth/internal/lifecycle"
)

// costFlags are the question of cost.
type costFlags struct {
	registryFlags
	format string
	whatIf []string
	prices cost.Prices
}

// newCostCommand is `berth cost`: what the images of a registry cost to store, and what of it is waste.
func newCostCommand(env *environment) *cobra.Command {
	f := costFlags{prices: cost.DefaultPrices()}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Show what the images of a registry take and cost to store, what of it is waste, and what a policy would save",
		Long: fmt.Sprintf(`Reads every image of the registry, Berth or Amazon ECR, by the ECR API. LOGICAL bytes count layers for each image that has
them, STORED bytes once, in each repository and in the total, which is what the price is for. Manifests, which take a few
kilobytes each, are not counted.

UNTAGGED and NEVER PULLED say what would be free without the images that nobody can name, or that nobody used; what indexes
list and what refers to an image is not among them. SHARED is what images of a repository save by common layers, DUPLICATED
what other repositories hold too, and UNREFERENCED what no image lists: only Berth tells it, and gives it back by itself.

Prices of %s, from %s.`, f.prices.AsOf, f.prices.Source),
		Example: `  berth cost
  berth cost --what-if keep-3.json
  berth cost --what-if flowise-server=keep-3.json --format csv > cost.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				f.format = "json"
			}
			return f.run(cmd.Context(), env)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.whatIf, "what-if", nil, "`FILE` with a lifecycle policy: show also what is left after it; REPOSITORY=FILE for one repository only; repeatable")
	flags.Float64Var(&f.prices.Standard, "price", f.prices.Standard, "dollars for a `GB` and month of standard storage")
	flags.Float64Var(&f.prices.Archive, "archive-price", f.prices.Archive, "dollars for a `GB` and month of the archive's first 150 TB")
	flags.Float64Var(&f.prices.ArchiveAbove, "archive-price-above", f.prices.ArchiveAbove, "dollars for a `GB` and month of the archive above that")
	flags.Int64Var(&f.prices.Free, "free", f.prices.Free, "`BYTES` of standard storage that cost nothing")
	f.register(cmd)
	flags.StringVar(&f.format, "format", "table", "table, json or csv")
	flags.BoolVar(&asJSON, "json", false, "print as JSON, as --format json does")
	return cmd
}

func (f costFlags) run(ctx context.Context, env *environment) error {
	write, ok := map[string]func(io.Writer, costReport) error{
		"table": writeCostTable, "csv": writeCostCSV, "json": func(w io.Writer, r costReport) error { return printJSON(w, r) },
	}[f.format]
	if !ok {
		return fmt.Errorf("--format %q is none of table, json, csv", f.format)
	}
	policies, err := readWhatIf(env, f.whatIf)
	if err != nil {
		return err
	}
	client, err := f.client(ctx)
	if err != nil {
		return err
	}
	registry, err := readRegistry(ctx, client, policies, time.Now())
	if err != nil {
		return err
	}
	report := newCostReport(registry, f.prices, len(policies) > 0)
	if err := report.addUnreferenced(ctx, client); err != nil {
		return err
	}
	return write(env.stdout, report)
}

// readWhatIf reads policies by the repository that they are for; "" is for all others.
func readWhatIf(env *environment, texts []string) (map[string]*lifecycle.Policy, error) {
	out := map[string]*lifecycle.Policy{}
	for _, text := range texts {
		repository, file, one := strings.Cut(text, "=")
		if !one {
			repository, file = "", text
		}
		if out[repository] != nil {
			return nil, fmt.Errorf("--what-if %s: there is another policy for the same repositories", text)
		}
		b, err := os.ReadFile(pathIn(env, file))
		if err != nil {
			return nil, fmt.Errorf("read the lifecycle policy: %w", err)
		}
		if out[repository], err = lifecycle.Parse(string(b)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return out, nil
}

// A costReport is what cost prints.
type costReport struct {
	Prices       cost.Prices      `json:"prices"`
	Total        costTotal        `json:"total"`
	WhatIf       *costTotal       `json:"whatIf,omitempty"`
	Repositories []costRepository `json:"repositories"`
}

// A costTotal is what a whole registry takes.
type costTotal struct {
	Images int `json:"images"`
	costBytes
	DollarsPerMonth float64 `json:"dollarsPerMonth"`
}

type costBytes struct {
	Logical  int64 `json:"logicalBytes"`
	Standard int64 `json:"standardBytes"`
	Archived int64 `json:"archivedBytes"`
}

// A costRepository is what one repository takes, and what of it is waste.
type costRepository struct {
	Name   string `json:"repository"`
	Images int    `json:"images"`
	costBytes
	Own         int64     `json:"bytesOfNoOtherRepository"`
	Shared      int64     `json:"bytesSavedBySharing"`
	Untagged    costShare `json:"untagged"`
	NeverPulled costShare `json:"neverPulled"`
	// Unreferenced is what no image lists; not set: the registry does not tell.
	Unreferenced *int64      `json:"unreferencedBytes,omitempty"`
	WhatIf       *costWhatIf `json:"whatIf,omitempty"`
}

// duplicated is what other repositories hold too.
func (c costRepository) duplicated() int64 { return c.Standard + c.Archived - c.Own }

type costShare struct {
	Images int   `json:"images"`
	Freed  int64 `json:"bytesFreedWithoutThem"`
}

// A costWhatIf is a repository after a policy.
type costWhatIf struct {
	Expired    int `json:"imagesExpired"`
	Transition int `json:"imagesArchived"`
	costBytes
}

func newCostReport(g *cost.Registry, prices cost.Prices, whatIf bool) costReport {
	before, after := g.Total()
	out := costReport{Prices: prices, Repositories: []costRepository{}}
	left := 0
	for _, r := range g.Repositories() {
		c := costRepository{
			Name: r.Name, Images: r.Images, costBytes: costBytes(r.Before), Own: r.Own, Shared: r.Shared(),
			Untagged: costShare(r.Untagged), NeverPulled: costShare(r.NeverPulled),
		}
		if whatIf {
			c.WhatIf = &costWhatIf{r.Gone, r.Moved, costBytes(r.After)}
		}
		out.Repositories = append(out.Repositories, c)
		out.Total.Images += r.Images
		left += r.Images - r.Gone
	}
	out.Total.costBytes, out.Total.DollarsPerMonth = costBytes(before), prices.Monthly(before)
	if whatIf {
		out.WhatIf = &costTotal{left, costBytes(after), prices.Monthly(after)}
	}
	return out
}

// addUnreferenced asks Berth for the bytes that no image lists, of which clients of ECR see nothing.
func (r *costReport) addUnreferenced(ctx context.Context, client *ecr.Client) error {
	for i := range r.Repositories {
		c := &r.Repositories[i]
		var out struct{ UnreferencedBytes int64 }
		err := callOwn(ctx, client, "BerthGetUnreferencedBytes", map[string]string{"repositoryName": c.Name}, &out)
		var refused smithy.APIError
		switch {
		case errors.Is(err, errNotBerth):
			return nil
		case errors.As(err, &refused) && strings.HasSuffix(refused.ErrorCode(), "RepositoryNotFoundException"): // by now
		case err != nil:
			return fmt.Errorf("ask for the unreferenced bytes of %s: %w", c.Name, err)
		default:
			c.Unreferenced = &out.UnreferencedBytes
		}
	}
	return nil
}

func writeCostTable(w io.Writer, r costReport) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := []string{"IMAGES", "LOGICAL", "STORED", "ARCHIVED", "SHARED", "UNTAGGED", "NEVER PULLED", "DUPLICATED", "UNREFERENCED"}
	if r.WhatIf != nil {
		head = append(head, "EXPIRE", "ARCHIVE", "LEFT")
	}
	// The names stand last, as they are the column of text.
	text := strings.Join(head, "\t") + "\t  REPOSITORY\n"
	for _, c := range r.Repositories {
		row := []string{strconv.Itoa(c.Images), size(c.Logical), size(c.Standard + c.Archived), size(c.Archived), size(c.Shared), size(c.Untagged.Freed), size(c.NeverPulled.Freed), size(c.duplicated()), "-"}
		if c.Unreferenced != nil {
			row[len(row)-1] = size(*c.Unreferenced)
		}
		if c.WhatIf != nil {
			row = append(row, strconv.Itoa(c.WhatIf.Expired), strconv.Itoa(c.WhatIf.Transition), size(c.WhatIf.Standard+c.WhatIf.Archived))
		}
		text += strings.Join(row, "\t") + "\t  " + c.Name + "\n"
	}
	_, err := io.WriteString(table, text)
	if err := errors.Join(err, table.Flush()); err != nil {
		return err
	}
	lines := []string{"total: " + r.Total.text()}
	if r.WhatIf != nil {
		lines = append(lines, "then:  "+r.WhatIf.text())
	}
	return printAll(w, "", lines)
}

func (t costTotal) text() string {
	return fmt.Sprintf("%d images, %s logical, %s stored, of which %s archived: $%.2f a month",
		t.Images, size(t.Logical), size(t.Standard+t.Archived), size(t.Archived), t.DollarsPerMonth)
}

// size writes bytes in decimal units, as they are billed.
func size(bytes int64) string {
	value, unit := float64(bytes), 0
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for value >= 999.95 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

func writeCostCSV(w io.Writer, r costReport) error {
	out := csv.NewWriter(w)
	head := []string{
		"repository", "images", "logical_bytes", "standard_bytes", "archived_bytes", "bytes_of_no_other_repository", "bytes_saved_by_sharing",
		"untagged_images", "untagged_bytes", "never_pulled_images", "never_pulled_bytes",
		"unreferenced_bytes",
	}
	if r.WhatIf != nil {
		head = append(head, "images_expired", "images_archived", "logical_bytes_left", "standard_bytes_left", "archived_bytes_left")
	}
	rows := [][]string{head}
	for _, c := range r.Repositories {
		row := append([]string{c.Name}, decimals(int64(c.Images), c.Logical, c.Standard, c.Archived, c.Own, c.Shared,
			int64(c.Untagged.Images), c.Untagged.Freed, int64(c.NeverPulled.Images), c.NeverPulled.Freed)...)
		unreferenced := "" // the registry does not tell
		if c.Unreferenced != nil {
			unreferenced = strconv.FormatInt(*c.Unreferenced, 10)
		}
		row = append(row, unreferenced)
		if c.WhatIf != nil {
			row = append(row, decimals(int64(c.WhatIf.Expired), int64(c.WhatIf.Transition), c.WhatIf.Logical, c.WhatIf.Standard, c.WhatIf.Archived)...)
		}
		rows = append(rows, row)
	}
	return out.WriteAll(rows)
}

func decimals(values ...int64) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strconv.FormatInt(v, 10)
	}
	return out
}
