package registry_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/kms"
	"berth/internal/kms/local"
	"berth/internal/registry"
	"berth/internal/testkit"
)

// wantKMS fails unless err is ECR's KmsException with the code of KMS.
func wantKMS(t testing.TB, what string, err error, code string) {
	t.Helper()
	var e *registry.Error
	if !errors.As(err, &e) || e.Code != registry.KMSFailure || e.Extra["kmsError"] != code {
		t.Errorf("%s: %v, want KmsException with %s", what, err, code)
	}
}

// A KMS key that is disabled stops pushes and pulls at once, and brings them
// back when it is enabled; one that waits for its deletion does as well.
func TestDisabledKeyStopsPushAndPull(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	key, err := b.keys.Create(ctx, scope, local.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CreateRepository(ctx, scope, registry.NewRepository{Name: "app", Encryption: "KMS", KMSKey: key.ARN}); err != nil {
		t.Fatal(err)
	}
	b.create("open")
	img := b.push("app", "v1", testkit.RandomImage(t, 2, 100_000))
	layer := img.Blobs[1].Descriptor.Digest
	u, err := b.StartUpload(ctx, scope, "app", "")
	if err != nil {
		t.Fatal(err)
	}
	stopped := func(code string) {
		t.Helper()
		_, err := b.Manifest(ctx, scope, "app", byTag("v1"))
		wantKMS(t, "manifest GET", err, code)
		_, err = b.Image(ctx, scope, "app", byTag("v1"))
		wantKMS(t, "manifest HEAD", err, code)
		_, err = b.readBlob("app", layer)
		wantKMS(t, "blob GET", err, code)
		_, err = b.PutBlob(ctx, scope, "app", digest.FromString("x"), strings.NewReader("x"))
		wantKMS(t, "blob POST", err, code)
		_, err = b.StartUpload(ctx, scope, "app", "")
		wantKMS(t, "InitiateLayerUpload", err, code)
		_, err = b.AppendUpload(ctx, scope, "app", u.ID, 0, strings.NewReader("x"))
		wantKMS(t, "UploadLayerPart", err, code)
		_, err = b.CompleteUpload(ctx, scope, "app", u.ID, digest.FromString(""))
		wantKMS(t, "CompleteLayerUpload", err, code)
		_, err = b.PutImage(ctx, scope, "app", registry.Push{Body: img.Root.Bytes, Tags: []string{"v2"}})
		wantKMS(t, "PutImage", err, code)
		found, failed, err := b.Manifests(ctx, scope, "app", []registry.ImageRef{byTag("v1")})
		if err != nil || len(found) != 0 || len(failed) != 1 || failed[0].Code != "KmsError" {
			t.Errorf("BatchGetImage: %v %v %v", found, failed, err)
		}
		_, err = b.CreateRepository(ctx, scope, registry.NewRepository{Name: "more", Encryption: "KMS", KMSKey: key.ARN})
		wantKMS(t, "CreateRepository", err, code)
		b.putBlob("open", []byte("of another key"))
	}
	works := func() {
		t.Helper()
		m, err := b.Manifest(ctx, scope, "app", byTag("v1"))
		if err != nil || !bytes.Equal(m.Bytes, img.Root.Bytes) {
			t.Errorf("manifest: %v", err)
		}
		if got, err := b.readBlob("app", layer); err != nil || !bytes.Equal(got, img.Blobs[1].Bytes) {
			t.Errorf("blob: %v", err)
		}
		b.putBlob("app", []byte("one more"))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	works()
	must(b.keys.Disable(ctx, key.ARN))
	stopped(kms.Disabled)
	must(b.keys.Enable(ctx, key.ARN))
	works()
	_, err = b.keys.ScheduleDeletion(ctx, key.ARN, 7)
	must(err)
	stopped(kms.InvalidState)
	_, err = b.keys.CancelDeletion(ctx, key.ARN)
	must(err)
	must(b.keys.Enable(ctx, key.ARN))
	works()
}

func TestKeysOfRepositories(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	key, err := b.keys.Create(ctx, scope, local.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.keys.CreateAlias(ctx, scope, "alias/mine", key.ARN); err != nil {
		t.Fatal(err)
	}
	id := key.ARN[strings.LastIndex(key.ARN, "/")+1:]
	names := 0
	create := func(kind, key string) (registry.Repository, error) {
		names++
		return b.CreateRepository(ctx, scope, registry.NewRepository{Name: "r" + strings.Repeat("x", names), Encryption: kind, KMSKey: key})
	}
	for _, name := range []string{key.ARN, id, "alias/mine", "arn:aws:kms:us-east-1:123456789012:alias/mine"} {
		for _, kind := range []string{"KMS", "KMS_DSSE"} {
			if repo, err := create(kind, name); err != nil || repo.KMSKey != key.ARN {
				t.Errorf("%s with %s: %s, %v", kind, name, repo.KMSKey, err)
			}
		}
	}
	first, err1 := create("KMS", "")
	second, err2 := create("KMS", "alias/aws/ecr")
	if err := errors.Join(err1, err2); err != nil || first.KMSKey != second.KMSKey || !strings.HasPrefix(first.KMSKey, "arn:aws:kms:us-east-1:123456789012:key/") {
		t.Errorf("the default key: %s and %s, %v", first.KMSKey, second.KMSKey, err)
	}
	for _, name := range []string{"alias/none", "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"} {
		_, err := create("KMS", name)
		wantKMS(t, name, err, kms.NotFound)
	}
}

// Repositories with different keys share no bytes: neither by pushing the same
// nor by a mount.
func TestKeysShareNoBytes(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	b.create("open", "open2")
	for name, kind := range map[string]string{"kms": "KMS", "dsse": "KMS_DSSE"} {
		if _, err := b.CreateRepository(ctx, scope, registry.NewRepository{Name: name, Encryption: kind}); err != nil {
			t.Fatal(err)
		}
	}
	var d digest.Digest
	for _, name := range []string{"open", "open2", "kms", "dsse"} {
		d = b.putBlob(name, []byte("the same"))
	}
	var domains []string
	if err := b.blobs.List(ctx, func(o blob.Object) error { domains = append(domains, o.Domain); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(domains) != 4 { // two copies of open's account, of which one waits to be deleted
		t.Errorf("copies in %v", domains)
	}
	for _, from := range []string{"kms", "dsse"} {
		b.create("to-" + from)
		if _, mounted, err := b.MountBlob(ctx, scope, "to-"+from, from, d); err != nil || mounted {
			t.Errorf("mounted from %s: %t, %v", from, mounted, err)
		}
	}
}

// Bit rot of any kind: zot#4427, distribution#4872, go-containerregistry#2124.
func TestInvariant04_ChangedBytesAreNeverServed(t *testing.T) {
	data := bytes.Repeat([]byte("precious "), 20_000)
	for name, damage := range map[string]func([]byte) []byte{
		"first byte":   func(b []byte) []byte { b[0] ^= 1; return b },
		"some byte":    func(b []byte) []byte { b[100_000] ^= 0x80; return b },
		"last byte":    func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"zeroed":       func(b []byte) []byte { return make([]byte, len(b)) },
		"cut":          func(b []byte) []byte { return b[:len(b)-1] },
		"empty":        func([]byte) []byte { return nil },
		"longer":       func(b []byte) []byte { return append(b, 0) },
		"package lost": func(b []byte) []byte { return b[65_568:] },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.create("app")
			d := b.putBlob("app", data)
			path := b.blobPath(d)
			sealed, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(sealed), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := b.readBlob("app", d)
			if err == nil || !bytes.HasPrefix(data, got) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if _, err := b.ProbeBlob(context.Background(), scope, "app", d); !registry.Is(err, registry.LayerNotFound) {
				t.Errorf("a damaged blob is reported as there: %v", err)
			}
			b.putBlob("app", data) // which repairs it
			if got, err := b.readBlob("app", d); err != nil || !bytes.Equal(got, data) {
				t.Errorf("after it was pushed again: %d bytes, %v", len(got), err)
			}
		})
	}
}

// Nothing of what is pushed is readable in the data directory: not in blobs,
// not in the database or its log, not in what an upload left half way.
func TestNothingReadableAtRest(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	b.create("app")
	if _, err := b.CreateRepository(ctx, scope, registry.NewRepository{Name: "kms", Encryption: "KMS"}); err != nil {
		t.Fatal(err)
	}
	const marker = "MARKER-that-must-not-be-found"
	text := []byte(strings.Repeat(marker, 10_000))
	for _, repo := range []string{"app", "kms"} {
		config := b.putBlob(repo, []byte(`{"config":"`+marker+`"}`))
		layer := b.putBlob(repo, text)
		body := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{"a":"` + marker + `"},
			"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + config.String() + `","size":1},
			"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + layer.String() + `","size":1}]}`
		if _, err := b.PutImage(ctx, scope, repo, registry.Push{Body: []byte(body), Tags: []string{"v1"}}); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{20, 50, 100_000, 200_000} { // sessions that stay open, in the row and in a file
			u, err := b.StartUpload(ctx, scope, repo, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.AppendUpload(ctx, scope, repo, u.ID, 0, bytes.NewReader(text[:n])); err != nil {
				t.Fatal(err)
			}
		}
	}
	files := 0
	err := filepath.WalkDir(b.dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(p)
		if bytes.Contains(data, []byte("MARKER-that")) {
			t.Errorf("%s holds what was pushed as it came", p)
		}
		return err
	})
	if err != nil || files < 8 {
		t.Errorf("%d files searched, %v", files, err)
	}
}
