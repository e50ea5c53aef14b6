package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/internal/meta"
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
		Long: `Advisories are records of OSV (https://osv.dev). The commands ask the running registry of AWS_ENDPOINT_URL_ECR, which
allows it to the root user and to administrators of its home account. With --data or --database they open that registry's
database themselves, whether it runs or not. Nothing is fetched unless asked for, and then by this command and not by the
registry: on a site without a network, copy the archives and import them.`,
	}
	cmd.AddCommand(newVulnDBImportCommand(env), newVulnDBUpdateCommand(env), newVulnDBStatusCommand(env))
	return cmd
}

func newVulnDBImportCommand(env *environment) *cobra.Command {
	var flags advisoryFlags
	cmd := &cobra.Command{
		Use:   "import FILE|DIR",
		Short: "Import advisories from files",
		Long: `Imports OSV records (.json) and archives of them (.zip), such as the all.zip of an ecosystem. What is imported
replaces, at once, everything that was known of each ecosystem in it. Also imports which vulnerabilities are exploited: the
scores of EPSS (epss_scores-DATE.csv.gz of FIRST) and the catalogue KEV of CISA (known_exploited_vulnerabilities.json).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.with(cmd, env, func(db vulndb.Keeper) error {
				show, end := progressOf(env)
				r, err := vulndb.Import(cmd.Context(), db, pathIn(env, args[0]), args[0], show)
				end()
				return flags.printImport(env, r, err)
			})
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func newVulnDBUpdateCommand(env *environment) *cobra.Command {
	var flags advisoryFlags
	var url string
	var ecosystems []string
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Fetch the advisories of ecosystems and import them",
		Long: `Fetches URL/ECOSYSTEM/all.zip for each ecosystem and imports it. An archive that did not change since the last
update is not fetched again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.with(cmd, env, func(db vulndb.Keeper) error {
				show, end := progressOf(env)
				r, err := vulndb.Update(cmd.Context(), db, url, ecosystems, show)
				end()
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
	var flags advisoryFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell which advisories are known, and how old they are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.with(cmd, env, func(db vulndb.Keeper) error {
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

// advisoryFlags say which registry's advisories are meant.
type advisoryFlags struct {
	storageFlags
	endpoint, region, profile string
}

func (f *advisoryFlags) register(flags *pflag.FlagSet) {
	f.storageFlags.register(flags)
	flags.StringVar(&f.endpoint, "endpoint", "", "URL of the running registry (default: AWS_ENDPOINT_URL_ECR, AWS_ENDPOINT_URL)")
	flags.StringVar(&f.region, "region", "", "region of the registry (default: AWS_REGION)")
	flags.StringVar(&f.profile, "profile", "", "profile of the AWS configuration files (default: AWS_PROFILE)")
	flags.Lookup("data").Usage = "data directory whose database is opened in place of asking a running registry"
	flags.Lookup("data").DefValue = ""
}

// with gives fn the advisories of the running registry, or those of the database
// that the flags name.
func (f *advisoryFlags) with(cmd *cobra.Command, env *environment, fn func(vulndb.Keeper) error) (err error) {
	flags := cmd.Flags()
	if !flags.Changed("data") && !flags.Changed("database") {
		client, err := ecrClient(cmd.Context(), f.endpoint, f.region, f.profile)
		if err != nil {
			return fmt.Errorf("%w; or name a data directory with --data", err)
		}
		return fn(remoteAdvisories{client})
	}
	if flags.Changed("endpoint") {
		return errors.New("--endpoint asks a running registry, and --data and --database open one's database: give one of them")
	}
	s, _, err := f.open(cmd.Context(), env)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return fn(&vulndb.DB{Rows: s.DB, Now: time.Now})
}

// remoteAdvisories are those of a running registry, over its API.
type remoteAdvisories struct{ client *ecr.Client }

// Status implements [vulndb.Keeper].
func (r remoteAdvisories) Status(ctx context.Context) ([]vulndb.Set, error) {
	var out struct{ Sets []vulndb.Set }
	err := r.ask(ctx, "BerthDescribeAdvisories", struct{}{}, &out)
	return out.Sets, err
}

// Put implements [vulndb.Keeper].
func (r remoteAdvisories) Put(ctx context.Context, p vulndb.Part) (out vulndb.Answer, err error) {
	in := map[string]any{"last": p.Last}
	for name, v := range map[string]any{"state": p.State, "records": p.Records} {
		text, err := json.Marshal(v)
		if err != nil {
			return out, err
		}
		in[name] = text // base64 in JSON, as blobs are
	}
	err = r.ask(ctx, "BerthImportAdvisories", in, &out)
	return out, err
}

func (r remoteAdvisories) ask(ctx context.Context, operation string, in, out any) error {
	err := callOwn(ctx, r.client, operation, in, out)
	if errors.Is(err, errNotBerth) {
		return fmt.Errorf("%w: run eval \"$(berth env)\" or pass --endpoint, or name a data directory with --data", err)
	}
	return err
}

// progressOf tells how far an import is: on a terminal in one line that is
// overwritten, elsewhere now and then.
func progressOf(env *environment) (show func(records int), end func()) {
	const every = 20_000
	said := 0
	line, end := progress(env)
	return func(records int) {
		switch {
		case line != nil:
			line("records", records)
		case records/every > said:
			said = records / every
			_, _ = fmt.Fprintf(env.stderr, "%d records\n", records) // only to pass the time
		}
	}, end
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
		stale := ""
		if s.Stale {
			stale = "; stale: update or import them"
		}
		what := "advisories"
		switch s.Ecosystem {
		case meta.FeedEPSS:
			what = "scores"
		case meta.FeedKEV:
			what = "exploited vulnerabilities"
		}
		if _, err := fmt.Fprintf(w, "%s: %d %s as of %s (%s ago), from %s%s\n", s.Ecosystem, s.Records, what, s.UpdatedAt.Format(time.RFC3339), age, s.Source, stale); err != nil {
			return err
		}
	}
	return nil
}
