package cost

// A Blob is a config or a layer of an image.
type Blob struct {
	Digest string
	Size   int64 // bytes, compressed as they are stored
}

// An Image is a manifest of a repository with the blobs that it lists itself. An index lists none: its children are
// images of their own.
type Image struct {
	Repository, Digest string
	Blobs              []Blob
	Archived           bool // its storage class is ARCHIVE
}

// Bytes says how much images take.
type Bytes struct {
	Logical  int64 // each image as if it were alone
	Standard int64 // each blob once, that an image outside the archive lists
	Archived int64 // each blob once, that only archived images list
}

// Stored is each blob once, in whatever storage class.
func (b Bytes) Stored() int64 { return b.Standard + b.Archived }

// Count adds up what images take. A blob that images of several repositories list counts once.
func Count(images []Image) (out Bytes) {
	type held struct {
		size     int64
		standard bool
	}
	blobs := map[string]held{}
	for _, i := range images {
		own := map[string]bool{} // a manifest may list the same layer twice
		for _, b := range i.Blobs {
			if own[b.Digest] {
				continue
			}
			own[b.Digest] = true
			out.Logical += b.Size
			blobs[b.Digest] = held{b.Size, blobs[b.Digest].standard || !i.Archived}
		}
	}
	for _, h := range blobs {
		if h.standard {
			out.Standard += h.size
		} else {
			out.Archived += h.size
		}
	}
	return out
}

// An Impact is what happens to the bytes when images go.
type Impact struct {
	Before, After Bytes
	Logical       int64 // of the images that go
	Freed         int64 // bytes that no image lists any more
}

// Remove says what is saved when the images go for which gone is true. The images are those of every repository that
// may share blobs with them; what others keep is not freed.
func Remove(images []Image, gone func(Image) bool) Impact {
	var going, kept []Image
	for _, i := range images {
		if gone(i) {
			going = append(going, i)
		} else {
			kept = append(kept, i)
		}
	}
	out := Impact{Before: Count(images), After: Count(kept), Logical: Count(going).Logical}
	out.Freed = out.Before.Stored() - out.After.Stored()
	return out
}

// GB is the unit of the price: decimal, so that 50 GB cost $5.00.
const GB = 1_000_000_000

// Prices are what storage costs, in dollars for a GB and month.
type Prices struct {
	Standard     float64
	Archive      float64 // up to ArchiveTier
	ArchiveAbove float64 // for what is above it
	ArchiveTier  int64   // bytes
	Free         int64   // bytes of standard storage that cost nothing
	AsOf, Source string  // when the prices were read, and where
}

// DefaultPrices are those of us-east-1. Nothing is free by default: the 500 MB a month that Amazon grants are for the
// first twelve months of an account only.
func DefaultPrices() Prices {
	return Prices{
		Standard: 0.10, Archive: 0.10, ArchiveAbove: 0.07, ArchiveTier: 150_000 * GB,
		AsOf: "2026-03", Source: "third-party pages on Amazon ECR's prices in us-east-1",
	}
}

// Monthly is what storage costs in dollars a month.
func (p Prices) Monthly(standard, archived int64) float64 {
	first := min(archived, p.ArchiveTier)
	return gb(max(0, standard-p.Free))*p.Standard + gb(first)*p.Archive + gb(archived-first)*p.ArchiveAbove
}

func gb(bytes int64) float64 { return float64(bytes) / GB }
