package registry_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

// events are what was written into the outbox since the last call.
func (b *bench) events() (out []meta.Event) {
	b.t.Helper()
	err := b.db.Update(b.t.Context(), func(tx *meta.Tx) error {
		last, err := tx.LastEvent()
		if err == nil {
			_, err = tx.PlaceEvents(nil, b.clock(), 10_000)
		}
		if err == nil {
			out, err = tx.Events(scope, last, 10_000)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// wantEvents compares the events since the last call, each as its type and the
// members of its detail that are named.
func (b *bench) wantEvents(want ...string) {
	b.t.Helper()
	got := []string{}
	for _, e := range b.events() {
		var d map[string]any
		if err := json.Unmarshal([]byte(e.Detail), &d); err != nil {
			b.t.Fatal(err)
		}
		line := strings.TrimPrefix(e.Type, "ECR ")
		for _, k := range []string{"action-type", "target-storage-class", "scan-status", "sync-status", "image-tag"} {
			if v, ok := d[k]; ok {
				line += fmt.Sprintf(" %v", v)
			}
		}
		if e.Digest != "" {
			line += " " + e.Digest[7:13]
		}
		got = append(got, line)
	}
	if want == nil {
		want = []string{}
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("events are\n%q\nwant\n%q", got, want)
	}
}

func short(c testkit.Content) string { return c.Digest().Encoded()[:6] }

// Every door that pushes, tags, deletes, archives or restores tells of it, in the
// shapes of ECR (User Guide, "Amazon ECR events and EventBridge").
func TestEventsOfImages(t *testing.T) {
	b := newBench(t)
	b.create("app")
	b.wantEvents()
	one := b.push("app", "v1", b.image())
	b.wantEvents("Image Action PUSH v1 " + short(one))
	if err := b.tag("app", "v2", one); err != nil {
		t.Fatal(err)
	}
	b.wantEvents("Image Action PUSH v2 " + short(one))
	if err := b.tag("app", "v2", one); !registry.Is(err, registry.ImageAlreadyExists) {
		t.Fatal(err)
	}
	b.wantEvents()

	sign := testkit.Artifact(t, "application/vnd.example.signature", []byte("s"), &one)
	b.push("app", "", sign)
	b.wantEvents("Referrer Action PUSH  " + short(sign))

	// A tag that goes, an image with its last tag, all tags at once.
	remove := func(refs ...registry.ImageRef) {
		t.Helper()
		if _, failed, err := b.DeleteImages(t.Context(), scope, "app", refs); err != nil || len(failed) > 0 {
			t.Fatal(failed, err)
		}
	}
	remove(byTag("v1"))
	b.wantEvents("Image Action DELETE v1 " + short(one))
	if err := b.tag("app", "v3", one); err != nil {
		t.Fatal(err)
	}
	b.events()
	if err := b.DeleteManifest(t.Context(), scope, "app", byTag("v3")); err != nil {
		t.Fatal(err)
	}
	b.wantEvents("Image Action DELETE v3 " + short(one))

	// Archived and restored, by hand and by a push.
	b.class("app", byTag("v2"), "ARCHIVE")
	b.wantEvents("Image Action UPDATE_STORAGE_CLASS ARCHIVE "+short(one), "Referrer Action UPDATE_STORAGE_CLASS ARCHIVE "+short(sign))
	b.class("app", byDigest(one), "STANDARD")
	b.wantEvents()
	b.finish()
	b.wantEvents("Image Action UPDATE_STORAGE_CLASS STANDARD "+short(one), "Referrer Action UPDATE_STORAGE_CLASS STANDARD "+short(sign))
	b.class("app", byTag("v2"), "ARCHIVE")
	b.events()
	if err := b.tag("app", "v2", one); err != nil {
		t.Fatal(err)
	}
	b.wantEvents("Image Action UPDATE_STORAGE_CLASS STANDARD "+short(one), "Referrer Action UPDATE_STORAGE_CLASS STANDARD "+short(sign),
		"Image Action PUSH v2 "+short(one))

	remove(byDigest(one))
	b.wantEvents("Image Action DELETE v2 " + short(one))
	last := b.push("app", "v9", b.image())
	b.events()
	if _, err := b.DeleteRepository(t.Context(), scope, "app", false); err == nil {
		t.Fatal("deleted a repository with images")
	}
	b.wantEvents()
	if _, err := b.DeleteRepository(t.Context(), scope, "app", true); err != nil {
		t.Fatal(err)
	}
	b.wantEvents("Referrer Action DELETE  "+short(sign), "Image Action DELETE v9 "+short(last))
}

// An index tells of each manifest, as it comes.
func TestEventsOfAnIndex(t *testing.T) {
	b := newBench(t)
	b.create("app")
	index := testkit.RandomIndex(t, 64, "amd64", "arm64")
	b.push("app", "v1", index)
	list := b.events()
	if len(list) != 3 || list[2].Digest != index.Digest().String() || !strings.Contains(list[0].Detail, `"image-tag":""`) {
		t.Errorf("%+v", list)
	}
}

// What lifecycle policies do is told too.
func TestEventsOfLifecyclePolicies(t *testing.T) {
	b := newBench(t)
	b.create("app")
	var all []testkit.Content
	for i := range 3 {
		all = append(all, b.push("app", fmt.Sprint("v", i), b.image()))
		b.advance(time.Minute)
	}
	b.policy("app", policyText(keep2))
	b.events()
	b.run("app")
	b.wantEvents("Image Action DELETE v0 " + short(all[0]))
}

// The whole event, member by member.
func TestEnvelope(t *testing.T) {
	b := newBench(t)
	b.create("team/app")
	img := b.push("team/app", "v1", b.image())
	list := b.events()
	if len(list) != 1 {
		t.Fatal(list)
	}
	text, err := json.Marshal(registry.EnvelopeOf(list[0]))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":"0","id":"` + list[0].UUID + `","detail-type":"ECR Image Action","source":"aws.ecr","account":"123456789012",` +
		`"time":"2023-11-14T22:13:20Z","region":"` + scope.Region + `","resources":[],"detail":{"result":"SUCCESS","repository-name":"team/app",` +
		`"image-digest":"` + img.Digest().String() + `","action-type":"PUSH","image-tag":"v1",` +
		`"manifest-media-type":"application/vnd.oci.image.manifest.v1+json","artifact-media-type":"application/vnd.oci.image.config.v1+json"}}`
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

// A push that fails leaves no event, in whichever step it does.
func TestNoEventOfWhatDidNotHappen(t *testing.T) {
	b := newBench(t)
	b.createAs("app", registry.Mutability{Mode: "IMMUTABLE"})
	b.push("app", "v1", b.image())
	b.events()
	other := b.image()
	b.putBlobs("app", other)
	if err := b.tag("app", "v1", other); !registry.Is(err, registry.ImageTagAlreadyExists) {
		t.Fatal(err)
	}
	b.wantEvents()
}

// scanned ends the scan that waits, with findings of high severity named.
func (b *bench) scanned(status string, names ...string) {
	b.t.Helper()
	job, ok, err := b.ClaimScan(b.t.Context(), time.Minute)
	if err != nil || !ok {
		b.t.Fatal("no scan waits", err)
	}
	o := registry.ScanOutcome{Status: status, Counts: map[string]int32{}}
	for _, n := range names {
		o.Findings = append(o.Findings, registry.Finding{Name: n, Severity: "UNDEFINED", Package: "p"})
		o.Counts["UNDEFINED"]++
	}
	if err := b.FinishScan(b.t.Context(), job, o); err != nil {
		b.t.Fatal(err)
	}
}

// wantDetail compares the detail of the only event since the last call.
func (b *bench) wantDetail(source, kind, resources, detail string) {
	b.t.Helper()
	list := b.events()
	if len(list) != 1 {
		b.t.Fatalf("events: %+v", list)
	}
	e := list[0]
	if e.Source != source || e.Type != kind || e.Resources != resources || e.Detail != detail {
		b.t.Errorf("the event is\n%+v\nwant\n%s %s %s\n%s", e, source, kind, resources, detail)
	}
}

func TestEventsOfBasicScans(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "v1", b.image())
	for _, c := range []struct{ ends, tells, counts string }{{"COMPLETE", "COMPLETE", `{"UNDEFINED":2}`}, {"FAILED", "FAILED", `{}`}} {
		if _, err := b.StartScan(t.Context(), scope, "app", byTag("v1")); err != nil {
			t.Fatal(err)
		}
		b.events()
		if c.ends == "COMPLETE" {
			b.scanned(c.ends, "CVE-1", "CVE-2")
		} else {
			b.scanned(c.ends)
		}
		b.wantDetail("aws.ecr", "ECR Image Scan", `["`+registry.ARN(scope, "app")+`"]`,
			`{"scan-status":"`+c.tells+`","repository-name":"app","finding-severity-counts":`+c.counts+`,"image-digest":"`+img.Digest().String()+`","image-tags":["v1"]}`)
		b.advance(25 * time.Hour)
	}
}

// Enhanced scanning tells of the first scan as Inspector does, and of a later one
// when it finds something else.
func TestEventsOfEnhancedScans(t *testing.T) {
	b := newBench(t)
	b.create("app", "other")
	b.config(registry.ScanConfig{Type: "ENHANCED", Rules: []registry.ScanRule{{Frequency: "CONTINUOUS_SCAN", Filters: []string{"app"}}}})
	arn := registry.ARN(scope, "app")
	b.wantDetail("aws.ecr", "ECR Scan Resource Change", "[]", `{"action-type":"SCAN_FREQUENCY_CHANGE","repositories":[{"repository-name":"app","repository-arn":"`+arn+
		`","scan-frequency":"CONTINUOUS_SCAN","previous-scan-frequency":"MANUAL"}],"resource-type":"REPOSITORY","scan-type":"ENHANCED"}`)
	img := b.push("app", "v1", b.image())
	b.events()
	b.scanned("ACTIVE", "CVE-1", "CVE-2")
	b.wantDetail("aws.inspector2", "Inspector2 Scan", `["`+arn+`"]`, `{"scan-status":"INITIAL_SCAN_COMPLETE","repository-name":"`+arn+
		`","finding-severity-counts":{"TOTAL":2,"UNTRIAGED":2},"image-digest":"`+img.Digest().String()+`","image-tags":["v1"]}`)
	again := func() {
		t.Helper()
		err := b.db.Update(t.Context(), func(tx *meta.Tx) error {
			return tx.RequeueScans([]int64{b.detail("app", img).ID}, "ENHANCED", "ACTIVE", b.clock().Add(time.Second))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	again()
	b.scanned("ACTIVE", "CVE-2", "CVE-1")
	b.wantEvents()
	again()
	b.scanned("ACTIVE", "CVE-2", "CVE-3")
	b.wantDetail("berth", "Berth Image Findings Change", `["`+arn+`"]`, `{"repository-name":"app","finding-severity-counts":{"TOTAL":2,"UNTRIAGED":2},"image-digest":"`+
		img.Digest().String()+`","image-tags":["v1"],"new-findings":["CVE-3 in p"],"closed-findings":["CVE-1 in p"]}`)
}
