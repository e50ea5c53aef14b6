package lifecycle

import "time"

// A Need is what a repository must hold before a rule can select anything. It is
// cheap to look up, and necessary only: rules that need more select less.
type Need struct {
	Tags TagStatus // which images
	// PushedBefore: one of them was pushed before. Zero: there are more than MoreThan.
	PushedBefore time.Time
	MoreThan     int
}

// Needs lists one need for each rule. Where none of them is met, the policy acts
// on nothing, and no image has to be read to know that. It holds as long as an
// image is pulled, archived and restored after it was pushed.
func (p Policy) Needs(now time.Time) []Need {
	needs := make([]Need, len(p.Rules))
	for i, r := range p.Rules {
		needs[i].Tags = r.Selection.TagStatus
		if r.Selection.CountType.ByAge() {
			needs[i].PushedBefore = r.Selection.limit(now)
		} else {
			needs[i].MoreThan = r.Selection.CountNumber
		}
	}
	return needs
}

// limit is the moment before which an age begins to select.
func (s Selection) limit(now time.Time) time.Time {
	return now.Add(-time.Duration(s.CountNumber) * 24 * time.Hour)
}
