package cost

import (
	"cmp"
	"slices"
)

// A Blob is a config or a layer of an image.
type Blob struct {
	Digest string
	Size   int64 // bytes, compressed as they are stored
}

// An Image is a manifest of a repository. An index lists no blobs: its children are images of their own.
type Image struct {
	Digest   string
	Blobs    []Blob   // that the manifest lists itself
	Children []string // digests that an index lists
	Subject  string   // the digest that a signature or an SBOM refers to; empty: none
	Tagged   bool
	Pulled   bool // at least once, as far as the registry recorded it
	Archived bool // its storage class is ARCHIVE
}

// A Fate is what happens to an image.
type Fate uint8

// The values of Fate.
const (
	Stays Fate = iota
	Goes
	Moves // to the archive
)

// Bytes says how much images take.
type Bytes struct {
	Logical  int64 // each image as if it were alone
	Standard int64 // each blob once, that an image outside the archive lists
	Archived int64 // each blob once, that only archived images list
}

// Stored is each blob once, in whatever storage class.
func (b Bytes) Stored() int64 { return b.Standard + b.Archived }

// A Share is a part of a repository's images.
type Share struct {
	Images int
	Freed  int64 // bytes that no other image of the registry lists
}

// A Repository is what the images of one repository take.
type Repository struct {
	Name          string
	Images        int
	Before, After Bytes // within the repository alone; After the fates of its images
	Gone, Moved   int   // images by their fate
	Freed         int64 // bytes of images that go, which no image of the registry lists afterwards
	Own           int64 // bytes that no other repository lists
	// Untagged are the images that have no tag, that no index of the repository lists and that refer to no image of it.
	Untagged Share
	// NeverPulled are those that nobody pulled, nor an index that lists them, other than those that refer to an image.
	NeverPulled Share
}

// Shared are the bytes that sharing within the repository saves.
func (r Repository) Shared() int64 { return r.Before.Logical - r.Before.Stored() }

// A Registry adds up repositories, one after the other. It keeps a number for each blob of each image and nothing else
// of an image, so that a million images of ten layers take some 100 MB. The zero value is empty and ready.
type Registry struct {
	numbers      map[string]int32
	blobs        []blob
	repositories []*repository
}

// A blob is what is known of a blob of the registry: how many images list it, in each way.
type blob struct {
	size                     int64
	images                   int32 // that list it
	standard, archived, gone int32 // of these, by where they are after their fates
	archivedBefore           int32
}

type repository struct {
	Repository
	images []counted
	blobs  []int32 // of the images, one image after the other
}

type counted struct {
	first, last        int32 // in the blobs of the repository
	archived           bool
	untagged, unpulled bool
	fate               Fate
}

// Add counts the images of a repository that was not added before. fate says what would happen to the image of that
// index; nil: all stay.
func (g *Registry) Add(name string, images []Image, fate func(int) Fate) {
	r := &repository{Repository: Repository{Name: name, Images: len(images)}}
	known := map[string]bool{}
	listed, listedByPulled := map[string]bool{}, map[string]bool{}
	for _, i := range images {
		known[i.Digest] = true
		for _, c := range i.Children {
			listed[c] = true
			listedByPulled[c] = listedByPulled[c] || i.Pulled
		}
	}
	for n, i := range images {
		c := counted{first: int32(len(r.blobs)), archived: i.Archived}
		if fate != nil {
			c.fate = fate(n)
		}
		switch c.fate {
		case Goes:
			r.Gone++
		case Moves:
			r.Moved++
		case Stays:
		}
		refers := i.Subject != "" && known[i.Subject]
		c.untagged = !i.Tagged && !listed[i.Digest] && !refers
		c.unpulled = !i.Pulled && !listedByPulled[i.Digest] && !refers
		g.blobsOf(r, i, c)
		c.last = int32(len(r.blobs))
		r.images = append(r.images, c)
	}
	r.Before, r.After = r.sums(g)
	g.repositories = append(g.repositories, r)
}

// blobsOf counts the blobs of an image, each once: a manifest may list the same layer twice.
func (g *Registry) blobsOf(r *repository, i Image, c counted) {
	if g.numbers == nil {
		g.numbers = map[string]int32{}
	}
	for _, b := range i.Blobs {
		n, ok := g.numbers[b.Digest]
		if !ok {
			n = int32(len(g.blobs))
			g.numbers[b.Digest] = n
			g.blobs = append(g.blobs, blob{size: b.Size})
		}
		if slices.Contains(r.blobs[c.first:], n) {
			continue
		}
		r.blobs = append(r.blobs, n)
		held := &g.blobs[n]
		held.images++
		if c.archived {
			held.archivedBefore++
		}
		switch {
		case c.fate == Goes:
			held.gone++
		case c.archived || c.fate == Moves:
			held.archived++
		default:
			held.standard++
		}
	}
}

// sums are the bytes of the repository alone.
func (r *repository) sums(g *Registry) (before, after Bytes) {
	type classes struct{ before, after, standardBefore, standardAfter bool }
	seen := map[int32]classes{}
	for _, i := range r.images {
		for _, n := range r.blobs[i.first:i.last] {
			s := seen[n]
			s.before, s.standardBefore = true, s.standardBefore || !i.archived
			before.Logical += g.blobs[n].size
			if i.fate != Goes {
				after.Logical += g.blobs[n].size
				s.after, s.standardAfter = true, s.standardAfter || !i.archived && i.fate != Moves
			}
			seen[n] = s
		}
	}
	for n, s := range seen {
		before.store(g.blobs[n].size, s.before, s.standardBefore)
		after.store(g.blobs[n].size, s.after, s.standardAfter)
	}
	return before, after
}

// store counts a blob once: in the archive when no image outside of it lists the blob.
func (b *Bytes) store(size int64, stored, standard bool) {
	switch {
	case standard:
		b.Standard += size
	case stored:
		b.Archived += size
	}
}

// Total is what all images take, before and after their fates. A blob that several repositories list counts once.
func (g *Registry) Total() (before, after Bytes) {
	for _, r := range g.repositories {
		before.Logical += r.Before.Logical
		after.Logical += r.After.Logical
	}
	for _, b := range g.blobs {
		before.store(b.size, true, b.images > b.archivedBefore)
		after.store(b.size, b.images > b.gone, b.standard > 0)
	}
	return before, after
}

// Repositories are those that were added, the one that takes most first.
func (g *Registry) Repositories() []Repository {
	out := make([]Repository, 0, len(g.repositories))
	for _, r := range g.repositories {
		one := r.Repository
		one.Freed = r.fated(g)
		one.Own = r.freed(g, func(counted) bool { return true }).Freed
		one.Untagged = r.freed(g, func(c counted) bool { return c.untagged })
		one.NeverPulled = r.freed(g, func(c counted) bool { return c.unpulled })
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Repository) int {
		return cmp.Or(cmp.Compare(b.Before.Stored(), a.Before.Stored()), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// freed says what no image lists any more when some of the repository are gone.
func (r *repository) freed(g *Registry, gone func(counted) bool) (out Share) {
	going := map[int32]int32{}
	for _, i := range r.images {
		if !gone(i) {
			continue
		}
		out.Images++
		for _, n := range r.blobs[i.first:i.last] {
			if going[n]++; going[n] == g.blobs[n].images {
				out.Freed += g.blobs[n].size
			}
		}
	}
	return out
}

// fated are the bytes that go with the images that go. What two repositories share and both lose is freed by both.
func (r *repository) fated(g *Registry) (out int64) {
	seen := map[int32]bool{}
	for _, i := range r.images {
		if i.fate != Goes {
			continue
		}
		for _, n := range r.blobs[i.first:i.last] {
			if b := g.blobs[n]; !seen[n] && b.gone == b.images {
				out += b.size
			}
			seen[n] = true
		}
	}
	return out
}
