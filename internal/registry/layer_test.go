package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
	"berth/internal/upload"
)

// CVE-2024-39897, CVE-2026-35172: a blob is reached through the membership of
// the repository asked, whatever other repositories did with the same bytes.
func TestInvariant05_BlobOfOtherRepositoryIsUnknown(t *testing.T) {
	b := newBench(t)
	b.create("aa", "bb")
	ctx := context.Background()
	secret := []byte("bytes of repository a")
	d := b.putBlob("aa", secret)
	denied := func(when string) {
		t.Helper()
		_, err := b.readBlob("bb", d)
		wantRefusal(t, err, registry.LayerNotFound, fmt.Sprintf(
			"The layer with digest '%s' does not exist in the repository with name 'bb' in the registry with id '123456789012'", d))
		found, missing, err := b.CheckLayers(ctx, scope, "bb", []digest.Digest{d})
		if err != nil || len(found) != 0 || len(missing) != 1 {
			t.Errorf("%s: a probe found %v, %v", when, found, err)
		}
		_, err = b.LayerTicket(ctx, scope, "bb", d)
		wantRefusal(t, err, registry.LayerNotFound, "")
		wantRefusal(t, b.DeleteBlob(ctx, scope, "bb", d), registry.LayerNotFound, "")
		_, err = b.PutImage(ctx, scope, "bb", registry.Push{Body: imageOf(d, d)})
		wantRefusal(t, err, registry.LayersMissing, "")
	}
	denied("before")
	if data, err := b.readBlob("aa", d); err != nil || !bytes.Equal(data, secret) { // warms whatever may be warm
		t.Fatal(err)
	}
	denied("after a read in the other repository")

	for _, from := range []string{"bb", "none"} { // neither has it
		if _, mounted, err := b.MountBlob(ctx, scope, "bb", from, d); err != nil || mounted {
			t.Fatalf("mount from %s: %v, %v", from, mounted, err)
		}
	}
	denied("after mounts without a source")
	if _, mounted, err := b.MountBlob(ctx, scope, "bb", "aa", d); err != nil || !mounted {
		t.Fatalf("mount: %v, %v", mounted, err)
	}
	if data, err := b.readBlob("bb", d); err != nil || !bytes.Equal(data, secret) {
		t.Fatal(err)
	}
	if err := b.DeleteBlob(ctx, scope, "bb", d); err != nil {
		t.Fatal(err)
	}
	if _, err := b.readBlob("aa", d); err != nil { // touched in a, gone in b
		t.Fatal(err)
	}
	denied("after its deletion")
}

// imageOf is an image manifest of two blobs.
func imageOf(config, layer digest.Digest) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},
		"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":2}]}`, config, layer)
}

func TestMountNeverCrossesAccountsOrRegions(t *testing.T) {
	b := newBench(t)
	b.create("aa")
	d := b.putBlob("aa", []byte("x"))
	for _, s := range []meta.Scope{{Account: "999999999999", Region: scope.Region}, {Account: scope.Account, Region: "eu-west-1"}} {
		if _, err := b.CreateRepository(context.Background(), s, registry.NewRepository{Name: "bb"}); err != nil {
			t.Fatal(err)
		}
		if _, mounted, err := b.MountBlob(context.Background(), s, "bb", "aa", d); err != nil || mounted {
			t.Errorf("%v mounted the blob of %v: %v", s, scope, err)
		}
		if names, err := b.MountSources(context.Background(), s, d, 10); err != nil || len(names) != 0 {
			t.Errorf("%v is told of %v: %v", s, names, err)
		}
	}
}

// zot#4427, distribution#2367: a copy that is not what its row says is a fault
// of the server and never an answer.
func TestInvariant04_DamagedBlobIsNeverServed(t *testing.T) {
	data := bytes.Repeat([]byte("layer"), 1000)
	for name, damage := range map[string]func(path string) error{
		"truncated": func(p string) error { return os.Truncate(p, 10) },
		"emptied":   func(p string) error { return os.Truncate(p, 0) },
		"extended":  func(p string) error { return os.Truncate(p, 6000) },
		"gone":      os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.create("app")
			ctx := context.Background()
			d := b.putBlob("app", data)
			if err := damage(b.blobPath(d)); err != nil {
				t.Fatal(err)
			}
			_, err := b.readBlob("app", d)
			var refusal *registry.Error
			if err == nil || errors.As(err, &refusal) {
				t.Fatalf("got %v, want a fault of the server", err)
			}
			// A client that asks before it pushes is told to push, and that repairs.
			found, missing, err := b.CheckLayers(ctx, scope, "app", []digest.Digest{d})
			if err != nil || len(found) != 0 || len(missing) != 1 {
				t.Errorf("the probe found %v, %v", found, err)
			}
			b.putBlob("app", data)
			if got, err := b.readBlob("app", d); err != nil || !bytes.Equal(got, data) {
				t.Errorf("pushing again did not repair: %v", err)
			}
			if found, _, err := b.CheckLayers(ctx, scope, "app", []digest.Digest{d}); err != nil || len(found) != 1 {
				t.Errorf("the probe after the repair found %v, %v", found, err)
			}
		})
	}
}

// As above, of a blob that lies in its row.
func TestInvariant04_DamagedRowIsNeverServed(t *testing.T) {
	data := []byte("small")
	for name, damage := range map[string]func(*meta.Blob){
		"changed":    func(b *meta.Blob) { b.Sealed[len(b.Sealed)-1] ^= 1 },
		"cut":        func(b *meta.Blob) { b.Sealed = b.Sealed[:len(b.Sealed)-1] },
		"a word":     func(b *meta.Blob) { b.Sealed = []byte("x") },
		"other size": func(b *meta.Blob) { b.Size++ },
	} {
		t.Run(name, func(t *testing.T) {
			b := openBench(t, t.TempDir(), upload.MaxSmall)
			b.create("app")
			ctx := context.Background()
			d := b.putBlob("app", data)
			if got, err := b.readBlob("app", d); err != nil || !bytes.Equal(got, data) {
				t.Fatal(string(got), err)
			}
			err := b.db.Update(ctx, func(tx *meta.Tx) error {
				row, err := tx.Blob(scope.Account, d.String())
				if err != nil {
					return err
				}
				bad := row
				bad.Location, bad.Sealed = "again", bytes.Clone(row.Sealed)
				damage(&bad)
				return tx.ReplaceBlob(row, bad)
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.readBlob("app", d)
			var refusal *registry.Error
			if err == nil || errors.As(err, &refusal) {
				t.Fatalf("got %v, want a fault of the server", err)
			}
			found, missing, err := b.CheckLayers(ctx, scope, "app", []digest.Digest{d})
			if err != nil || len(found) != 0 || len(missing) != 1 {
				t.Errorf("the probe found %v, %v", found, err)
			}
			b.putBlob("app", data)
			if got, err := b.readBlob("app", d); err != nil || !bytes.Equal(got, data) {
				t.Errorf("pushing again did not repair: %v", err)
			}
		})
	}
}

// quay/quay#6318, zot#77: a blob that a client was told about is leased anew.
func TestProbeRenewsTheLease(t *testing.T) {
	b := newBench(t)
	b.create("app")
	d := b.putBlob("app", []byte("x"))
	lease := func() (at time.Time) {
		err := b.db.View(context.Background(), func(tx *meta.Tx) error {
			repo, err := tx.Repository(scope, "app")
			if err != nil {
				return err
			}
			m, err := tx.Member(repo.ID, d.String())
			at = m.LeasedAt
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	b.advance(24 * time.Hour)
	if _, _, err := b.CheckLayers(context.Background(), scope, "app", []digest.Digest{d}); err != nil {
		t.Fatal(err)
	}
	if got := lease(); !got.Equal(b.clock()) {
		t.Errorf("leased at %v, want %v", got, b.clock())
	}
	b.advance(24 * time.Hour)
	b.putBlob("app", []byte("x"))
	if got := lease(); !got.Equal(b.clock()) {
		t.Errorf("after a push leased at %v, want %v", got, b.clock())
	}
}

func TestLayerTickets(t *testing.T) {
	b := newBench(t)
	b.create("app", "other")
	ctx := context.Background()
	img := b.push("app", "v1", b.image())
	d := img.Blobs[1].Descriptor.Digest
	loose := b.putBlob("app", []byte("loose"))
	_, err := b.LayerTicket(ctx, scope, "app", loose)
	wantRefusal(t, err, registry.LayerInaccessible, "")
	ticket, err := b.LayerTicket(ctx, scope, "app", d)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := meta.Scope{Account: scope.Account, Region: "eu-west-1"}
	for name, ok := range map[string]bool{
		"itself":         b.CheckTicket(ticket, scope, "app", d),
		"other name":     !b.CheckTicket(ticket, scope, "other", d),
		"other digest":   !b.CheckTicket(ticket, scope, "app", loose),
		"other registry": !b.CheckTicket(ticket, elsewhere, "app", d),
		"cut":            !b.CheckTicket(ticket[:len(ticket)-1], scope, "app", d),
		"empty":          !b.CheckTicket("", scope, "app", d),
	} {
		if !ok {
			t.Errorf("%s: wrong", name)
		}
	}
	b.advance(registry.TicketLifetime - time.Second)
	if !b.CheckTicket(ticket, scope, "app", d) {
		t.Error("the ticket ended early")
	}
	b.advance(time.Second)
	if b.CheckTicket(ticket, scope, "app", d) {
		t.Error("the ticket outlives its time")
	}
}

func TestUploadRefusals(t *testing.T) {
	b := newBench(t)
	b.create("app", "other")
	ctx := context.Background()
	where := "the repository with name 'app' in the registry with id '123456789012'"
	u, err := b.StartUpload(ctx, scope, "app", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.StartUpload(ctx, scope, "none", "")
	wantRefusal(t, err, registry.RepositoryNotFound, "")
	for _, a := range []digest.Algorithm{"md5", "sha384", "SHA256", "x"} {
		_, err = b.StartUpload(ctx, scope, "app", a)
		wantRefusal(t, err, registry.InvalidParameter, "")
	}
	_, err = b.AppendUpload(ctx, scope, "app", u.ID, 5, strings.NewReader("x"))
	wantRefusal(t, err, registry.InvalidLayerPart, "")
	var e *registry.Error
	if errors.As(err, &e) && fmt.Sprint(e.Extra) != fmt.Sprint(map[string]any{
		"registryId": scope.Account, "repositoryName": "app", "uploadId": u.ID, "lastValidByteReceived": int64(-1)}) {
		t.Errorf("further members %v", e.Extra)
	}
	_, err = b.CompleteParts(ctx, scope, "app", u.ID, []digest.Digest{digest.FromString("")})
	wantRefusal(t, err, registry.EmptyUpload, "")
	for _, id := range []string{"none", "", "../../meta.db", u.ID + "x", strings.Repeat("aa", 5000)} {
		_, err = b.AppendUpload(ctx, scope, "app", id, 0, strings.NewReader("x"))
		wantRefusal(t, err, registry.UploadNotFound, fmt.Sprintf("The upload with id '%s' could not be found in %s", id, where))
	}
	_, err = b.AppendUpload(ctx, scope, "other", u.ID, 0, strings.NewReader("x"))
	wantRefusal(t, err, registry.UploadNotFound, "")
	wantRefusal(t, b.CancelUpload(ctx, scope, "other", u.ID), registry.UploadNotFound, "")

	if _, err := b.AppendPart(ctx, scope, "app", u.ID, 0, strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	_, err = b.CompleteParts(ctx, scope, "app", u.ID, []digest.Digest{"sha256:abc", "x", digest.FromString("no")})
	wantRefusal(t, err, registry.InvalidLayer, "None of the provided layer digests match the calculated layer digest: "+digest.FromString("abc").String())
	_, err = b.UploadStatus(ctx, scope, "app", u.ID)
	wantRefusal(t, err, registry.UploadNotFound, "")
}

// Everything acknowledged is there after a power cut: the data directory is
// copied as it is while the server runs, and opened by another.
func TestInvariant01_AcknowledgedSurvivesPowerCut(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	img := b.push("app", "v1", testkit.RandomImage(t, 2, 100_000))
	u, err := b.StartUpload(ctx, scope, "app", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AppendUpload(ctx, scope, "app", u.ID, 0, strings.NewReader("hello ")); err != nil {
		t.Fatal(err)
	}
	after := openBench(t, b.crashCopy(), -1)
	after.wantImages("app", entry(img, "v1"))
	m, err := after.Manifest(ctx, scope, "app", byTag("v1"))
	if err != nil || !bytes.Equal(m.Bytes, img.Root.Bytes) {
		t.Errorf("manifest: %v", err)
	}
	for _, blob := range img.Blobs {
		if got, err := after.readBlob("app", blob.Descriptor.Digest); err != nil || !bytes.Equal(got, blob.Bytes) {
			t.Errorf("%s: %v", blob.Descriptor.Digest, err)
		}
	}
	if _, err := after.AppendUpload(ctx, scope, "app", u.ID, 6, strings.NewReader("world")); err != nil {
		t.Fatal(err)
	}
	if _, err := after.CompleteUpload(ctx, scope, "app", u.ID, digest.FromString("hello world")); err != nil {
		t.Error(err)
	}
}

func TestCheckSeesStoresThatWentAway(t *testing.T) {
	b := newBench(t)
	if err := b.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(b.dir + "/blobs"); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(context.Background()); err == nil {
		t.Error("the blob store is gone and nobody noticed")
	}
}
