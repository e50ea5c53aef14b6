package audit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/audit"
	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/registry"
)

// TestCheck breaks one thing at a time and expects the check to name it, and
// repair to leave what repair can leave.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		deep    bool
		harm    func(*testing.T, *bench)
		kind    string
		settled bool // by repair
		after   string
	}{
		{"nothing", true, func(*testing.T, *bench) {}, "", true, ""},
		{"bytes gone", false, func(t *testing.T, b *bench) {
			remove(t, b.file(b.blob(digest.FromString("layer")).Location))
		}, audit.MissingBlob, false, audit.MissingBlob},
		{"bytes cut", false, func(t *testing.T, b *bench) {
			if err := os.Truncate(b.file(b.blob(digest.FromString("layer")).Location), 3); err != nil {
				t.Fatal(err)
			}
		}, audit.DamagedBlob, false, audit.DamagedBlob},
		{"a bit", true, func(t *testing.T, b *bench) { flip(t, b.file(b.blob(digest.FromString("layer")).Location)) }, audit.DamagedBlob, false, audit.DamagedBlob},
		{"a bit that only a deep check finds", false, func(t *testing.T, b *bench) { flip(t, b.file(b.blob(digest.FromString("layer")).Location)) }, "", true, ""},
		{"a bit in the row of a small blob", false, func(_ *testing.T, b *bench) {
			b.update(func(tx *meta.Tx) error {
				row := b.blobIn(tx, digest.FromString("{}"))
				bad := row
				bad.Location, bad.Sealed = "again", bytes.Clone(row.Sealed)
				bad.Sealed[len(bad.Sealed)-1] ^= 1
				return tx.ReplaceBlob(row, bad)
			})
		}, audit.DamagedBlob, false, audit.DamagedBlob},
		{"marked and whole", true, func(_ *testing.T, b *bench) {
			b.update(func(tx *meta.Tx) error {
				return tx.MarkVerified(b.blobIn(tx, digest.FromString("layer")), time.Now(), true)
			})
		}, audit.DamagedBlob, true, ""},
		{"manifest altered", false, func(_ *testing.T, b *bench) {
			b.update(func(tx *meta.Tx) error {
				m, err := tx.Manifests(0, 1)
				if err != nil {
					return err
				}
				bad := append([]byte{}, m[0].Sealed...)
				bad[len(bad)-1] ^= 1
				return tx.ReplaceManifest(m[0].ImageID, m[0].Sealed, bad)
			})
		}, audit.BadManifest, false, audit.BadManifest},
		{"layer not a member", false, func(_ *testing.T, b *bench) {
			b.update(func(tx *meta.Tx) error {
				repo, err := tx.Repository(scope, "app")
				return errors.Join(err, tx.RemoveMember(repo.ID, digest.FromString("layer").String()))
			})
		}, audit.MissingReference, false, audit.MissingReference},
		{"old bytes without a row", false, func(t *testing.T, b *bench) { age(t, b.stray(true), 48*time.Hour) }, audit.OrphanedObject, true, ""},
		{"young bytes without a row", false, func(t *testing.T, b *bench) { b.stray(true) }, "", true, ""},
		{"old stage without a session", false, func(t *testing.T, b *bench) { age(t, b.stray(false), 48*time.Hour) }, audit.OrphanedObject, true, ""},
		{"old stage of a session", false, func(t *testing.T, b *bench) { age(t, b.file(b.session()), 48*time.Hour) }, "", true, ""},
		{"session without bytes", false, func(t *testing.T, b *bench) { remove(t, b.file(b.session())) }, audit.LostUpload, true, ""},
		{"copy in the trash", false, func(t *testing.T, b *bench) {
			row := b.blob(digest.FromString("layer"))
			path := b.stray(true)
			id := path[strings.LastIndex(path, "/")+1:]
			b.update(func(tx *meta.Tx) error {
				return tx.AddTrash(meta.Trash{Location: id, Domain: row.Domain, Since: time.Now()})
			})
			age(t, path, 48*time.Hour)
		}, "", true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.image("app", "v1", "layer")
			tt.harm(t, b)
			for _, repair := range []bool{false, false, true} { // the first two must not change a thing
				r := b.check(audit.Options{Deep: tt.deep, Repair: repair})
				if kind := kinds(r); kind != tt.kind {
					t.Fatalf("repair %t: found %q, want %q: %+v", repair, kind, tt.kind, r.Findings)
				}
				if repair && r.Clean() != tt.settled {
					t.Errorf("after a repair clean is %t: %+v", r.Clean(), r.Findings)
				}
			}
			if r := b.check(audit.Options{Deep: tt.deep}); kinds(r) != tt.after {
				t.Errorf("after a repair: %+v, want %q", r.Findings, tt.after)
			}
		})
	}
}

func kinds(r audit.Report) string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.Kind)
	}
	return strings.Join(out, " ")
}

// A push of the same layer repairs what a check marked.
func TestPushRepairs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := b.image("app", "v1", "layer")
	remove(t, b.file(b.blob(d).Location))
	b.check(audit.Options{Repair: true})
	if _, err := b.PutBlob(t.Context(), scope, "app", d, strings.NewReader("layer")); err != nil {
		t.Fatal(err)
	}
	if r := b.check(audit.Options{Deep: true}); !r.Clean() {
		t.Errorf("%+v", r.Findings)
	}
}

// A KMS key that is disabled is no damage, and repair touches nothing of it.
func TestDisabledKeyIsNoDamage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := context.Background()
	arn, made, err := b.kms.Adopt(ctx, scope, "alias/team")
	if err != nil || !made {
		t.Fatal(arn, made, err)
	}
	if _, err := b.CreateRepository(ctx, scope, registry.NewRepository{Name: "sealed", Encryption: "KMS", KMSKey: arn}); err != nil {
		t.Fatal(err)
	}
	b.image("sealed", "v1", "secret layer")
	if err := b.kms.Disable(ctx, arn); err != nil {
		t.Fatal(err)
	}
	r := b.check(audit.Options{Deep: true, Repair: true})
	if kinds(r) != audit.UnusableKey || !r.Clean() || r.Unread != 3 {
		t.Errorf("%+v", r)
	}
	if err := b.kms.Enable(ctx, arn); err != nil {
		t.Fatal(err)
	}
	if r := b.check(audit.Options{Deep: true}); r.Problems != 0 || r.Unread != 0 {
		t.Errorf("after the key is back: %+v", r)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) blobIn(tx *meta.Tx, d digest.Digest) meta.Blob {
	row, err := tx.Blob(scope.Account, d.String())
	if err != nil {
		b.t.Error(err)
	}
	return row
}

// stray stores bytes, or stages them, as a server does that stops before the row.
func (b *bench) stray(commit bool) (path string) {
	b.t.Helper()
	ctx := context.Background()
	stage := blob.Stage{ID: "00000000-0000-4000-8000-000000000000", Domain: scope.Account}
	w, err := b.blobs.Append(ctx, stage)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.Repeat("stray ", 20_000)); err != nil {
		b.t.Fatal(err)
	}
	if stage, err = w.Close(); err != nil {
		b.t.Fatal(err)
	}
	if commit {
		if _, err := b.blobs.Commit(ctx, stage); err != nil {
			b.t.Fatal(err)
		}
	}
	return b.file(stage.ID)
}

// session begins an upload with bytes that reach the disk.
func (b *bench) session() (id string) {
	b.t.Helper()
	u, err := b.StartUpload(context.Background(), scope, "app", "")
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.AppendUpload(context.Background(), scope, "app", u.ID, 0, strings.NewReader(strings.Repeat("half ", 30_000))); err != nil {
		b.t.Fatal(err)
	}
	return u.ID
}
