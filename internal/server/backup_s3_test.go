package server_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"berth/internal/audit"
	"berth/internal/iam"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// onS3 keeps the bytes below a prefix of a bucket.
func onS3(s *testkit.S3Server, prefix, data string) server.Config {
	cfg := stores(data)
	cfg.Blobs = "s3://" + s.Bucket + "/" + prefix + "?path-style=true&region=us-east-1&endpoint=" + s.Endpoint
	cfg.S3 = iam.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}
	cfg.NoRedirect = true
	return cfg
}

// TestBackupMovesBetweenBlobStores goes from files to S3, from there to S3 at
// another place, and back to files.
func TestBackupMovesBetweenBlobStores(t *testing.T) {
	t.Parallel()
	bucket := testkit.S3(t)
	cfg := stores(t.TempDir())
	s, want := furnished(t, cfg)
	payload := bytes.Repeat([]byte(marker), 100_000) // many packages
	for name, b := range map[string][]byte{"marked": payload, "one": payload[:7]} {
		if err := pushTo(s, "sealed", name, testkit.Artifact(t, "application/x", b, nil), want); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	for i, target := range []server.Config{onS3(bucket, "one", t.TempDir()), onS3(bucket, "two", t.TempDir()), stores(t.TempDir())} {
		dest := filepath.Join(dir, []string{"a", "b.tar", "c"}[i])
		if m := backUp(t, cfg, dest); m.Missing > 0 || m.Blobs == 0 {
			t.Fatalf("%d of %d blobs are missing", m.Missing, m.Blobs)
		}
		s.Stop()
		holdsNothingPlain(t, dir)
		if err := restore(t, target, dest); err != nil {
			t.Fatal(err)
		}
		isClean(t, target)
		if left, err := filepath.Glob(filepath.Join(target.Data, ".restore-*")); err != nil || len(left) > 0 {
			t.Errorf("the restore left %v", left)
		}
		cfg = target
		s = servertest.StartWith(t, cfg)
		serves(t, s, want)
		tag := "after-" + filepath.Base(dest)
		if err := pushTo(s, "plain", tag, testkit.RandomImage(t, 1, 1000), want); err != nil {
			t.Fatal(err)
		}
	}
	if err := restore(t, onS3(bucket, "one", t.TempDir()), filepath.Join(dir, "c")); !errors.Is(err, audit.ErrNotEmpty) {
		t.Errorf("restored over the bytes of another registry: %v", err)
	}
}

// TestBackupOfS3FindsDamage changes an object behind Berth's back.
func TestBackupOfS3FindsDamage(t *testing.T) {
	t.Parallel()
	bucket := testkit.S3(t)
	cfg := onS3(bucket, "berth", t.TempDir())
	s, _ := furnished(t, cfg)
	want := expected{}
	if err := pushTo(s, "plain", "whole", testkit.RandomImage(t, 1, 1000), want); err != nil {
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte(marker), 20_000)
	if err := pushTo(s, "plain", "damaged", testkit.Artifact(t, "application/x", payload, nil), expected{}); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	changed := 0
	err := filepath.WalkDir(bucket.Dir(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && bytes.Equal(b, payload) {
			b[len(b)-1] ^= 1
			changed++
			err = os.WriteFile(path, b, 0o600)
		}
		return err
	})
	if err != nil || changed != 1 {
		t.Fatal(changed, err)
	}
	dest := filepath.Join(t.TempDir(), "b.tar")
	if m := backUp(t, cfg, dest); m.Missing != 1 {
		t.Errorf("%d blobs are missing, want the damaged one", m.Missing)
	}
	target := stores(t.TempDir())
	r, err := server.Restore(t.Context(), target, dest, slog.New(slog.DiscardHandler), nil)
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Kind != audit.MissingBlob {
		t.Errorf("%v %+v", err, r.Findings)
	}
	serves(t, servertest.StartWith(t, target), want)
}

// TestBackupWithMasterKeyInKMS: the backup needs no file, and nothing but the key
// in the KMS opens it.
func TestBackupWithMasterKeyInKMS(t *testing.T) {
	keys := servertest.Start(t) // another Berth
	t.Setenv("AWS_ACCESS_KEY_ID", keys.Root.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", keys.Root.SecretAccessKey)
	var arns []string
	client := awskms.New(awskms.Options{Region: keys.Region, BaseEndpoint: aws.String(keys.Endpoint), Credentials: credentials.NewStaticCredentialsProvider(keys.Root.AccessKeyID, keys.Root.SecretAccessKey, "")})
	for range 2 {
		k, err := client.CreateKey(t.Context(), &awskms.CreateKeyInput{})
		if err != nil {
			t.Fatal(err)
		}
		arns = append(arns, *k.KeyMetadata.Arn)
	}
	with := func(arn string) server.Config {
		cfg := stores(t.TempDir())
		cfg.KMS, cfg.MasterKey, cfg.Region = "aws:"+keys.Endpoint, arn, keys.Region
		return cfg
	}
	cfg := with(arns[0])
	s := servertest.StartWith(t, cfg)
	s.CreateRepositories("plain")
	want := expected{}
	if err := pushTo(s, "plain", "v1", testkit.RandomImage(t, 1, 80_000), want); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "b")
	if m := backUp(t, cfg, dest); m.Missing > 0 || len(m.MasterKeys) != 1 || m.MasterKeys[0] != arns[0] {
		t.Errorf("%+v", m)
	}
	s.Stop()
	if err := restore(t, with(arns[1]), dest); err == nil || !strings.Contains(err.Error(), "is not the master key") {
		t.Errorf("restored with another key: %v", err)
	}
	target := with(arns[0])
	if err := restore(t, target, dest); err != nil {
		t.Fatal(err)
	}
	serves(t, servertest.StartWith(t, target), want)
}
