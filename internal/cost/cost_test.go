package cost

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// seed is the example of docs/seed.md: 10 repositories of 10 images of 500 MB.
func seed() (images []Image) {
	for r := range 10 {
		for n := range 10 {
			d := fmt.Sprintf("%d-%d", r, n)
			images = append(images, Image{Repository: fmt.Sprint(r), Digest: d, Blobs: []Blob{{d, 500_000_000}}})
		}
	}
	return images
}

func TestSeedArithmetic(t *testing.T) {
	n := 0
	i := Remove(seed(), func(Image) bool { n++; return (n-1)%10 >= 3 })
	p := DefaultPrices()
	before, after := p.Monthly(i.Before.Standard, i.Before.Archived), p.Monthly(i.After.Standard, i.After.Archived)
	if got := fmt.Sprintf("%d $%.2f, %d $%.2f", i.Before.Logical, before, i.After.Logical, after); got != "50000000000 $5.00, 15000000000 $1.50" {
		t.Error(got)
	}
}

func TestMonthly(t *testing.T) {
	free := DefaultPrices()
	free.Free = 500_000_000
	for _, c := range []struct {
		p                  Prices
		standard, archived int64
		want               float64
	}{
		{DefaultPrices(), 0, 0, 0},
		{free, 50 * GB, 0, 4.95},
		{free, 1, 0, 0},
		{DefaultPrices(), 0, 150_001 * GB, 15_000.07},
	} {
		if got := c.p.Monthly(c.standard, c.archived); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%d standard and %d archived bytes with %d free cost %f, want %f", c.standard, c.archived, c.p.Free, got, c.want)
		}
	}
}

func TestCountSharesBlobs(t *testing.T) {
	base, a, b := Blob{"base", 100}, Blob{"a", 10}, Blob{"b", 1}
	images := []Image{
		{"x", "1", []Blob{base, a, a}, false},
		{"y", "2", []Blob{base, b}, true},
	}
	if got, want := Count(images), (Bytes{Logical: 211, Standard: 110, Archived: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := Remove(images, func(i Image) bool { return i.Repository == "x" }); got.Freed != 10 || got.Logical != 110 {
		t.Errorf("removing x gives %+v, want 10 of 110 bytes freed", got)
	}
}

func TestRemoveProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		image := rapid.Custom(func(t *rapid.T) Image {
			i := Image{Repository: "r", Archived: rapid.Bool().Draw(t, "archived"), Digest: rapid.SampledFrom([]string{"keep", "go"}).Draw(t, "fate")}
			for _, n := range rapid.SliceOfN(rapid.IntRange(1, 8), 0, 5).Draw(t, "blobs") {
				i.Blobs = append(i.Blobs, Blob{fmt.Sprint(n), int64(n * n)})
			}
			return i
		})
		images := rapid.SliceOf(image).Draw(t, "images")
		i := Remove(images, func(i Image) bool { return i.Digest == "go" })
		// What is freed, counted the other way round: the blobs that only images which go list.
		listed := map[string]bool{}
		for _, im := range images {
			for _, b := range im.Blobs {
				listed[b.Digest] = listed[b.Digest] || im.Digest == "keep"
			}
		}
		var want int64
		for n := range 9 {
			if kept, ok := listed[fmt.Sprint(n)]; ok && !kept {
				want += int64(n * n)
			}
		}
		if i.Freed != want || i.Freed > i.Logical || i.Before.Stored() > i.Before.Logical || i.Before.Logical-i.After.Logical != i.Logical {
			t.Fatalf("%+v, want %d freed", i, want)
		}
	})
}
