package cost

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

// Monthly is what the bytes stored cost in dollars a month.
func (p Prices) Monthly(b Bytes) float64 {
	first := min(b.Archived, p.ArchiveTier)
	return gb(max(0, b.Standard-p.Free))*p.Standard + gb(first)*p.Archive + gb(b.Archived-first)*p.ArchiveAbove
}

func gb(bytes int64) float64 { return float64(bytes) / GB }
