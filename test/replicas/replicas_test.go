package replicas

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
)

// three starts three replicas. The first login's password is for all of them.
func three(t *testing.T, c *cluster) []*replica {
	t.Helper()
	all := []*replica{c.start("a"), c.start("b"), c.start("c", "--no-redirect")}
	password := all[0].login()
	for _, r := range all {
		r.password = password
	}
	if _, err := all[1].ecr().CreateRepository(context.Background(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")}); err != nil {
		t.Fatal(err)
	}
	return all
}

// outage is how long a store is away: BERTH_OUTAGE=30s makes it longer.
func outage(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("BERTH_OUTAGE")
	if text == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// distribution#2225, #1948: an upload that is started on one server, continued
// on another and finished on a third is whole, and so is one whose server was
// killed in the middle of it.
func TestReplicasShareEverything(t *testing.T) {
	c := newCluster(t)
	all := three(t, c)
	a, b, d := all[0], all[1], all[2]
	for i, size := range []int{10, 70_000, 3 << 20, 12<<20 + 5} {
		tag, layer := fmt.Sprintf("v%d", i), content(i, size)
		pull(t, all, "app", tag, push(t, all, "app", tag, layer), layer)
	}

	// Redirected where that was not switched off.
	at := "/v2/app/blobs/" + digest.FromBytes(content(1, 70_000)).String()
	once := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for r, want := range map[*replica]int{a: 307, d: 200} {
		req, err := http.NewRequest("GET", r.endpoint+at, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("AWS", r.password)
		resp, err := once.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want || (want == 307) != strings.HasPrefix(resp.Header.Get("Location"), c.s3.Endpoint) {
			t.Errorf("GET of a blob on %s: %d to %.60s, want %d", r.name, resp.StatusCode, resp.Header.Get("Location"), want)
		}
	}

	// The server dies while it receives a chunk. Another goes on from what was acknowledged.
	layer := content(100, 20<<20)
	location := a.want(202, "POST", "/v2/app/blobs/uploads/", nil).header.Get("Location")
	b.want(202, "PATCH", location, layer[:8<<20])
	body, feed := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		_, err := b.do("PATCH", location, body)
		sent <- err
	}()
	if _, err := feed.Write(layer[8<<20 : 16<<20]); err != nil {
		t.Fatal(err)
	}
	b.kill()
	_ = feed.Close() // nobody reads any more
	if err := <-sent; err == nil {
		t.Error("a request to a killed server was answered")
	}
	rest := []*replica{a, d}
	if got := d.want(204, "GET", location, nil).header.Get("Range"); got != fmt.Sprintf("0-%d", 8<<20-1) {
		t.Errorf("after the kill the upload stands at %s", got)
	}
	d.want(202, "PATCH", location, layer[8<<20:])
	a.want(201, "PUT", location+"?digest="+digest.FromBytes(layer).String(), nil)
	for _, r := range rest {
		if got := r.want(200, "GET", "/v2/app/blobs/"+digest.FromBytes(layer).String(), nil).body; !bytes.Equal(got, layer) {
			t.Errorf("the layer from replica %s differs", r.name)
		}
	}
	b2 := c.start("b2") // the same database: a new machine takes the dead one's place
	b2.password = a.password
	again := content(200, 70_000)
	pull(t, []*replica{a, d, b2}, "app", "again", push(t, []*replica{a, b2}, "app", "again", again), again)
}

// Each database works with each blob store: what is pushed in rounds is there,
// over a restart, and what is deleted gives its bytes back.
func TestEveryDatabaseWithEveryBlobStore(t *testing.T) {
	c := newCluster(t)
	for _, database := range []string{"sqlite", "postgres"} {
		for _, blobs := range []string{"file", "s3"} {
			name := database + "-" + blobs
			at := map[string]string{
				"sqlite": "sqlite", "postgres": c.postgres.Database(t),
				"file": "file", "s3": strings.Replace(c.blobs, "/berth?", "/"+name+"?", 1),
			}
			t.Run(name, func(t *testing.T) {
				oneServer(t, c, name, "--database", at[database], "--blobs", at[blobs], "--master-key", filepath.Join(c.dir, name+".key"))
			})
		}
	}
}

func oneServer(t *testing.T, c *cluster, name string, flags ...string) {
	r := c.start(name, flags...)
	r.password = r.login()
	ctx := context.Background()
	const repository = "app"
	if _, err := r.ecr().CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String(repository)}); err != nil {
		t.Fatal(err)
	}
	type image struct{ manifest, layer []byte }
	images := map[string]image{}
	for i, size := range []int{1, 65_536, 5<<20 + 1, 11 << 20} {
		tag, layer := fmt.Sprintf("v%d", i), content(1000+i, size)
		images[tag] = image{push(t, []*replica{r}, repository, tag, layer), layer}
	}
	open := r.want(202, "POST", "/v2/"+repository+"/blobs/uploads/", nil).header.Get("Location")
	late := content(2000, 6<<20)
	r.want(202, "PATCH", open, late[:100_000])
	r.kill()

	again := c.start(name, flags...)
	again.password = again.login()
	again.want(202, "PATCH", open, late[100_000:])
	again.want(201, "PUT", open+"?digest="+digest.FromBytes(late).String(), nil)
	for tag, img := range images {
		pull(t, []*replica{again}, repository, tag, img.manifest, img.layer)
	}
	gone := "/v2/" + repository + "/blobs/" + digest.FromBytes(images["v3"].layer).String()
	again.want(202, "DELETE", "/v2/"+repository+"/manifests/"+digest.FromBytes(images["v3"].manifest).String(), nil)
	eventually(t, 30*time.Second, "the layer of a deleted image is collected", func() bool {
		got, err := again.do("GET", gone, nil)
		return err == nil && got.status == 404
	})
	pull(t, []*replica{again}, repository, "v2", images["v2"].manifest, images["v2"].layer)
}

// Whoever collects, it is one at a time, and what goes is only what nobody needs.
func TestGarbageGoesOnce(t *testing.T) {
	c := newCluster(t)
	all := three(t, c)
	keep, drop := content(1, 100_000), content(2, 6<<20)
	kept := push(t, all, "app", "keep", keep)
	push(t, all, "app", "drop", drop)
	objects := func() (n int) {
		err := filepath.WalkDir(c.s3.Dir(), func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.Contains(p, "/berth/blobs/") {
				n++
			}
			return nil // files come and go while it walks
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, n := range []int{10, 100_000, 6 << 20} { // uploads that are given up leave nothing either
		location := all[0].want(202, "POST", "/v2/app/blobs/uploads/", nil).header.Get("Location")
		all[1].want(202, "PATCH", location, content(3, n))
		all[2].want(204, "DELETE", location, nil)
	}
	eventually(t, 30*time.Second, "two layers and one config are there, and nothing else", func() bool { return objects() == 3 })
	out, err := all[0].ecr().BatchDeleteImage(context.Background(), &ecr.BatchDeleteImageInput{
		RepositoryName: aws.String("app"), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("drop")}},
	})
	if err != nil || len(out.Failures) > 0 {
		t.Fatal(err, out)
	}
	eventually(t, 30*time.Second, "the bytes of a deleted image go", func() bool { return objects() == 2 })
	time.Sleep(3 * time.Second) // some more rounds of everybody
	pull(t, all, "app", "keep", kept, keep)
	for _, r := range all {
		if log := r.log.String(); strings.Contains(log, "level=ERROR") {
			t.Errorf("replica %s:\n%s", r.name, log)
		}
	}
}

// A store that is away is a clear 503 with Retry-After, and when it is back all
// is well and everything acknowledged is there.
func TestStoresGoAndComeBack(t *testing.T) {
	c := newCluster(t)
	all := three(t, c)
	layer := content(1, 200_000)
	manifest := push(t, all, "app", "v1", layer)
	location := all[0].want(202, "POST", "/v2/app/blobs/uploads/", nil).header.Get("Location")
	more := content(2, 9<<20)
	all[0].want(202, "PATCH", location, more[:6<<20])

	unavailable := func(what, method, path string, body []byte) {
		t.Helper()
		for _, r := range all {
			got, err := r.do(method, path, bytes.NewReader(body))
			if err != nil {
				t.Errorf("%s: %v", what, err)
			} else if got.status != 503 || got.header.Get("Retry-After") == "" {
				t.Errorf("%s on %s: %d with Retry-After %q", what, r.name, got.status, got.header.Get("Retry-After"))
			}
		}
	}
	back := func(what string) {
		t.Helper()
		for _, r := range all {
			eventually(t, 30*time.Second, what+": "+r.name+" is ready again", func() bool {
				got, err := r.do("GET", "/readyz", nil)
				return err == nil && got.status == 200
			})
		}
		pull(t, all, "app", "v1", manifest, layer)
	}

	c.s3.Stop(t)
	gone := time.Now()
	unavailable("a push without S3", "POST", "/v2/app/blobs/uploads/?digest="+digest.FromBytes(more).String(), more)
	unavailable("a chunk without S3", "PATCH", location, more[6<<20:])
	if got, err := all[2].do("GET", "/v2/app/blobs/"+digest.FromBytes(layer).String(), nil); err != nil || got.status != 503 {
		t.Errorf("a pull without S3: %d %v", got.status, err)
	}
	time.Sleep(outage(t) - time.Since(gone))
	c.s3.Start(t)
	back("after S3 was away")
	all[1].want(202, "PATCH", location, more[6<<20:])
	// How far an upload got is not flushed; what commits after it takes it along.
	push(t, all, "app", "v2", layer)

	c.postgres.Stop(t, "immediate")
	gone = time.Now()
	unavailable("a pull without PostgreSQL", "GET", "/v2/app/manifests/v1", nil)
	unavailable("a push without PostgreSQL", "PUT", location+"?digest="+digest.FromBytes(more).String(), nil)
	time.Sleep(outage(t) - time.Since(gone))
	c.postgres.Start(t)
	back("after PostgreSQL was away")
	all[2].want(201, "PUT", location+"?digest="+digest.FromBytes(more).String(), nil)
	if got := all[0].want(200, "GET", "/v2/app/blobs/"+digest.FromBytes(more).String(), nil).body; !bytes.Equal(got, more) {
		t.Error("what was uploaded around both outages differs")
	}
}

// A replica with another master key would seal what no other could open.
func TestReplicaNeedsTheMasterKey(t *testing.T) {
	c := newCluster(t)
	c.start("a")
	cmd := c.command("wrong", filepath.Join(c.dir, "another.key"))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the database needs the master key that it was made with") {
		t.Errorf("%v: %s", err, out)
	}
}
