package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

// policyText is a lifecycle policy of rules that are given as selections.
func policyText(selections ...string) string {
	var rules []string
	for i, s := range selections {
		rules = append(rules, fmt.Sprintf(`{"rulePriority":%d,"selection":{%s},"action":{"type":"expire"}}`, i+1, s))
	}
	return fmt.Sprintf(`{"rules":[%s]}%s`, strings.Join(rules, ","), strings.Repeat(" ", 100))
}

const (
	untaggedAfter1 = `"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":1`
	keep2          = `"tagStatus":"any","countType":"imageCountMoreThan","countNumber":2`
)

func (b *bench) policy(repo, text string) {
	b.t.Helper()
	if _, err := b.PutLifecyclePolicy(context.Background(), scope, repo, text); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) run(repo string) meta.LifecycleRun {
	b.t.Helper()
	run, err := b.RunLifecycle(context.Background(), scope, repo)
	if err != nil {
		b.t.Fatal(err)
	}
	return run
}

// The seed's policies: untagged images go after some days, and of all others so
// many stay.
func TestLifecyclePolicyExpiresImages(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	var all []testkit.Content
	for i := range 4 {
		all = append(all, b.push("app", fmt.Sprint("v", i), b.image()))
		b.advance(time.Minute)
	}
	b.push("app", "v0", b.image()) // all[0] is untagged now
	b.policy("app", policyText(untaggedAfter1))
	if run := b.run("app"); run.Expired != 0 {
		t.Fatalf("too early: %+v", run)
	}
	b.advance(25 * time.Hour)
	if run := b.run("app"); run.Expired != 1 || run.Failed != 0 || !strings.Contains(run.Report, all[0].Digest().String()) {
		t.Fatalf("%+v", run)
	}
	if _, err := b.Manifest(ctx, scope, "app", registry.ImageRef{Digest: all[0].Digest().String()}); !registry.Is(err, registry.ImageNotFound) {
		t.Errorf("the expired image: %v", err)
	}
	b.policy("app", policyText(keep2))
	if run := b.run("app"); run.Expired != 2 {
		t.Errorf("%+v", run)
	}
	if list := b.images("app"); len(list) != 2 {
		t.Errorf("%v are left", list)
	}
	runs, err := b.LifecycleRuns(ctx, scope, "app")
	if err != nil || len(runs) != 2 || runs[0].Expired != 2 || runs[1].Expired != 1 {
		t.Errorf("%+v, %v", runs, err)
	}
	p, err := b.LifecyclePolicy(ctx, scope, "app")
	if err != nil || !p.EvaluatedAt.Equal(b.clock()) {
		t.Errorf("evaluated at %v, now is %v (%v)", p.EvaluatedAt, b.clock(), err)
	}
}

// What an index lists stays with it, and goes with it; signatures follow.
func TestLifecyclePolicyKnowsIndexesAndReferrers(t *testing.T) {
	b := newBench(t)
	b.create("app")
	index := b.push("app", "v1", testkit.RandomIndex(t, 64, "amd64", "arm64"))
	subject := index
	signature := testkit.Artifact(t, "application/x-signature", []byte("s"), &subject)
	b.putBlobs("app", signature)
	if _, err := b.putManifest("app", signature.Root, ""); err != nil {
		t.Fatal(err)
	}
	b.policy("app", policyText(untaggedAfter1))
	b.advance(48 * time.Hour)
	run := b.run("app")
	if run.Expired != 0 || run.Failed != 2 || strings.Count(run.Report, "ImageReferencedByManifestList") != 2 {
		t.Errorf("%+v", run)
	}
	if n := len(b.images("app")); n < 3 {
		t.Errorf("%d images are left", n)
	}
	b.push("app", "v1", b.image()) // the index has no tag any more
	if run := b.run("app"); run.Expired != 4 || run.Failed != 0 {
		t.Errorf("%+v", run)
	}
	if list := b.images("app"); len(list) != 1 {
		t.Errorf("%v are left", list)
	}
}

// One that changed between judgment and deed waits for the next run.
func TestLifecycleRunLooksAgain(t *testing.T) {
	for name, change := range map[string]func(b *bench, old testkit.Content) (left int){
		"tagged": func(b *bench, old testkit.Content) int {
			if _, err := b.putManifest("app", old.Root, "saved"); err != nil {
				b.t.Fatal(err)
			}
			return 2
		},
		"pulled": func(b *bench, old testkit.Content) int {
			err := b.db.Update(context.Background(), func(tx *meta.Tx) error {
				repo, err := tx.Repository(scope, "app")
				if err != nil {
					return err
				}
				i, err := tx.ImageByDigest(repo.ID, old.Digest().String())
				if err != nil {
					return err
				}
				return tx.RecordPull(i.ID, b.clock())
			})
			if err != nil {
				b.t.Fatal(err)
			}
			return 2
		},
		"another policy": func(b *bench, _ testkit.Content) int {
			b.policy("app", policyText(keep2))
			return 2
		},
		"deleted": func(b *bench, old testkit.Content) int {
			if err := b.DeleteManifest(context.Background(), scope, "app", registry.ImageRef{Digest: old.Digest().String()}); err != nil {
				b.t.Fatal(err)
			}
			return 1
		},
		"nothing": func(*bench, testkit.Content) int { return 1 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.create("app")
			old := b.push("app", "v1", b.image())
			b.push("app", "v1", b.image())
			b.policy("app", policyText(untaggedAfter1))
			b.advance(48 * time.Hour)
			want := 0
			meanwhile := b.over(b.db.Wrap(func(inner meta.Backend) meta.Backend {
				return &interrupted{Backend: inner, first: func() { want = change(b, old) }}
			}))
			if _, err := meanwhile.RunLifecycle(context.Background(), scope, "app"); err != nil {
				t.Fatal(err)
			}
			if n := len(b.images("app")); n != want {
				t.Errorf("%d images are left, want %d", n, want)
			}
		})
	}
	b := newBench(t)
	b.create("app")
	if _, err := b.RunLifecycle(context.Background(), scope, "app"); !registry.Is(err, registry.LifecyclePolicyNotFound) {
		t.Errorf("without a policy: %v", err)
	}
}

// interrupted lets something happen before the first update, and each of them fail.
type interrupted struct {
	meta.Backend
	first func()
	each  func() error
}

func (i *interrupted) Update(ctx context.Context, fn func(meta.Querier) error) error {
	if first := i.first; first != nil {
		i.first = nil
		first()
	}
	if i.each != nil {
		if err := i.each(); err != nil {
			return err
		}
	}
	return i.Backend.Update(ctx, fn)
}

// What a run expires is what a preview of the same instant listed.
func TestInvariant09_PreviewIsWhatARunDoes(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	rapid.Check(t, func(rt *rapid.T) {
		if _, err := b.DeleteRepository(ctx, scope, "app", true); err != nil && !registry.Is(err, registry.RepositoryNotFound) {
			rt.Fatal(err)
		}
		b.create("app")
		for range rapid.IntRange(0, 6).Draw(rt, "pushes") {
			b.push("app", rapid.SampledFrom([]string{"a-1", "a-2", "b-1"}).Draw(rt, "tag"), b.image())
			b.advance(time.Duration(rapid.IntRange(1, 30).Draw(rt, "hours")) * time.Hour)
		}
		text := policyText(rapid.SampledFrom([]string{untaggedAfter1, keep2,
			`"tagStatus":"tagged","tagPatternList":["a*"],"countType":"imageCountMoreThan","countNumber":1`,
			`"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days","countNumber":2`}).Draw(rt, "policy"))
		b.policy("app", text)
		before := b.images("app")
		if _, err := b.StartPreview(ctx, scope, "app", ""); err != nil {
			rt.Fatal(err)
		}
		var listed []string
		q := registry.PreviewQuestion{Limit: rapid.IntRange(1, 3).Draw(rt, "page")}
		for {
			p, acts, next, err := b.Preview(ctx, scope, "app", q)
			if err != nil {
				rt.Fatal(err)
			}
			for _, a := range acts {
				listed = append(listed, a.Digest)
			}
			if next == "" {
				if p.Expiring != len(listed) {
					rt.Fatalf("the summary says %d, %d were listed", p.Expiring, len(listed))
				}
				break
			}
			q.Cursor = next
		}
		if after := b.images("app"); !slices.Equal(before, after) {
			rt.Fatalf("the preview changed %v to %v", before, after)
		}
		run, err := b.RunLifecycle(ctx, scope, "app")
		if err != nil {
			rt.Fatal(err)
		}
		var events []registry.LifecycleEvent
		if err := json.Unmarshal([]byte(run.Report), &events); err != nil {
			rt.Fatal(err)
		}
		var gone []string
		for _, e := range events {
			gone = append(gone, e.Digest)
		}
		slices.Sort(gone)
		slices.Sort(listed)
		if !slices.Equal(gone, listed) {
			rt.Fatalf("the run expired %v, the preview listed %v", gone, listed)
		}
	})
}

// A run that is cut off leaves the record of what it did, written together with
// the acts, and the next one does the rest under a record of its own.
func TestLifecycleRunThatIsCutOffLeavesARecord(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	b.create("app")
	for i := range 150 {
		b.push("app", "v1", testkit.Artifact(t, "application/x-test", fmt.Appendf(nil, "%0100d", i), nil))
	}
	b.policy("app", policyText(untaggedAfter1))
	b.advance(48 * time.Hour)
	updates := 0
	failing := b.over(b.db.Wrap(func(inner meta.Backend) meta.Backend {
		return &interrupted{Backend: inner, each: func() error {
			if updates++; updates == 2 {
				return errors.New("the disk is gone")
			}
			return nil
		}}
	}))
	if _, err := failing.RunLifecycle(ctx, scope, "app"); err == nil {
		t.Fatal("the run went through")
	}
	runs, err := b.LifecycleRuns(ctx, scope, "app")
	if err != nil || len(runs) != 1 || runs[0].Expired != 100 || !runs[0].FinishedAt.IsZero() || strings.Count(runs[0].Report, "EXPIRE") != 100 {
		t.Fatalf("%+v, %v", runs, err)
	}
	if n := len(b.images("app")); n != 50 {
		t.Errorf("%d images are left", n)
	}
	run := b.run("app")
	if run.Expired != 49 || run.FinishedAt.IsZero() {
		t.Errorf("%+v", run)
	}
	if run.Bytes != 49*102 || run.Freed != 49*100 {
		t.Errorf("%d of %d bytes are freed; v1 needs the configuration of 2 bytes too", run.Freed, run.Bytes)
	}
	if runs, err = b.LifecycleRuns(ctx, scope, "app"); err != nil || len(runs) != 2 || runs[0].Expired != 49 {
		t.Errorf("%+v, %v", runs, err)
	}
}

// A preview filters and pages; without one there is nothing.
func TestPreviewAnswers(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	_, _, _, err := b.Preview(ctx, scope, "app", registry.PreviewQuestion{Limit: 10})
	wantRefusal(t, err, registry.LifecyclePreviewNotFound, "Lifecycle policy preview does not exist for the repository with name 'app' in the registry with id '123456789012'")
	if _, err := b.StartPreview(ctx, scope, "app", ""); !registry.Is(err, registry.LifecyclePolicyNotFound) {
		t.Errorf("a preview of no policy: %v", err)
	}
	if _, err := b.StartPreview(ctx, scope, "app", "{}"); !registry.Is(err, registry.InvalidParameter) {
		t.Errorf("a preview of nonsense: %v", err)
	}
	first := b.push("app", "v1", b.image())
	b.advance(time.Minute)
	b.push("app", "v2", b.image())
	b.push("app", "v2", b.image())
	b.advance(48 * time.Hour)
	b.push("app", "v3", b.image())
	text := policyText(`"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days","countNumber":1`)
	if _, err := b.StartPreview(ctx, scope, "app", text); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		q    registry.PreviewQuestion
		want int
	}{
		{registry.PreviewQuestion{Limit: 10}, 3},
		{registry.PreviewQuestion{Limit: 10, TagStatus: "UNTAGGED"}, 1},
		{registry.PreviewQuestion{Limit: 10, TagStatus: "TAGGED"}, 2},
		{registry.PreviewQuestion{Limit: 10, Images: []registry.ImageRef{{Tag: "v3"}}}, 0},
		{registry.PreviewQuestion{Limit: 10, Images: []registry.ImageRef{{Tag: "v1"}, {Digest: first.Digest().String()}}}, 1},
	} {
		p, acts, _, err := b.Preview(ctx, scope, "app", tc.q)
		if err != nil || len(acts) != tc.want || p.Expiring != 3 || p.Policy != text || p.Status != meta.PreviewComplete {
			t.Errorf("%+v: %d results of %d, %s, %v", tc.q, len(acts), p.Expiring, p.Status, err)
		}
	}
	b.advance(25 * time.Hour)
	if p, acts, _, err := b.Preview(ctx, scope, "app", registry.PreviewQuestion{Limit: 10}); err != nil || p.Status != meta.PreviewExpired || len(acts) != 0 {
		t.Errorf("an old preview: %+v, %v", p, err)
	}
}

// insert adds images without tags to a repository, as rows.
func (b *bench) insert(repo string, n int) {
	b.t.Helper()
	err := b.db.Update(context.Background(), func(tx *meta.Tx) error {
		r, err := tx.Repository(scope, repo)
		for i := 0; i < n && err == nil; i++ {
			err = tx.InsertImage(&meta.StoredManifest{Bytes: []byte("{}"), Image: meta.Image{RepositoryID: r.ID, Digest: fmt.Sprintf("sha256:%064x", i), PushedAt: b.clock()}})
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// A preview that is too large for one transaction is complete in the end, or has
// failed.
func TestLargePreviewComesInPieces(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	b.create("app")
	b.insert("app", 1200)
	b.policy("app", policyText(untaggedAfter1))
	b.advance(48 * time.Hour)
	updates := 0
	failing := b.over(b.db.Wrap(func(inner meta.Backend) meta.Backend {
		return &interrupted{Backend: inner, each: func() error {
			switch updates++; updates {
			case 2:
				_, err := b.StartPreview(ctx, scope, "app", "")
				wantRefusal(t, err, registry.LifecyclePreviewInProgress, "The previous lifecycle policy preview of the repository with name 'app' in the registry with id '123456789012' has not completed. Wait and try again.")
				if p, acts, _, err := b.Preview(ctx, scope, "app", registry.PreviewQuestion{Limit: 10}); err != nil || p.Status != meta.PreviewInProgress || len(acts) != 0 {
					t.Errorf("meanwhile: %+v, %v", p, err)
				}
			case 3:
				return errors.New("the disk is gone")
			}
			return nil
		}}
	}))
	if _, err := failing.StartPreview(ctx, scope, "app", ""); err == nil {
		t.Fatal("the preview was written")
	}
	if p, acts, _, err := b.Preview(ctx, scope, "app", registry.PreviewQuestion{Limit: 10}); err != nil || p.Status != meta.PreviewFailed || len(acts) != 0 {
		t.Errorf("a preview that failed: %+v, %v", p, err)
	}
	if _, err := b.StartPreview(ctx, scope, "app", ""); err != nil {
		t.Fatal(err)
	}
	p, acts, next, err := b.Preview(ctx, scope, "app", registry.PreviewQuestion{Limit: 2000})
	if err != nil || p.Status != meta.PreviewComplete || p.Expiring != 1200 || len(acts) != 1200 || next != "" {
		t.Errorf("%+v, %d images, %v", p, len(acts), err)
	}
}

// BenchmarkSweepLifecycles sweeps repositories with ten images each, of which none is due.
func BenchmarkSweepLifecycles(b *testing.B) {
	const repositories = 10_000
	r := newBench(b)
	ctx := context.Background()
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		for i := range repositories {
			repo := &meta.Repository{Scope: scope, Name: fmt.Sprintf("app/%05d", i), CreatedAt: r.clock(), Mutability: "MUTABLE", Encryption: "AES256",
				Lifecycle: policyText(untaggedAfter1, `"tagStatus":"any","countType":"imageCountMoreThan","countNumber":10`)}
			if err := tx.InsertRepository(repo); err != nil {
				return err
			}
			if err := tx.SaveRepository(*repo); err != nil {
				return err
			}
			for n := range 10 {
				m := meta.StoredManifest{Bytes: make([]byte, 1500), Image: meta.Image{RepositoryID: repo.ID, Digest: fmt.Sprintf("sha256:%064x", n), PushedAt: r.clock()}}
				if err := tx.InsertImage(&m); err != nil {
					return err
				}
				if err := tx.PutTag(repo.ID, fmt.Sprint("v", n), m.ID, r.clock()); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	r.advance(48 * time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		r.advance(2 * time.Hour)
		if err := r.SweepLifecycles(ctx, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/repositories, "µs/repository")
}

// A sweep runs what is due, once, and one server does it.
func TestSweepLifecycles(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	for _, name := range []string{"aa", "bb", "cc"} {
		b.create(name)
		b.push(name, "v1", b.image())
		b.push(name, "v1", b.image())
		if name != "cc" {
			b.policy(name, policyText(untaggedAfter1))
		}
	}
	b.advance(48 * time.Hour)
	other := func(on bool) {
		err := b.db.Update(ctx, func(tx *meta.Tx) error {
			if !on {
				return tx.Release("lifecycle", "another")
			}
			_, err := tx.Claim("lifecycle", "another", b.clock(), b.clock().Add(time.Hour))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sweep := func(want int) {
		t.Helper()
		if err := b.SweepLifecycles(ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		if n := len(b.images("aa")) + len(b.images("bb")); n != want {
			t.Errorf("%d images are left, want %d", n, want)
		}
	}
	other(true)
	sweep(4)
	other(false)
	sweep(2)
	if n := len(b.images("cc")); n != 2 {
		t.Errorf("%d images are left without a policy", n)
	}
	b.push("aa", "v1", b.image())
	b.advance(30 * time.Minute)
	sweep(3) // not due
	b.advance(48 * time.Hour)
	sweep(2)
}

// A rule that counts keeps its number also when one that it kept goes while it
// runs.
func TestLifecycleRunKeepsItsNumber(t *testing.T) {
	for name, change := range map[string]func(b *bench, kept testkit.Content) error{
		"deleted": func(b *bench, kept testkit.Content) error {
			return b.DeleteManifest(context.Background(), scope, "app", registry.ImageRef{Digest: kept.Digest().String()})
		},
		"archived": func(b *bench, kept testkit.Content) error {
			_, _, err := b.SetStorageClass(context.Background(), scope, "app", registry.ImageRef{Digest: kept.Digest().String()}, registry.StorageArchive)
			return err
		},
		"untagged": func(b *bench, _ testkit.Content) error {
			return b.DeleteManifest(context.Background(), scope, "app", registry.ImageRef{Tag: "v2"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.create("app")
			var kept testkit.Content
			for _, tag := range []string{"v1", "v2", "v3"} {
				c := b.push("app", tag, b.image())
				if tag == "v2" {
					kept = c
				}
				b.advance(time.Minute)
			}
			b.policy("app", policyText(`"tagStatus":"tagged","tagPatternList":["v*"],"countType":"imageCountMoreThan","countNumber":2`))
			meanwhile := b.over(b.db.Wrap(func(inner meta.Backend) meta.Backend {
				return &interrupted{Backend: inner, first: func() {
					if err := change(b, kept); err != nil {
						t.Error(err)
					}
				}}
			}))
			run, err := meanwhile.RunLifecycle(context.Background(), scope, "app")
			if err != nil || run.Expired != 0 {
				t.Errorf("expired %d: %v", run.Expired, err)
			}
			if _, err := b.Manifest(context.Background(), scope, "app", registry.ImageRef{Tag: "v1"}); err != nil {
				t.Errorf("v1, one of the two newest now: %v", err)
			}
		})
	}
}
