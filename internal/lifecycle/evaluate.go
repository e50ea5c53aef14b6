package lifecycle

import (
	"cmp"
	"slices"
	"time"
)

// An Act is one image that a rule acts on.
type Act struct {
	Image int // index into the images
	Rule  int // index into the rules of the policy
}

// A Hindrance is an image that a rule would act on, and cannot while an index
// lists it: the reason is ECR's ImageReferencedByManifestList.
type Hindrance struct {
	Act
	Indexes []int // the images that list it and stay
}

// A Following is an image that goes where its subject goes.
type Following struct {
	Image   int
	Subject int // an image that is acted on, or follows itself
}

// An Evaluation is what a policy does to the images of a repository at one
// moment. It is the same for a preview and for a run.
type Evaluation struct {
	// Acts are in the order of acting: an index before what it lists, and the
	// oldest first.
	Acts       []Act
	Hindered   []Hindrance
	Followings []Following

	policy  Policy
	images  []Image
	now     time.Time
	matched []uint64 // for each image, the rules that look at it, by bit
	pushed  []int64  // for each image, when it was pushed or restored, in microseconds
	cuts    []cut    // for each rule
}

// A cut parts the images that a rule looks at into those it keeps and those it
// selects: what is older than the cut is selected.
type cut struct {
	none   bool   // nothing is selected
	at     int64  // microseconds
	digest string // of the last image kept by a count; empty: an age
}

// Evaluate applies a policy to all images of a repository. It looks at nothing
// but its arguments, whose order does not matter; images must not change as long
// as the evaluation is used.
//
// Every rule looks at the same images, also at those that another rule acts on.
// An image is acted on by the first rule that looks at it, and only if that one
// selects it: rules behind it cannot reach what a rule before them keeps.
//
// Source: ECR User Guide, "Lifecycle policy evaluation rules".
func Evaluate(p Policy, images []Image, now time.Time) *Evaluation {
	e := &Evaluation{policy: p, images: images, now: now, matched: make([]uint64, len(images)), pushed: make([]int64, len(images)), cuts: make([]cut, len(p.Rules))}
	for i := range images {
		e.pushed[i] = images[i].pushed().UnixMicro()
	}
	e.match()
	var scratch []int32
	for r := range p.Rules {
		scratch = e.cut(r, scratch)
	}
	for i := range images {
		if r, ok := e.first(i); ok && e.selects(r, i) {
			e.Acts = append(e.Acts, Act{i, r})
		}
	}
	e.protectChildren()
	e.follow()
	return e
}

// match notes which rules look at which images.
func (e *Evaluation) match() {
	matchers := make([]matcher, len(e.policy.Rules))
	for r, rule := range e.policy.Rules {
		matchers[r] = newMatcher(rule.Selection)
	}
	for i := range e.images {
		for r := range matchers {
			if matchers[r].matches(&e.images[i]) {
				e.matched[i] |= 1 << r // MaxRules is below 64
			}
		}
	}
}

// first is the rule of the highest priority that looks at an image.
func (e *Evaluation) first(i int) (rule int, ok bool) {
	for r := range e.policy.Rules {
		if e.matched[i]&(1<<r) != 0 {
			return r, true
		}
	}
	return 0, false
}

// time is the time of an image that a rule compares, in microseconds.
func (e *Evaluation) time(rule, image int) int64 {
	switch e.policy.Rules[rule].Selection.CountType {
	case SinceImagePulled:
		return e.images[image].pulled().UnixMicro()
	case SinceImageTransitioned:
		return e.images[image].ArchivedAt.UnixMicro()
	}
	return e.pushed[image]
}

// cut finds where a rule begins to select. scratch is space to use again.
func (e *Evaluation) cut(rule int, scratch []int32) []int32 {
	s := e.policy.Rules[rule].Selection
	if s.CountType.ByAge() {
		e.cuts[rule] = cut{at: s.limit(e.now).UnixMicro()}
		return scratch
	}
	scratch = scratch[:0]
	for i := range e.images {
		if e.matched[i]&(1<<rule) != 0 {
			scratch = append(scratch, int32(i))
		}
	}
	if len(scratch) <= s.CountNumber {
		e.cuts[rule] = cut{none: true}
		return scratch
	}
	last := int(e.nth(rule, scratch, s.CountNumber-1))
	e.cuts[rule] = cut{at: e.time(rule, last), digest: e.images[last].Digest}
	return scratch
}

// nth gives the image that would stand at a place if those in list were ordered
// from the newest on. It reorders list, in linear time on average.
func (e *Evaluation) nth(rule int, list []int32, place int) int32 {
	for len(list) > 1 {
		pivot := e.pivot(rule, list)
		newer, same := 0, 0
		for at := 0; at < len(list); at++ {
			switch c := e.compare(rule, int(list[at]), pivot); {
			case c < 0:
				list[at], list[newer+same] = list[newer+same], list[at]
				list[newer+same], list[newer] = list[newer], list[newer+same]
				newer++
			case c == 0:
				list[at], list[newer+same] = list[newer+same], list[at]
				same++
			}
		}
		switch {
		case place < newer:
			list = list[:newer]
		case place < newer+same:
			return list[newer]
		default:
			list, place = list[newer+same:], place-newer-same
		}
	}
	return list[0]
}

// pivot is the middle one of three.
func (e *Evaluation) pivot(rule int, list []int32) int {
	three := []int{int(list[0]), int(list[len(list)/2]), int(list[len(list)-1])}
	slices.SortFunc(three, func(a, b int) int { return e.compare(rule, a, b) })
	return three[1]
}

// compare orders images from the newest on, and those of one time by digest.
func (e *Evaluation) compare(rule, a, b int) int {
	if c := cmp.Compare(e.time(rule, b), e.time(rule, a)); c != 0 {
		return c
	}
	return cmp.Compare(e.images[a].Digest, e.images[b].Digest)
}

// selects tells whether a rule that looks at an image selects it.
func (e *Evaluation) selects(rule, image int) bool {
	c := &e.cuts[rule]
	if c.none {
		return false
	}
	at := e.time(rule, image)
	if at == c.at && c.digest != "" {
		return e.images[image].Digest > c.digest
	}
	return at < c.at
}

// Keeps lists the images that a rule which counts keeps, by their indexes: which
// others it selects hangs on them. Nothing for a rule about ages.
func (e *Evaluation) Keeps(rule int) (images []int) {
	if e.policy.Rules[rule].Selection.CountType.ByAge() {
		return nil
	}
	for i := range e.images {
		if e.matched[i]&(1<<rule) != 0 && !e.selects(rule, i) {
			images = append(images, i)
		}
	}
	return images
}

// protectChildren takes out of the acts what an index lists that stays, and puts
// the rest in the order of acting.
func (e *Evaluation) protectChildren() {
	depth := make([]int32, len(e.Acts))
	if slices.ContainsFunc(e.images, func(i Image) bool { return len(i.Children) > 0 }) {
		depth = e.untangle()
	}
	type place struct {
		depth int32
		act   Act
		at    int64
	}
	order := make([]place, 0, len(e.Acts))
	for a, act := range e.Acts {
		if depth[a] >= 0 {
			order = append(order, place{depth[a], act, e.actTime(act)})
		}
	}
	slices.SortFunc(order, func(a, b place) int {
		switch {
		case a.depth != b.depth:
			return cmp.Compare(a.depth, b.depth)
		case a.at != b.at:
			return cmp.Compare(a.at, b.at)
		}
		return cmp.Compare(e.images[a.act.Image].Digest, e.images[b.act.Image].Digest)
	})
	e.Acts = e.Acts[:0]
	for _, p := range order {
		e.Acts = append(e.Acts, p.act)
	}
}

// actTime is what "the oldest first" goes by.
func (e *Evaluation) actTime(a Act) int64 {
	if i := &e.images[a.Image]; i.State == Archived {
		return i.ArchivedAt.UnixMicro()
	}
	return e.pushed[a.Image]
}

// untangle gives for each act how many indexes stand above it that go first, and
// -1 for one that is hindered.
func (e *Evaluation) untangle() []int32 {
	actOf := make(map[string]int32, len(e.Acts))
	for a, act := range e.Acts {
		actOf[e.images[act.Image].Digest] = int32(a)
	}
	depth := make([]int32, len(e.Acts))
	hindered := map[int32][]int{}
	// Digests cannot form a circle, so this ends: each round settles what is one
	// step further from the indexes at the top.
	for changed := true; changed; {
		changed = false
		for j := range e.images {
			if len(e.images[j].Children) == 0 {
				continue
			}
			parent, acted := actOf[e.images[j].Digest]
			for _, child := range e.images[j].Children {
				c, ok := actOf[child]
				if !ok {
					continue
				}
				if acted && depth[parent] >= 0 && e.allows(e.Acts[parent], e.Acts[c]) {
					if depth[c] >= 0 && depth[c] <= depth[parent] {
						depth[c], changed = depth[parent]+1, true
					}
				} else if !slices.Contains(hindered[c], j) {
					hindered[c] = append(hindered[c], j)
					depth[c], changed = -1, true
				}
			}
		}
	}
	for a := range e.Acts {
		if by := hindered[int32(a)]; len(by) > 0 {
			e.Hindered = append(e.Hindered, Hindrance{e.Acts[a], by})
		}
	}
	return depth
}

// allows tells whether an index that is acted on lets what it lists be acted on:
// an index in the archive still lists its images, so these can be archived and
// not expire.
func (e *Evaluation) allows(parent, child Act) bool {
	return e.policy.Rules[parent.Rule].Action.Type == Expire || e.policy.Rules[child.Rule].Action.Type == Transition
}

// follow finds what refers to the images that are acted on, and what refers to that.
func (e *Evaluation) follow() {
	referrers := map[string][]int{}
	for i := range e.images {
		if s := e.images[i].Subject; s != "" {
			referrers[s] = append(referrers[s], i)
		}
	}
	if len(referrers) == 0 {
		return
	}
	var walk func(subject int)
	walk = func(subject int) {
		for _, i := range referrers[e.images[subject].Digest] {
			e.Followings = append(e.Followings, Following{i, subject})
			walk(i)
		}
	}
	for _, a := range e.Acts {
		walk(a.Image)
	}
}
