package server_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/access"
	"berth/internal/audit"
	"berth/internal/iam"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// holdsNone looks for secrets in every file below dir but those that are there to hold them.
func holdsNone(t *testing.T, dir string, secrets ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "credentials" || e.Name() == server.MasterKeyFile {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		for i, secret := range secrets {
			if secret == "" {
				t.Fatalf("secret %d is empty", i)
			}
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s holds the secret %d", path, i)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files of %s: %v", files, dir, err)
	}
}

// TestSecretsAreNotInTheDatabase looks for the secrets of access keys in the
// files of a data directory and of a backup.
func TestSecretsAreNotInTheDatabase(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	s := servertest.StartWith(t, cfg)
	root := s.Root
	made := s.IAM("CreateUser", "UserName", "ann") + s.IAM("CreateAccessKey", "UserName", "ann")
	user := between(t, made, "<SecretAccessKey>", "</SecretAccessKey>")
	holdsNone(t, cfg.Data, root.SecretAccessKey, user) // the write-ahead log is there, too
	dest := filepath.Join(t.TempDir(), "backup")
	backUp(t, cfg, dest)
	holdsNone(t, dest, root.SecretAccessKey, user)
	s.Stop()
	holdsNone(t, cfg.Data, root.SecretAccessKey, user)
	target := stores(t.TempDir())
	if err := restore(t, target, dest); err != nil {
		t.Fatal(err)
	}
	again := servertest.StartWith(t, target)
	if again.Root != root {
		t.Error("the restored registry has another root key")
	}
	if !bytes.Contains([]byte(again.IAM("ListAccessKeys", "UserName", "ann")), []byte(between(t, made, "<AccessKeyId>", "</AccessKeyId>"))) {
		t.Error("the key of a user is gone")
	}
}

// olderSecrets reads what versions before 7 kept in the clear.
func olderSecrets(t *testing.T, path string) (root, signing string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		db.QueryRow(`SELECT secret FROM access_keys`).Scan(&root),
		db.QueryRow(`SELECT value FROM settings WHERE name = 'token-key'`).Scan(&signing), db.Close())
	if err != nil || root == "" || len(signing) != 32 {
		t.Fatalf("the fixture has no secrets: %v", err)
	}
	return root, signing
}

// TestSecretsOfOlderVersionsAreSealed starts on the database of an older version.
func TestSecretsOfOlderVersionsAreSealed(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	unpack(t, "testdata/schema1.tar.gz", data)
	root, signing := olderSecrets(t, filepath.Join(data, "meta.db"))
	s := servertest.StartIn(t, data)
	if s.Root.SecretAccessKey != root {
		t.Error("the root key became another")
	}
	s.Stop()
	holdsNone(t, data, root, signing)
}

// TestSealingSecretsGoesOn stops it at each of its steps in turn.
func TestSealingSecretsGoesOn(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	unpack(t, "testdata/schema1.tar.gz", data)
	root, signing := olderSecrets(t, filepath.Join(data, "meta.db"))
	untilDone(t, stores(data), func(*server.Storage) error { return nil })
	holdsNone(t, data, root, signing)
	if servertest.StartIn(t, data).Root.SecretAccessKey != root {
		t.Error("the root key became another")
	}
}

// Rows of a backup of an older schema have secrets as they came; what opens the stores seals them.
func TestSecretsOfOlderBackupsAreSealed(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	path := filepath.Join(data, "meta.db")
	const secret = "an older secret, as it came"
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	arn := access.Root("000000000000", "").ARN
	err = db.Update(t.Context(), func(tx *meta.Tx) error {
		for _, table := range meta.Tables(5) {
			if table.Name == "access_keys" {
				row, err := json.Marshal([]any{"AKIAOLD", "000000000000", arn, "000000000000", secret, 1, 1})
				return errors.Join(err, tx.Load(table, row))
			}
		}
		return errors.New("no table of access keys")
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s := servertest.StartIn(t, data)
	if want := (iam.Credentials{AccessKeyID: "AKIAOLD", SecretAccessKey: secret}); s.Root != want {
		t.Errorf("root is %v", s.Root)
	}
	s.Stop()
	holdsNone(t, data, secret)
}

// TestRotationWrapsOwnKeysAnew rotates the master key, forgets the old one and
// starts again: every key of the installation must open under the new one.
func TestRotationWrapsOwnKeysAnew(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	s := servertest.StartWith(t, cfg)
	root := s.Root
	s.Stop()
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	report, err := rotate(t.Context(), st, audit.RotateOptions{Master: true})
	if err == nil {
		_, err = rotate(t.Context(), st, audit.RotateOptions{RetireOld: true})
	}
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	if len(st.Keyring.IDs()) != 1 {
		t.Errorf("master keys %v after %+v", st.Keyring.IDs(), report)
	}
	if servertest.StartWith(t, cfg).Root != root {
		t.Error("the root key became another")
	}
}

// A database in PostgreSQL has no secret in it either.
func TestSecretsAreNotInPostgres(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	cfg := server.Config{Data: t.TempDir(), Database: url, Blobs: "file"}
	s := servertest.StartWith(t, cfg)
	secret := s.Root.SecretAccessKey
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	var plain, sealed string
	err = db.QueryRow(`SELECT secret, encode(sealed, 'escape') FROM access_keys`).Scan(&plain, &sealed)
	if err := errors.Join(err, db.Close()); err != nil || plain != "" || len(sealed) < len(secret) || bytes.Contains([]byte(sealed), []byte(secret)) {
		t.Errorf("the row has %q and %d bytes: %v", plain, len(sealed), err)
	}
}

// between is what stands between two texts.
func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, before)
	middle, _, found := strings.Cut(rest, after)
	if !ok || !found {
		t.Fatalf("%q has no %s…%s", s, before, after)
	}
	return middle
}
