package server_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"

	"berth/internal/audit"
	"berth/internal/collect"
	"berth/internal/meta"
	"berth/internal/secrets"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// pushTo stores an image as repository:tag and notes what pulls must give.
func pushTo(s *servertest.Server, repository, tag string, c testkit.Content, want expected) error {
	entry := want[repository+":"+tag]
	entry.Manifest, entry.Blobs = c.Digest(), nil
	for b, manifest := range c.All() {
		method, path := http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+b.Descriptor.Digest.String()
		if manifest {
			method, path = http.MethodPut, "/v2/"+repository+"/manifests/"+tag
		} else {
			entry.Blobs = append(entry.Blobs, b.Descriptor.Digest)
		}
		resp, body := s.Do(method, path, bytes.NewReader(b.Bytes), "Content-Type", b.Descriptor.MediaType)
		if resp.StatusCode != http.StatusCreated {
			return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, body)
		}
	}
	want[repository+":"+tag] = entry
	return nil
}

const teamKey = "arn:aws:kms:us-east-1:000000000000:key/5d9c2f1e-0000-4000-8000-000000000001"

// furnished starts a server with images in repositories of two kinds of encryption.
func furnished(t *testing.T, cfg server.Config) (*servertest.Server, expected) {
	t.Helper()
	cfg.CreateKMSKeys = true
	s := servertest.StartWith(t, cfg)
	s.CreateRepositories("plain")
	_, err := s.ECR().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{
		RepositoryName:          aws.String("sealed"),
		EncryptionConfiguration: &types.EncryptionConfiguration{EncryptionType: types.EncryptionTypeKms, KmsKey: aws.String(teamKey)},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := expected{}
	for _, repository := range []string{"plain", "sealed"} {
		for i := range 2 {
			if err := pushTo(s, repository, fmt.Sprint("v", i), testkit.RandomImage(t, 1, 80_000), want); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, want
}

var everything = audit.RotateOptions{Master: true, DataKeys: true, Reencrypt: true, RetireOld: true}

func rotate(ctx context.Context, st *server.Storage, o audit.RotateOptions) (audit.RotateReport, error) {
	return st.Auditor(slog.New(slog.DiscardHandler)).Rotate(ctx, st.MasterKeys(), o)
}

// collectNow deletes all that nothing refers to.
func collectNow(ctx context.Context, st *server.Storage) error {
	return collectAfter(ctx, st, time.Hour)
}

func collectAfter(ctx context.Context, st *server.Storage, lease time.Duration) error {
	_, err := collect.New(collect.Options{
		DB: st.DB, Blobs: st.Blobs, Log: slog.New(slog.DiscardHandler), Now: time.Now, Lease: lease, Grace: 0,
	}).Collect(ctx)
	return err
}

// oneKeyEach expects one master key, and one data key for each domain.
func oneKeyEach(t *testing.T, st *server.Storage, newer int64) {
	t.Helper()
	if ids := st.Keyring.IDs(); len(ids) != 1 {
		t.Errorf("master keys %v, want the new one alone", ids)
	}
	err := st.DB.View(t.Context(), func(tx *meta.Tx) error {
		keys, err := tx.DataKeys(0, 100)
		if len(keys) != 2 {
			t.Errorf("%d data keys for two domains", len(keys))
		}
		for _, k := range keys {
			if k.ID <= newer {
				t.Errorf("the data key %d is an old one", k.ID)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRotateKeysOnline renews all keys beside a server that takes pushes and
// pulls without a failure.
func TestRotateKeysOnline(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a new key waits until all servers know it")
	}
	cfg := server.Config{Data: t.TempDir(), Database: "sqlite", Blobs: "file"}
	s, want := furnished(t, cfg)
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for _, repository := range []string{"plain", "sealed"} {
		pushed := expected{}
		busy.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := pushTo(s, repository, fmt.Sprintf("live%d", n%5), testkit.RandomImage(t, 1, 70_000), pushed); err != nil {
					t.Error(err)
					return
				}
				serves(t, s, pushed)
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	secret, _, err := st.Secrets.Create(t.Context(), meta.Scope{Account: s.Account, Region: s.Region}, secrets.NewSecret{
		ARN: "arn:aws:secretsmanager:us-east-1:000000000000:secret:hub-AAAAAA", Name: "hub", Value: &secrets.Value{Bytes: []byte("kept")},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := rotate(t.Context(), st, everything)
	if err != nil || r.DataKeys != 2 || r.Blobs < 8 || r.Manifests < 4 || len(r.Retired) != 1 || r.Damaged > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	stop()
	busy.Wait()
	serves(t, s, want)
	if _, _, v, err := st.Secrets.Value(t.Context(), secret, "", ""); err != nil || string(v.Bytes) != "kept" {
		t.Errorf("the secret under the new master key: %q, %v", v.Bytes, err)
	}
	// What is in the trash needs its keys until it is collected.
	if err := collectNow(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	if r, err = rotate(t.Context(), st, audit.RotateOptions{Reencrypt: true}); err != nil || r.Kept > 0 || r.Dropped == 0 {
		t.Errorf("after the collection: %+v, %v", r, err)
	}
	oneKeyEach(t, st, 2)
	s.Stop()
	isClean(t, cfg)
	serves(t, servertest.StartWith(t, cfg), want)
}

// TestRotateKeysGoesOn stops a rotation after each of its updates in turn.
func TestRotateKeysGoesOn(t *testing.T) {
	t.Parallel()
	cfg := server.Config{Data: t.TempDir(), Database: "sqlite", Blobs: "file"}
	s, want := furnished(t, cfg)
	s.Stop()
	runs := 0
	untilDone(t, cfg, func(st *server.Storage) error {
		o := audit.RotateOptions{Reencrypt: true, RetireOld: true, Settle: time.Microsecond}
		// The first runs begin a rotation each, the others go on with it.
		o.Master, o.DataKeys = runs < 9, runs < 9
		runs++
		_, err := rotate(t.Context(), st, o)
		return err
	})
	untilDone(t, cfg, func(st *server.Storage) error {
		if err := collectNow(t.Context(), st); err != nil {
			return err
		}
		_, err := rotate(t.Context(), st, audit.RotateOptions{Reencrypt: true, RetireOld: true, Settle: time.Microsecond})
		return err
	})
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	oneKeyEach(t, st, 2)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	repairs(t, cfg)
	isClean(t, cfg)
	serves(t, servertest.StartWith(t, cfg), want)
}

// TestKeyInUseIsKept: a data key stays as long as an upload may need it.
func TestKeyInUseIsKept(t *testing.T) {
	t.Parallel()
	cfg := server.Config{Data: t.TempDir(), Database: "sqlite", Blobs: "file"}
	s, _ := furnished(t, cfg)
	resp, _ := s.Do(http.MethodPost, "/v2/plain/blobs/uploads/", nil)
	session := resp.Header.Get("Location")
	text := strings.Repeat("half a layer ", 10_000)
	session = strings.TrimPrefix(session, s.Endpoint)
	if resp, body := s.Do(http.MethodPatch, session, strings.NewReader(text), "Content-Type", "application/octet-stream"); resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp.Status, string(body))
	}
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	o := audit.RotateOptions{DataKeys: true, Reencrypt: true, Settle: time.Microsecond}
	if _, err := rotate(t.Context(), st, o); err != nil {
		t.Fatal(err)
	}
	if err := collectNow(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	o.DataKeys = false
	if r, err := rotate(t.Context(), st, o); err != nil || r.Kept != 1 || r.Dropped != 1 {
		t.Errorf("%+v, %v: want the key of the running upload kept and the other dropped", r, err)
	}
	d := digest.FromString(text)
	sep := "?"
	if strings.Contains(session, "?") {
		sep = "&"
	}
	if resp, body := s.Do(http.MethodPut, session+sep+"digest="+d.String(), nil); resp.StatusCode != http.StatusCreated {
		t.Errorf("the upload did not go on: %s: %s", resp.Status, body)
	}
}
