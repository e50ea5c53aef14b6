package lifecycle

import (
	"fmt"
	"time"
)

// An Explanation says why an image is acted on, or stays.
type Explanation struct {
	Rule     *Rule // the first that looks at the image; nil: none does
	Selected bool  // by that rule
	Reason   string
	// Shielded are the rules behind it that would select the image, and cannot
	// reach it.
	Shielded []*Rule
}

// Explain explains what the policy does to an image, by its index.
func (e *Evaluation) Explain(image int) Explanation {
	r, ok := e.first(image)
	if !ok {
		return Explanation{Reason: e.unseen(image)}
	}
	out := Explanation{Rule: &e.policy.Rules[r], Selected: e.selects(r, image), Reason: e.reason(r, image)}
	for behind := r + 1; behind < len(e.policy.Rules); behind++ {
		if e.matched[image]&(1<<behind) != 0 && e.selects(behind, image) {
			out.Shielded = append(out.Shielded, &e.policy.Rules[behind])
		}
	}
	return out
}

func (e *Evaluation) unseen(image int) string {
	switch i := &e.images[image]; {
	case i.Subject != "":
		return "it follows the image that it refers to"
	case i.State == Activating:
		return "it is being restored"
	default:
		return "no rule looks at it"
	}
}

// reason says how an image stands to the count of a rule.
func (e *Evaluation) reason(rule, image int) string {
	s := e.policy.Rules[rule].Selection
	if s.CountType.ByAge() {
		verb := map[CountType]string{SinceImagePushed: "pushed", SinceImagePulled: "pulled", SinceImageTransitioned: "archived"}[s.CountType]
		age := e.now.Sub(time.UnixMicro(e.time(rule, image)))
		return fmt.Sprintf("%s %.1f days ago, and the limit is %d", verb, float64(age)/float64(24*time.Hour), s.CountNumber)
	}
	place, all := 1, 0
	for i := range e.images {
		if e.matched[i]&(1<<rule) == 0 {
			continue
		}
		all++
		if e.compare(rule, i, image) < 0 {
			place++
		}
	}
	return fmt.Sprintf("number %d of %d, the newest first, and %d stay", place, all, s.CountNumber)
}
