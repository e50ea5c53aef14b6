package impact

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/cost"
)

func TestParseReference(t *testing.T) {
	for text, want := range map[string]Reference{
		"app":                          {"", "app", "latest", ""},
		"app:v1":                       {"", "app", "v1", ""},
		"team/app:v1":                  {"", "team/app", "v1", ""},
		"localhost/app":                {"localhost", "app", "latest", ""},
		"127.0.0.1:5050/team/app:v1":   {"127.0.0.1:5050", "team/app", "v1", ""},
		"registry.example.com/app@d":   {"registry.example.com", "app", "", "d"},
		"registry.example.com/a:v1@d":  {"registry.example.com", "a", "v1", "d"},
		"":                             {},
		"two words":                    {},
		"registry.example.com/":        {},
		"registry.example.com/:v1":     {},
		"registry.example.com/app:a/b": {},
	} {
		got, err := ParseReference(text)
		if got != want || (err != nil) != (want == Reference{}) {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseInUse(t *testing.T) {
	app, other := Reference{"", "app", "v1", ""}, Reference{"r.example.com", "other", "", "sha256:1"}
	running := Reference{"r.example.com", "app", "v1", ""}
	for text, want := range map[string][]Reference{
		"# images\n\napp:v1 # of the shop\nr.example.com/other@sha256:1\n": {app, other},
		`{"kind": "List", "items": [
			{"kind": "Pod", "spec": {"containers": [{"image": "r.example.com/app:v1"}, {"image": "nginx"}], "initContainers": [{"image": "r.example.com/app:v1"}]},
			 "status": {"containerStatuses": [{"image": "sha256:abc", "imageID": "docker-pullable://r.example.com/other@sha256:1"}]}}]}`: {running, other},
		`{"kind": "Pod", "spec": {"ephemeralContainers": [{"image": "r.example.com/app:v1"}]}}`: {running},
		`{"items": []}`: nil,
		"":              nil,
	} {
		if got, err := ParseInUse([]byte(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"app:v1\ntwo words": "line 2:", `{"kind": "Deployment"}`: `its kind is "Deployment"`, "{": "kubectl",
	} {
		if got, err := ParseInUse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want an error with %q", text, got, err, want)
		}
	}
}

func FuzzParseInUse(f *testing.F) {
	f.Add("app:v1\nhost.example/app@sha256:1 # comment")
	f.Add(`{"items":[{"spec":{"containers":[{"image":"host.example/app:v1"}]},"status":{"containerStatuses":[{"imageID":"x://host.example/app@sha256:1"}]}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		refs, err := ParseInUse([]byte(text))
		if err != nil {
			return
		}
		for _, r := range refs {
			if r.Repository == "" || r.Tag == "" && r.Digest == "" {
				t.Errorf("%q gives %+v", text, r)
			}
		}
	})
}

func TestLimit(t *testing.T) {
	report := Report{Repositories: []Repository{{Name: "app", Images: 8, Expired: map[int]int{1: 1, 2: 1}}}}
	for text, exceeded := range map[string]bool{"1": true, "2": false, "24%": true, "25%": false, "0": true, "100%": false, "12.5%": true} {
		l, err := ParseLimit(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Exceeded(report); (len(got) == 1) != exceeded {
			t.Errorf("%s: %q", text, got)
		} else if exceeded && got[0] != "app would lose 2 of 8 images, more than the limit of "+text {
			t.Errorf("%s: %q", text, got)
		}
	}
	for _, text := range []string{"", "-1", "101%", "many", "%", "-1%", "NaN%"} {
		if l, err := ParseLimit(text); err == nil {
			t.Errorf("%q is the limit %v", text, l)
		}
	}
	if got := (*Limit)(nil).Exceeded(report); got != nil {
		t.Errorf("no limit: %q", got)
	}
}

func TestReport(t *testing.T) {
	image := func(digest, layer string, tags ...string) Image {
		return Image{cost.Image{Digest: digest, Blobs: []cost.Blob{{Digest: "base", Size: 100}, {Digest: layer, Size: 10}}, Tagged: len(tags) > 0}, tags}
	}
	in := []string{"app:v1", "registry.example/app@d2", "elsewhere.example/app:v2", "old:v1"}
	var refs []Reference
	for _, text := range in {
		r, err := ParseReference(text)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, r)
	}
	b := Builder{Prices: cost.Prices{Standard: 1e9, Archive: 1e8, ArchiveTier: cost.GB}, InUse: refs}
	app := &Stake{Name: "app", Host: "registry.example"}
	b.Add("app", app, []Image{image("d1", "1", "v1", "b"), image("d2", "2", "v2"), image("d3", "3", "v3"), image("d4", "4")},
		map[string]Act{"d1": {cost.Goes, 2}, "d2": {cost.Goes, 1}, "d3": {cost.Moves, 3}})
	b.Add("old", &Stake{Name: "old", Host: "registry.example", Deleted: true}, []Image{image("d5", "5", "v1")}, nil)
	b.Add("empty", &Stake{Name: "empty", Deleted: true}, nil, nil)
	b.Add("kept", nil, []Image{image("d6", "6")}, nil)
	want := Report{
		Repositories: []Repository{
			{
				Name: "app", Images: 4, Expired: map[int]int{1: 1, 2: 1}, Moved: 1, Tags: []string{"b", "v1", "v2"}, InUse: []string{"app:v1", "app@d2"},
				Logical: 220, Freed: 20, Before: 140, After: 111,
			},
			{Name: "old", Deleted: true, Images: 1, Expired: map[int]int{0: 1}, Tags: []string{"v1"}, InUse: []string{"old:v1"}, Logical: 110, Freed: 10, Before: 110},
		},
		Logical: 330, Freed: 30, Before: 160, After: 121,
	}
	got := b.Report()
	for _, dollars := range []*float64{&got.Before, &got.After, &got.Repositories[0].Before, &got.Repositories[0].After, &got.Repositories[1].Before} {
		*dollars = math.Round(*dollars*1e6) / 1e6
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	running := []string{"app would lose images in use: app:v1, app@d2", "old would lose images in use: old:v1"}
	if r := got.Running(); !slices.Equal(r, running) {
		t.Errorf("running: %q", r)
	}
}

// TestReportProperties: whatever goes, what is freed is never more than what goes logically, and what the repositories
// free apart is never more than the registry.
func TestReportProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Builder
		b.Prices = cost.DefaultPrices()
		gone := 0
		for r := range rapid.IntRange(1, 3).Draw(t, "repositories") {
			var images []Image
			acts := map[string]Act{}
			for i := range rapid.IntRange(0, 6).Draw(t, "images") {
				im := Image{Image: cost.Image{Digest: fmt.Sprint(r, i)}}
				for _, n := range rapid.SliceOfN(rapid.IntRange(1, 8), 0, 4).Draw(t, "blobs") {
					im.Blobs = append(im.Blobs, cost.Blob{Digest: fmt.Sprint(n), Size: int64(n)})
				}
				images = append(images, im)
				if f := rapid.SampledFrom([]cost.Fate{cost.Stays, cost.Goes, cost.Moves}).Draw(t, "fate"); f != cost.Stays {
					acts[im.Digest] = Act{f, 1}
					if f == cost.Goes {
						gone++
					}
				}
			}
			b.Add(fmt.Sprint(r), &Stake{Name: fmt.Sprint(r)}, images, acts)
		}
		report := b.Report()
		var logical, counted int64
		for _, r := range report.Repositories {
			if r.Freed > report.Freed || r.Freed > r.Logical || r.Gone()+r.Moved > r.Images {
				t.Fatalf("%+v in %+v", r, report)
			}
			logical += r.Logical
			counted += int64(r.Gone())
		}
		if logical != report.Logical || counted != int64(gone) || report.Freed > report.Logical || report.After > report.Before+1e-12 {
			t.Fatalf("%+v, with %d gone", report, gone)
		}
	})
}
