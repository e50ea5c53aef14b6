package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"berth/internal/audit"
	"berth/internal/iam"
	"berth/internal/server"
)

// addStorageFlags says where bytes, rows and keys are, to servers and to the
// commands that look after them.
func addStorageFlags(flags *pflag.FlagSet, c *server.Config, data string) {
	flags.StringVar(&c.Data, "data", data, "data directory")
	flags.StringVar(&c.Database, "database", "sqlite", "metadata store: sqlite, in the data directory, or a PostgreSQL URL, postgres://user@host:port/name; better given as BERTH_DATABASE when it has a password")
	flags.StringVar(&c.Blobs, "blobs", server.FileBlobs, "blob store: file, in the data directory, or s3://bucket/prefix?endpoint=URL&region=…&path-style=true&sse=AES256|aws:kms|repository; its keys come from BERTH_S3_ACCESS_KEY_ID and BERTH_S3_SECRET_ACCESS_KEY, or as for every AWS tool")
	flags.StringVar(&c.ArchiveBlobs, "archive-blobs", "", "where the layers go that only archived images list: a directory, or s3://… as for --blobs, with the same keys (default: they stay in --blobs)")
	flags.StringVar(&c.MasterKey, "master-key", "", "master key, under which everything is sealed: a file, or the ARN of a key in the KMS of --kms (default: the file master.key in the data directory, made on the first start)")
	flags.StringVar(&c.KMS, "kms", server.BuiltinKMS, "where the KMS keys of repositories are: builtin, aws, aws:ENDPOINT, or vault:URL?mount=transit (with the token in VAULT_TOKEN)")
}

// settleStorage completes what the flags say by the environment.
func settleStorage(c *server.Config, env *environment) {
	c.Data = pathIn(env, c.Data)
	if c.ArchiveBlobs != "" && !strings.Contains(c.ArchiveBlobs, "://") {
		c.ArchiveBlobs = pathIn(env, c.ArchiveBlobs)
	}
	if c.MasterKey != "" && !strings.HasPrefix(c.MasterKey, "arn:") {
		c.MasterKey = pathIn(env, c.MasterKey)
	}
	c.S3 = iam.Credentials{AccessKeyID: env.getenv("BERTH_S3_ACCESS_KEY_ID"), SecretAccessKey: env.getenv("BERTH_S3_SECRET_ACCESS_KEY")}
	c.VaultToken = func(context.Context) (string, error) { return env.getenv("VAULT_TOKEN"), nil }
}

// addGraceFlags are what a garbage collection waits for.
func addGraceFlags(flags *pflag.FlagSet, gc *server.GC, prefix string) {
	flags.DurationVar(&gc.Lease, prefix+"lease", 0, "how long a layer stays that no image lists, after its upload or last probe (default 24h)")
	flags.DurationVar(&gc.Grace, prefix+"grace", 0, "how long bytes stay after nothing refers to them any more (default 1h)")
}

// defaultServeData is the data directory of `berth serve`.
const defaultServeData = "/var/lib/berth"

// storageFlags are those of the commands that open the stores beside a server
// or without one.
type storageFlags struct {
	cfg    server.Config
	asJSON bool
}

func (f *storageFlags) register(flags *pflag.FlagSet) {
	addStorageFlags(flags, &f.cfg, defaultServeData)
	flags.BoolVar(&f.asJSON, "json", false, "print the result as one JSON object")
}

// log tells on stderr what is worth knowing while a command works.
func (f *storageFlags) log(env *environment) *slog.Logger {
	return slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// open opens the stores of an installation that exists. The caller closes them.
func (f *storageFlags) open(ctx context.Context, env *environment) (*server.Storage, *audit.Auditor, error) {
	settleStorage(&f.cfg, env)
	if err := f.cfg.ValidateStorage(); err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(filepath.Join(f.cfg.Data, "meta.db")); f.cfg.Database == "sqlite" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("no registry in %s: name its data directory with --data, or its database with --database", f.cfg.Data)
	}
	s, err := server.OpenStorage(ctx, f.cfg)
	if err != nil {
		return nil, nil, err
	}
	log := f.log(env)
	if err := s.Upgrade(ctx, f.cfg.Data, log); err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, s.Auditor(log), nil
}

// progress shows how far long work is: on a terminal in one line that is
// overwritten, elsewhere not at all.
func progress(env *environment) (show func(step string, done int), end func()) {
	if !isTerminal(env.stderr) {
		return nil, func() {}
	}
	var last time.Time
	return func(step string, done int) {
			if time.Since(last) < 200*time.Millisecond {
				return
			}
			last = time.Now()
			_, _ = fmt.Fprintf(env.stderr, "\r\x1b[K%s: %d", step, done) // for the eye only
		}, func() {
			_, _ = fmt.Fprint(env.stderr, "\r\x1b[K")
		}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func printJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("the result cannot be written as JSON: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}
