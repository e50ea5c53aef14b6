package cost

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestSeedArithmetic counts the example of docs/seed.md: 10 repositories of 10 images of 500 MB, of which 3 are kept.
func TestSeedArithmetic(t *testing.T) {
	var g Registry
	for r := range 10 {
		var images []Image
		for n := range 10 {
			d := fmt.Sprintf("%d-%d", r, n)
			images = append(images, Image{Digest: d, Blobs: []Blob{{d, 500_000_000}}})
		}
		g.Add(fmt.Sprint(r), images, func(i int) Fate {
			if i < 3 {
				return Stays
			}
			return Goes
		})
	}
	before, after := g.Total()
	p := DefaultPrices()
	if got := fmt.Sprintf("%d $%.2f, %d $%.2f", before.Logical, p.Monthly(before), after.Logical, p.Monthly(after)); got != "50000000000 $5.00, 15000000000 $1.50" {
		t.Error(got)
	}
}

func TestMonthly(t *testing.T) {
	free := DefaultPrices()
	free.Free = 500_000_000
	for _, c := range []struct {
		p    Prices
		b    Bytes
		want float64
	}{
		{DefaultPrices(), Bytes{}, 0},
		{free, Bytes{Standard: 50 * GB}, 4.95},
		{free, Bytes{Standard: 1}, 0},
		{DefaultPrices(), Bytes{Archived: 150_001 * GB}, 15_000.07},
	} {
		if got := c.p.Monthly(c.b); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%+v with %d free costs %f, want %f", c.b, c.p.Free, got, c.want)
		}
	}
}

func TestSharedBlobsCountOnce(t *testing.T) {
	base, a, b := Blob{"base", 100}, Blob{"a", 10}, Blob{"b", 1}
	var g Registry
	g.Add("x", []Image{{Digest: "1", Blobs: []Blob{base, a, a}, Tagged: true, Pulled: true}, {Digest: "2", Blobs: []Blob{base}}}, nil)
	g.Add("y", []Image{{Digest: "3", Blobs: []Blob{base, b}, Archived: true, Tagged: true}}, nil)
	before, after := g.Total()
	if want := (Bytes{Logical: 311, Standard: 110, Archived: 1}); before != want || after != want {
		t.Errorf("got %+v and %+v, want %+v", before, after, want)
	}
	want := []Repository{
		{Name: "x", Images: 2, Before: Bytes{210, 110, 0}, After: Bytes{210, 110, 0}, Own: 10, Untagged: Share{Images: 1}, NeverPulled: Share{Images: 1}},
		{Name: "y", Images: 1, Before: Bytes{101, 0, 101}, After: Bytes{101, 0, 101}, Own: 1, NeverPulled: Share{1, 1}},
	}
	if got := g.Repositories(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := g.Repositories()[0].Shared(); got != 100 {
		t.Errorf("sharing saves %d bytes within x, want 100", got)
	}
}

// TestPartsOfOthersAreNoWaste: what an index lists has no tag and is not pulled by itself, and neither is a signature.
func TestPartsOfOthersAreNoWaste(t *testing.T) {
	layer := func(d string) []Blob { return []Blob{{"layer of " + d, 1}} }
	var g Registry
	g.Add("r", []Image{
		{Digest: "index", Children: []string{"child"}, Tagged: true, Pulled: true},
		{Digest: "child", Blobs: layer("child")},
		{Digest: "signature", Blobs: layer("signature"), Subject: "index"},
		{Digest: "signature of what is gone", Blobs: layer("other"), Subject: "gone"},
	}, nil)
	if r := g.Repositories()[0]; r.Untagged != (Share{1, 1}) || r.NeverPulled != (Share{1, 1}) {
		t.Errorf("untagged %+v, never pulled %+v; want one image of one byte each", r.Untagged, r.NeverPulled)
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		image := rapid.Custom(func(t *rapid.T) Image {
			i := Image{Archived: rapid.Bool().Draw(t, "archived"), Tagged: rapid.Bool().Draw(t, "tagged")}
			for _, n := range rapid.SliceOfN(rapid.IntRange(1, 8), 0, 5).Draw(t, "blobs") {
				i.Blobs = append(i.Blobs, Blob{fmt.Sprint(n), int64(n * n)})
			}
			return i
		})
		var g Registry
		type state struct{ before, standardBefore, after, standardAfter bool }
		want := map[Blob]*state{}
		of := make([]map[Blob]bool, 2) // of each repository, whether only untagged images list the blob
		for r := range of {
			of[r] = map[Blob]bool{}
			images := rapid.SliceOf(image).Draw(t, "images")
			fates := rapid.SliceOfN(rapid.SampledFrom([]Fate{Stays, Goes, Moves}), len(images), len(images)).Draw(t, "fates")
			for n := range images {
				images[n].Digest = fmt.Sprint(r, n)
				for _, b := range images[n].Blobs {
					s := want[b]
					if s == nil {
						s = &state{}
						want[b] = s
					}
					s.before, s.standardBefore = true, s.standardBefore || !images[n].Archived
					if fates[n] != Goes {
						s.after, s.standardAfter = true, s.standardAfter || !images[n].Archived && fates[n] == Stays
					}
					only, seen := of[r][b]
					of[r][b] = (only || !seen) && !images[n].Tagged
				}
			}
			g.Add(fmt.Sprint(r), images, func(n int) Fate { return fates[n] })
		}
		var before, after Bytes
		for b, s := range want {
			before.store(b.Size, s.before, s.standardBefore)
			after.store(b.Size, s.after, s.standardAfter)
		}
		gotBefore, gotAfter := g.Total()
		before.Logical, after.Logical = gotBefore.Logical, gotAfter.Logical
		if gotBefore != before || gotAfter != after || after.Stored() > before.Stored() || before.Stored() > before.Logical {
			t.Fatalf("before %+v, want %+v; after %+v, want %+v", gotBefore, before, gotAfter, after)
		}
		for _, r := range g.Repositories() {
			n := int(r.Name[0] - '0')
			var own, untagged int64
			for b, only := range of[n] {
				if _, shared := of[1-n][b]; shared {
					continue
				}
				own += b.Size
				if only {
					untagged += b.Size
				}
			}
			if r.Own != own || r.Untagged.Freed != untagged || r.After.Logical > r.Before.Logical {
				t.Fatalf("%+v, want %d own bytes and %d of untagged images", r, own, untagged)
			}
		}
	})
}

func BenchmarkRegistry(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			images := make([]Image, n)
			for i := range images {
				images[i] = Image{Digest: fmt.Sprintf("sha256:%064d", i), Tagged: i%2 == 0}
				for l := range 10 {
					images[i].Blobs = append(images[i].Blobs, Blob{fmt.Sprintf("sha256:%064d", i*l/3), 1000})
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				var g Registry
				g.Add("r", images, nil)
				g.Total()
				g.Repositories()
			}
		})
	}
}
