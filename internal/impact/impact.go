package impact

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"berth/internal/cost"
)

// A Stake is a repository to whose images a plan does something.
type Stake struct {
	Name    string
	Host    string // of the registry, as references name it
	Deleted bool   // with all images; otherwise it gets another lifecycle policy
	Policy  string // its JSON
}

// An Act is what a policy would do to one image.
type Act struct {
	Fate cost.Fate
	Rule int // its priority
}

// An Image is an image of a repository with its tags.
type Image struct {
	cost.Image
	Tags []string
}

// A Repository is the impact on one repository.
type Repository struct {
	Name    string      `json:"repository"`
	Deleted bool        `json:"deleted"`
	Images  int         `json:"images"`          // now
	Expired map[int]int `json:"imagesByRule"`    // images that go, by the priority of the rule; by 0 with the repository
	Moved   int         `json:"imagesArchived"`  // to the archive
	Tags    []string    `json:"tags,omitempty"`  // that go, sorted
	InUse   []string    `json:"inUse,omitempty"` // references to images that go or are archived, sorted
	Logical int64       `json:"logicalBytes"`    // of the images that go
	Freed   int64       `json:"freedBytes"`      // those of them that no image lists afterwards
	Before  float64     `json:"dollarsBefore"`   // a month, of this repository as if there were no other
	After   float64     `json:"dollarsAfter"`
}

// Gone counts the images that go.
func (r Repository) Gone() (n int) {
	for _, images := range r.Expired {
		n += images
	}
	return n
}

// A Report is the impact of a plan.
type Report struct {
	Repositories []Repository `json:"repositories"` // those with images, by name
	Logical      int64        `json:"logicalBytes"`
	Freed        int64        `json:"freedBytes"` // in the whole registry: what two repositories share is freed when both lose it
	// Before and After are dollars a month of all that was added: the whole registry, when anything goes.
	Before float64 `json:"dollarsBefore"`
	After  float64 `json:"dollarsAfter"`
}

// A Builder collects what a plan does. Every repository of the registry is added once, as they share blobs.
type Builder struct {
	Prices cost.Prices
	InUse  []Reference

	registry cost.Registry
	stakes   map[string]*Repository
}

// Add adds a repository. stake is nil when the plan does nothing to its images; acts are what its new policy would do,
// by digest.
func (b *Builder) Add(name string, stake *Stake, images []Image, acts map[string]Act) {
	plain := make([]cost.Image, len(images))
	for n, i := range images {
		plain[n] = i.Image
	}
	if stake == nil {
		b.registry.Add(name, plain, nil)
		return
	}
	r := &Repository{Name: name, Deleted: stake.Deleted, Images: len(images), Expired: map[int]int{}}
	fates := make([]cost.Fate, len(images))
	for n, i := range images {
		act := acts[i.Digest]
		if stake.Deleted {
			act = Act{Fate: cost.Goes}
		}
		switch fates[n] = act.Fate; act.Fate {
		case cost.Goes:
			r.Expired[act.Rule]++
			r.Tags = append(r.Tags, i.Tags...)
			r.InUse = append(r.InUse, b.inUse(*stake, i)...)
		case cost.Moves:
			r.Moved++
			r.InUse = append(r.InUse, b.inUse(*stake, i)...)
		case cost.Stays:
		}
	}
	slices.Sort(r.Tags)
	slices.Sort(r.InUse)
	r.InUse = slices.Compact(r.InUse)
	b.registry.Add(name, plain, func(n int) cost.Fate { return fates[n] })
	if b.stakes == nil {
		b.stakes = map[string]*Repository{}
	}
	b.stakes[name] = r
}

// inUse lists the references to an image. An archived image cannot be pulled either, so it counts as well.
func (b *Builder) inUse(stake Stake, i Image) (out []string) {
	for _, r := range b.InUse {
		if r.Repository != stake.Name || r.Host != "" && r.Host != stake.Host {
			continue
		}
		switch {
		case r.Digest != "" && r.Digest == i.Digest:
			out = append(out, r.Repository+"@"+r.Digest)
		case r.Digest == "" && slices.Contains(i.Tags, r.Tag):
			out = append(out, r.Repository+":"+r.Tag)
		}
	}
	return out
}

// Report tells the impact of all that was added.
func (b *Builder) Report() (out Report) {
	for _, r := range b.registry.Repositories() {
		one := b.stakes[r.Name]
		if one == nil || one.Images == 0 {
			continue
		}
		one.Logical, one.Freed = r.Before.Logical-r.After.Logical, r.Freed
		one.Before, one.After = b.Prices.Monthly(r.Before), b.Prices.Monthly(r.After)
		out.Repositories = append(out.Repositories, *one)
	}
	slices.SortFunc(out.Repositories, func(a, b Repository) int { return cmp.Compare(a.Name, b.Name) })
	before, after := b.registry.Total()
	out.Logical, out.Freed = before.Logical-after.Logical, before.Stored()-after.Stored()
	out.Before, out.After = b.Prices.Monthly(before), b.Prices.Monthly(after)
	return out
}

// A Limit is how many images of a repository may go: a number, or a part in percent. Nil is no limit.
type Limit struct {
	images  int
	percent float64
}

// ParseLimit reads N or N%.
func ParseLimit(text string) (*Limit, error) {
	if part, ok := strings.CutSuffix(text, "%"); ok {
		if p, err := strconv.ParseFloat(part, 64); err == nil && p >= 0 && p <= 100 {
			return &Limit{images: -1, percent: p}, nil
		}
	} else if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return &Limit{images: n}, nil
	}
	return nil, fmt.Errorf("%q is neither a number of images nor a percentage: write 10 or 25%%", text)
}

func (l Limit) String() string {
	if l.images < 0 {
		return strconv.FormatFloat(l.percent, 'f', -1, 64) + "%"
	}
	return strconv.Itoa(l.images)
}

// Exceeded says why a report passes the limit, one sentence for each repository that does.
func (l *Limit) Exceeded(r Report) (out []string) {
	if l == nil {
		return nil
	}
	for _, one := range r.Repositories {
		gone := one.Gone()
		if l.images >= 0 && gone > l.images || l.images < 0 && float64(gone)*100 > l.percent*float64(one.Images) {
			out = append(out, fmt.Sprintf("%s would lose %d of %d images, more than the limit of %s", one.Name, gone, one.Images, l))
		}
	}
	return out
}

// Running says which images would go although something runs them, one sentence for each repository.
func (r Report) Running() (out []string) {
	for _, one := range r.Repositories {
		if len(one.InUse) > 0 {
			out = append(out, fmt.Sprintf("%s would lose images in use: %s", one.Name, strings.Join(one.InUse, ", ")))
		}
	}
	return out
}

// Rules are the priorities of the rules that act, in their order.
func (r Repository) Rules() []int { return slices.Sorted(maps.Keys(r.Expired)) }
