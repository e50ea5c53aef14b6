package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/scan/vulndb"
	"berth/internal/scan/worker"
)

// scanWorkerCommand is what the server starts for each scan of an image.
const scanWorkerCommand = "scan-worker"

// newScanWorkerCommand is the process in which an image is read. It is not for
// people.
func newScanWorkerCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: scanWorkerCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return worker.Serve(cmd.Context(), env.stdin, env.stdout)
		},
	}
}

// newVulnDBCommand is `berth vulndb`: the advisories that scans know.
func newVulnDBCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vulndb",
		Short: "The advisories that scans of images know",
		Long: `Advisories are records of OSV (https://osv.dev). Each command works beside a running server or without one.
Nothing is fetched unless asked for: on a site without a network, copy the archives and import them.`,
	}
	cmd.AddCommand(newVulnDBImportCommand(env), newVulnDBUpdateCommand(env), newVulnDBStatusCommand(env))
	return cmd
}

func newVulnDBImportCommand(env *environment) *cobra.Command {
	var flags storageFlags
	cmd := &cobra.Command{
		Use:   "import FILE|DIR",
		Short: "Import advisories from files",
		Long: `Imports OSV records (.json) and archives of them (.zip), such as the all.zip of an ecosystem. What is imported
replaces, at once, everything that was known of each ecosystem in it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withVulnDB(cmd.Context(), env, &flags, func(db *vulndb.DB) error {
				r, err := db.Import(cmd.Context(), pathIn(env, args[0]), args[0], progressOf(env))
				return flags.printImport(env, r, err)
			})
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func newVulnDBUpdateCommand(env *environment) *cobra.Command {
	var flags storageFlags
	var url string
	var ecosystems []string
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Fetch the advisories of ecosystems and import them",
		Long: `Fetches URL/ECOSYSTEM/all.zip for each ecosystem and imports it. An archive that did not change since the last
update is not fetched again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withVulnDB(cmd.Context(), env, &flags, func(db *vulndb.DB) error {
				r, err := db.Update(cmd.Context(), url, ecosystems, progressOf(env))
				return flags.printImport(env, r, err)
			})
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().StringVar(&url, "vulndb-url", vulndb.DefaultURL, "where the archives of OSV lie")
	cmd.Flags().StringSliceVar(&ecosystems, "ecosystems", vulndb.DefaultEcosystems(), "ecosystems of OSV to fetch")
	return cmd
}

func newVulnDBStatusCommand(env *environment) *cobra.Command {
	var flags storageFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell which advisories are known, and how old they are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withVulnDB(cmd.Context(), env, &flags, func(db *vulndb.DB) error {
				sets, err := db.Status(cmd.Context())
				if err != nil {
					return err
				}
				if flags.asJSON {
					return printJSON(env.stdout, sets)
				}
				if len(sets) == 0 {
					_, err = fmt.Fprintln(env.stdout, "no advisories: scans find no vulnerability until some are imported, with berth vulndb update or berth vulndb import")
					return err
				}
				return printSets(env.stdout, sets)
			})
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

// withVulnDB opens the database of an installation.
func withVulnDB(ctx context.Context, env *environment, flags *storageFlags, fn func(*vulndb.DB) error) (err error) {
	s, _, err := flags.open(ctx, env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return fn(&vulndb.DB{Rows: s.DB, Now: time.Now})
}

// progressOf tells how far an import is, now and then.
func progressOf(env *environment) func(int) {
	const every = 20_000
	return func(records int) {
		if records%every == 0 {
			_, _ = fmt.Fprintf(env.stderr, "%d records\n", records) // only to pass the time
		}
	}
}

func (f *storageFlags) printImport(env *environment, r vulndb.Report, err error) error {
	if err != nil {
		return err
	}
	if f.asJSON {
		return printJSON(env.stdout, r)
	}
	for _, p := range r.Problems {
		if _, err := fmt.Fprintln(env.stderr, "skipped", p); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(env.stdout, "imported %d records (%d withdrawn), skipped %d\n", r.Records, r.Withdrawn, r.Skipped); err != nil {
		return err
	}
	return printSets(env.stdout, r.Sets)
}

func printSets(w io.Writer, sets []vulndb.Set) error {
	for _, s := range sets {
		age := time.Since(s.UpdatedAt).Round(time.Hour)
		if _, err := fmt.Fprintf(w, "%s: %d advisories as of %s (%s ago), from %s\n", s.Ecosystem, s.Records, s.UpdatedAt.Format(time.RFC3339), age, s.Source); err != nil {
			return err
		}
	}
	return nil
}
