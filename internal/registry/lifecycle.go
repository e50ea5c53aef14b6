package registry

import (
	"time"

	"berth/internal/lifecycle"
	"berth/internal/meta"
)

// Acts of lifecycle policies (API_LifecyclePolicyRuleAction, type).
const (
	ActExpire     = "EXPIRE"
	ActTransition = "TRANSITION"
)

// lifecyclePage bounds how many rows one statement of an evaluation reads.
const lifecyclePage = 5000

// lifecycleImages reads what a lifecycle policy looks at: all images of a repository.
func lifecycleImages(tx *meta.Tx, repositoryID int64) (out []lifecycle.Image, err error) {
	var last int64
	for {
		page, err := tx.Images(repositoryID, meta.ImageFilter{}, last, lifecyclePage)
		if err != nil || len(page) == 0 {
			return out, err
		}
		above := last
		last = page[len(page)-1].ID
		tags, err := tx.TagsBetween(repositoryID, above, last)
		if err != nil {
			return nil, err
		}
		children, err := tx.ChildrenBetween(repositoryID, above, last)
		if err != nil {
			return nil, err
		}
		for _, img := range page {
			i := lifecycleImage(img)
			i.Tags, tags = takeOf(img.ID, tags)
			i.Children, children = takeOf(img.ID, children)
			out = append(out, i)
		}
	}
}

// takeOf takes the texts of an image from the front of a list in the order of images.
func takeOf(imageID int64, list []meta.ImageTag) (texts []string, rest []meta.ImageTag) {
	n := 0
	for n < len(list) && list[n].ImageID == imageID {
		texts = append(texts, list[n].Tag)
		n++
	}
	return texts, list[n:]
}

func lifecycleImage(img meta.Image) lifecycle.Image {
	state := lifecycle.Active
	switch img.Status {
	case meta.ImageArchived:
		state = lifecycle.Archived
	case meta.ImageActivating:
		state = lifecycle.Activating
	}
	return lifecycle.Image{
		Digest: img.Digest, State: state, PushedAt: img.PushedAt, PulledAt: img.PulledAt,
		ArchivedAt: img.ArchivedAt, ActivatedAt: img.ActivatedAt, Subject: img.Subject,
	}
}

// A lifecyclePlan is what a policy does to a repository at one moment, in the
// order of acting. A preview shows it and a run carries it out.
type lifecyclePlan struct {
	acts     []meta.LifecycleAct // each with what follows it right behind it
	follows  []bool              // of each act: the image goes where its subject goes
	hindered []meta.LifecycleAct // that cannot be: an index lists the image
	// kept are the images that a rule which counts keeps, by its priority, but for
	// those that another rule acts on: what the rule selects hangs on them.
	kept map[int][]meta.LifecycleAct
}

// planLifecycle evaluates a policy on the images as a transaction sees them.
func planLifecycle(tx *meta.Tx, repositoryID int64, p lifecycle.Policy, now time.Time) (plan lifecyclePlan, err error) {
	images, err := lifecycleImages(tx, repositoryID)
	if err != nil {
		return plan, err
	}
	e := lifecycle.Evaluate(p, images, now)
	followers := map[int][]int{}
	for _, f := range e.Followings {
		followers[f.Subject] = append(followers[f.Subject], f.Image)
	}
	var add func(image int, rule *lifecycle.Rule, follows bool)
	add = func(image int, rule *lifecycle.Rule, follows bool) {
		plan.acts, plan.follows = append(plan.acts, lifecycleAct(&images[image], rule)), append(plan.follows, follows)
		for _, f := range followers[image] {
			add(f, rule, true)
		}
	}
	for _, a := range e.Acts {
		add(a.Image, &p.Rules[a.Rule], false)
	}
	plan.kept = map[int][]meta.LifecycleAct{}
	going := map[string]bool{}
	for _, a := range plan.acts {
		going[a.Digest] = true
	}
	for _, a := range e.Acts {
		priority := p.Rules[a.Rule].Priority
		if _, done := plan.kept[priority]; done {
			continue
		}
		plan.kept[priority] = nil
		for _, i := range e.Keeps(a.Rule) {
			if !going[images[i].Digest] {
				plan.kept[priority] = append(plan.kept[priority], lifecycleAct(&images[i], &p.Rules[a.Rule]))
			}
		}
	}
	for _, h := range e.Hindered {
		plan.hindered = append(plan.hindered, lifecycleAct(&images[h.Image], &p.Rules[h.Rule]))
	}
	return plan, nil
}

// batches parts the acts into pieces of at least a size, but for the last. What
// follows an image stays together with it, so that a run that is cut off leaves
// no signatures of images that are gone, which no rule would see again.
func (p *lifecyclePlan) batches(size int) (out [][]meta.LifecycleAct) {
	start := 0
	for i := range p.acts {
		if i-start >= size && !p.follows[i] {
			out, start = append(out, p.acts[start:i]), i
		}
	}
	if start < len(p.acts) {
		out = append(out, p.acts[start:])
	}
	return out
}

func lifecycleAct(i *lifecycle.Image, rule *lifecycle.Rule) meta.LifecycleAct {
	act := meta.LifecycleAct{
		Digest: i.Digest, Tags: i.Tags, PushedAt: i.PushedAt, Action: ActExpire, Rule: rule.Priority, StorageClass: StorageStandard,
	}
	if rule.Action.Type == lifecycle.Transition {
		act.Action = ActTransition
	}
	if i.State == lifecycle.Archived {
		act.StorageClass = StorageArchive
	}
	return act
}

func parseLifecycle(text string) (lifecycle.Policy, error) {
	p, err := lifecycle.Parse(text)
	if err != nil {
		return lifecycle.Policy{}, &Error{Code: InvalidParameter, Message: err.Error(), Err: err}
	}
	return *p, nil
}

// findLifecycle is the policy of a repository.
func findLifecycle(repo meta.Repository) (lifecycle.Policy, error) {
	if repo.Lifecycle == "" {
		return lifecycle.Policy{}, lifecycleNotFound(repo.Scope, repo.Name)
	}
	return parseLifecycle(repo.Lifecycle)
}
