package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/audit"
	"berth/internal/meta"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// backUp makes a backup beside whatever runs on the stores.
func backUp(t *testing.T, cfg server.Config, dest string) audit.Manifest {
	t.Helper()
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	opt := audit.BackupOptions{MasterKeys: st.MasterKeyIDs()}
	if st.Keyring != nil {
		opt.MasterKey = func() ([]byte, error) { return os.ReadFile(st.Keyring.Path()) }
	}
	m, err := st.Auditor(slog.New(slog.DiscardHandler)).Backup(t.Context(), dest, opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func restore(t *testing.T, cfg server.Config, src string) error {
	t.Helper()
	r, err := server.Restore(t.Context(), cfg, src, slog.New(slog.DiscardHandler), nil)
	if err == nil && r.Problems > 0 {
		t.Errorf("restored with problems: %+v", r.Findings)
	}
	return err
}

func stores(data string) server.Config {
	return server.Config{Data: data, Database: "sqlite", Blobs: "file"}
}

// TestBackupOnline makes backups while images are pushed and deleted and
// garbage is collected without any grace. What was acknowledged before a backup
// began and is not deleted by then is in it, and the whole is consistent.
func TestBackupOnline(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	s, want := furnished(t, cfg)
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() { // churn
		client := s.ECR()
		for n := 0; ctx.Err() == nil; n++ {
			tag := fmt.Sprintf("gone%d", n)
			err := pushTo(s, "plain", tag, testkit.RandomImage(t, 1, 70_000), expected{})
			if err != nil && strings.Contains(err.Error(), "MANIFEST_BLOB_UNKNOWN") {
				continue // slower than the lease
			}
			if err != nil {
				t.Error(err)
				return
			}
			_, err = client.BatchDeleteImage(context.WithoutCancel(ctx), &ecr.BatchDeleteImageInput{
				RepositoryName: aws.String("plain"), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String(tag)}},
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	busy.Go(func() {
		for ctx.Err() == nil {
			if err := collectAfter(context.WithoutCancel(ctx), st, 300*time.Millisecond); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var dests []string
	for i, dest := range []string{"one", "two.tar", "three"} {
		dest = filepath.Join(t.TempDir(), dest)
		dests = append(dests, dest)
		if m := backUp(t, cfg, dest); m.Missing > 0 {
			t.Errorf("backup %d misses %d blobs", i, m.Missing)
		}
	}
	stop()
	busy.Wait()
	s.Stop()
	for _, dest := range dests {
		target := stores(t.TempDir())
		if err := restore(t, target, dest); err != nil {
			t.Fatal(err)
		}
		isClean(t, target)
		restored := servertest.StartWith(t, target)
		serves(t, restored, want)
		// New rows get numbers of their own.
		if err := pushTo(restored, "plain", "after", testkit.RandomImage(t, 1, 1000), expected{}); err != nil {
			t.Error(err)
		}
		restored.Stop()
	}
}

// TestBackupMovesBetweenDatabases goes from SQLite to PostgreSQL and back.
func TestBackupMovesBetweenDatabases(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	first := stores(t.TempDir())
	s, want := furnished(t, first)
	dir := t.TempDir()
	backUp(t, first, filepath.Join(dir, "a"))
	s.Stop()
	second := stores(t.TempDir())
	second.Database = url
	if err := restore(t, second, filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	s = servertest.StartWith(t, second)
	serves(t, s, want)
	for _, repository := range []string{"plain", "sealed"} {
		if err := pushTo(s, repository, "second", testkit.RandomImage(t, 1, 1000), want); err != nil {
			t.Fatal(err)
		}
	}
	s.CreateRepositories("another")
	backUp(t, second, filepath.Join(dir, "b.tar"))
	s.Stop()
	isClean(t, second)
	third := stores(t.TempDir())
	if err := restore(t, third, filepath.Join(dir, "b.tar")); err != nil {
		t.Fatal(err)
	}
	isClean(t, third)
	s = servertest.StartWith(t, third)
	serves(t, s, want)
	s.CreateRepositories("third")
	// A target with rows is refused.
	other := stores(t.TempDir())
	other.Database = url
	if err := restore(t, other, filepath.Join(dir, "a")); !errors.Is(err, audit.ErrNotEmpty) {
		t.Errorf("restored over rows: %v", err)
	}
	if err := restore(t, third, filepath.Join(dir, "a")); err == nil {
		t.Error("restored into a data directory in use")
	}
}

// TestBackupThatIsNotWholeIsRefused alters an archive in each of its parts.
func TestBackupThatIsNotWholeIsRefused(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	s, _ := furnished(t, cfg)
	s.Stop()
	dir := t.TempDir()
	backUp(t, cfg, filepath.Join(dir, "whole.tar"))
	whole, err := os.ReadFile(filepath.Join(dir, "whole.tar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 1000, len(whole) / 2, len(whole) - 3000} {
		path := filepath.Join(dir, "cut.tar")
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := restore(t, stores(t.TempDir()), path); err == nil {
			t.Errorf("restored the first %d of %d bytes", cut, len(whole))
		}
	}
	for _, name := range []string{"manifest.json", "rows/images.jsonl", "rows/settings.jsonl", "blobs.jsonl", "master.key", "blobs/"} {
		backUp(t, cfg, filepath.Join(dir, "b"))
		path := filepath.Join(dir, "b", name)
		if strings.HasSuffix(name, "/") {
			found, err := filepath.Glob(filepath.Join(path, "*", "*", "*"))
			if err != nil || len(found) == 0 {
				t.Fatal(found, err)
			}
			path = found[0]
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 2
		if err := os.Remove(path); err != nil { // it may be a link to the store's own file
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		target := t.TempDir()
		if err := restore(t, stores(target), filepath.Join(dir, "b")); err == nil {
			t.Errorf("restored with %s altered", name)
		}
		if _, err := os.Stat(filepath.Join(target, "meta.db")); err == nil {
			t.Errorf("%s: rows were written before everything was checked", name)
		}
		if err := os.RemoveAll(filepath.Join(dir, "b")); err != nil {
			t.Fatal(err)
		}
	}
	isClean(t, cfg)
}

// TestBackupNeedsItsMasterKey: another key is refused before rows are written.
func TestBackupNeedsItsMasterKey(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	s, want := furnished(t, cfg)
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "b")
	_, err = st.Auditor(slog.New(slog.DiscardHandler)).Backup(t.Context(), dest, audit.BackupOptions{})
	if err = errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if _, err := os.Stat(filepath.Join(dest, "master.key")); err == nil {
		t.Error("the master key is in the backup")
	}
	if err := restore(t, stores(t.TempDir()), dest); err == nil || !strings.Contains(err.Error(), "--master-key") {
		t.Errorf("without the key: %v", err)
	}
	other := stores(t.TempDir())
	s = servertest.StartWith(t, other)
	s.Stop()
	target := stores(t.TempDir())
	target.MasterKey = filepath.Join(other.Data, server.MasterKeyFile)
	if err := restore(t, target, dest); err == nil {
		t.Error("restored with the key of another installation")
	}
	target = stores(t.TempDir())
	target.MasterKey = filepath.Join(cfg.Data, server.MasterKeyFile)
	if err := restore(t, target, dest); err != nil {
		t.Fatal(err)
	}
	serves(t, servertest.StartWith(t, target), want)
}

// TestBackupKeepsBytes deletes every image and collects garbage without any
// grace after the rows of a backup were read and before its bytes are.
func TestBackupKeepsBytes(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	s, want := furnished(t, cfg)
	s.Stop()
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	opt := audit.BackupOptions{MasterKey: func() ([]byte, error) { return os.ReadFile(st.Keyring.Path()) }}
	opt.Progress = func(step string, done int) {
		if step != "blobs" || done != 1 {
			return
		}
		err := st.DB.Update(t.Context(), func(tx *meta.Tx) error { return errors.Join(tx.DeleteRepository(1), tx.DeleteRepository(2)) })
		if err = errors.Join(err, collectAfter(t.Context(), st, 0)); err != nil {
			t.Error(err)
		}
	}
	dest := filepath.Join(t.TempDir(), "b")
	m, err := st.Auditor(slog.New(slog.DiscardHandler)).Backup(t.Context(), dest, opt)
	if err != nil || m.Missing > 0 {
		t.Fatalf("%d blobs are missing: %v", m.Missing, err)
	}
	target := stores(t.TempDir())
	if err := restore(t, target, dest); err != nil {
		t.Fatal(err)
	}
	serves(t, servertest.StartWith(t, target), want)
	// Afterwards the bytes go.
	if err := collectAfter(t.Context(), st, 0); err != nil {
		t.Fatal(err)
	}
	r, err := st.Auditor(slog.New(slog.DiscardHandler)).Check(t.Context(), audit.Options{OrphanAge: -1})
	if err != nil || r.Objects != 0 {
		t.Errorf("%d objects stay after the backup: %v", r.Objects, err)
	}
}
