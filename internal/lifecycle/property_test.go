package lifecycle_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/internal/lifecycle"
)

func drawImages(t *rapid.T) []lifecycle.Image {
	tags := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a-1", "a-2", "b-1", "b-2", "ab", "x"}), 0, 3, rapid.ID[string])
	n := rapid.IntRange(0, 12).Draw(t, "images")
	images := make([]lifecycle.Image, n)
	for i := range images {
		at := func(name string) time.Time { return days(float64(rapid.IntRange(0, 20).Draw(t, name)) / 2) }
		images[i] = lifecycle.Image{Digest: fmt.Sprintf("d%02d", i), Tags: tags.Draw(t, "tags"), PushedAt: at("pushed")}
		if rapid.IntRange(0, 3).Draw(t, "was pulled") == 0 {
			images[i].PulledAt = at("pulled")
		}
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			images[i].State, images[i].ArchivedAt = lifecycle.Archived, days(float64(rapid.IntRange(80, 100).Draw(t, "archived")))
		case 1:
			images[i].ActivatedAt = at("activated")
		case 2:
			if i > 0 {
				images[i].Subject = images[rapid.IntRange(0, i-1).Draw(t, "subject")].Digest
			}
		case 3:
			for c := range i {
				if rapid.Bool().Draw(t, "child") {
					images[i].Children = append(images[i].Children, images[c].Digest)
				}
			}
		}
	}
	return images
}

func drawPolicy(t *rapid.T) lifecycle.Policy {
	var p lifecycle.Policy
	for i := range rapid.IntRange(1, 4).Draw(t, "rules") {
		r := rule(i+1, rapid.SampledFrom([]string{"a*", "b*", "a*,b*", "*", "untagged"}).Draw(t, "tags"),
			rapid.SampledFrom([]string{"1", "2", "3", "1d", "4d"}).Draw(t, "count"))
		switch rapid.IntRange(0, 4).Draw(t, "kind of rule") {
		case 0:
			r.Action = lifecycle.Action{Type: lifecycle.Transition, TargetStorageClass: lifecycle.Archive}
		case 1:
			r.Selection.StorageClass, r.Selection.CountType = lifecycle.Archive, lifecycle.SinceImageTransitioned
			r.Selection.CountUnit, r.Selection.CountNumber = lifecycle.Days, 90
		}
		p.Rules = append(p.Rules, r)
	}
	return p
}

// simple says what the documented rules say, one image and one rule at a time.
func simple(p lifecycle.Policy, images []lifecycle.Image) map[string]int {
	matches := func(r lifecycle.Rule, i lifecycle.Image) bool {
		class := map[lifecycle.State]lifecycle.StorageClass{lifecycle.Active: lifecycle.Standard, lifecycle.Archived: lifecycle.Archive}[i.State]
		if class != r.Selection.StorageClass || i.Subject != "" {
			return false
		}
		if r.Selection.TagStatus == lifecycle.Untagged {
			return len(i.Tags) == 0
		}
		for _, p := range r.Selection.TagPatterns {
			if !slices.ContainsFunc(i.Tags, func(t string) bool { return strings.HasPrefix(t, strings.TrimSuffix(p, "*")) }) {
				return false
			}
		}
		return len(i.Tags) > 0
	}
	pushed := func(i lifecycle.Image) time.Time {
		if i.ActivatedAt.IsZero() {
			return i.PushedAt
		}
		return i.ActivatedAt
	}
	selected := func(r lifecycle.Rule) map[string]bool {
		var all []lifecycle.Image
		for _, i := range images {
			if matches(r, i) {
				all = append(all, i)
			}
		}
		out := map[string]bool{}
		limit := now.Add(-time.Duration(r.Selection.CountNumber) * 24 * time.Hour)
		slices.SortFunc(all, func(a, b lifecycle.Image) int {
			return cmp.Or(pushed(b).Compare(pushed(a)), cmp.Compare(a.Digest, b.Digest))
		})
		for n, i := range all {
			switch r.Selection.CountType {
			case lifecycle.ImageCountMoreThan:
				out[i.Digest] = n >= r.Selection.CountNumber
			case lifecycle.SinceImagePushed:
				out[i.Digest] = pushed(i).Before(limit)
			case lifecycle.SinceImageTransitioned:
				out[i.Digest] = i.ArchivedAt.Before(limit)
			}
		}
		return out
	}
	out := map[string]int{}
	for _, i := range images {
		for n, r := range p.Rules {
			if matches(r, i) {
				if selected(r)[i.Digest] {
					out[i.Digest] = n
				}
				break
			}
		}
	}
	return out
}

func TestEvaluationFollowsTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		e := lifecycle.Evaluate(p, images, now)
		want := simple(p, images)
		got := map[string]int{}
		note := func(a lifecycle.Act) {
			d := images[a.Image].Digest
			if _, twice := got[d]; twice {
				t.Fatalf("%s is acted on twice", d)
			}
			got[d] = a.Rule
			x := e.Explain(a.Image)
			if !x.Selected || x.Rule.Priority != p.Rules[a.Rule].Priority {
				t.Fatalf("%s is acted on and explained otherwise: %+v", d, x)
			}
		}
		acts := map[string]lifecycle.Act{}
		for _, a := range e.Acts {
			note(a)
			acts[images[a.Image].Digest] = a
		}
		for _, h := range e.Hindered {
			note(h.Act)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("acts on %v, the rules say %v", got, want)
		}
		// What stays keeps what it lists, and what goes goes first.
		for n, i := range images {
			parent, goes := acts[i.Digest]
			for _, c := range i.Children {
				child, childGoes := acts[c]
				if !childGoes {
					continue
				}
				if !goes || p.Rules[parent.Rule].Action.Type == lifecycle.Transition && p.Rules[child.Rule].Action.Type == lifecycle.Expire {
					t.Fatalf("%s is acted on, and the index %d that lists it is not, or stays in the archive", c, n)
				}
				if slices.Index(e.Acts, parent) > slices.Index(e.Acts, child) {
					t.Fatalf("%s is acted on before the index %d that lists it", c, n)
				}
			}
		}
		// The order in which the images are given is nothing.
		shuffled := rapid.Permutation(images).Draw(t, "order")
		if again := acted(lifecycle.Evaluate(p, shuffled, now), shuffled); again != acted(e, images) {
			t.Fatalf("in another order: %q, not %q", again, acted(e, images))
		}
	})
}

// Under rules about ages only, what comes new saves nothing that is old; and as
// time goes on, nothing that was to go may stay.
func TestAgesAreSteady(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		for i := range p.Rules {
			if p.Rules[i].Selection.CountType == lifecycle.ImageCountMoreThan {
				p.Rules[i] = rule(i+1, "untagged", "2d")
			}
		}
		for i := range images {
			images[i].Children = nil
		}
		before := lifecycle.Evaluate(p, images, now)
		after := lifecycle.Evaluate(p, append(slices.Clone(images), lifecycle.Image{Digest: "new", Tags: []string{"a-1"}, PushedAt: now}), now)
		later := lifecycle.Evaluate(p, images, now.Add(36*time.Hour))
		for _, a := range before.Acts {
			if !slices.Contains(after.Acts, a) || !slices.Contains(later.Acts, a) {
				t.Fatalf("%s is saved", images[a.Image].Digest)
			}
		}
	})
}

// A policy none of whose needs is met acts on nothing, and hinders nothing.
func TestNeedsAreNecessary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, images := drawPolicy(t), drawImages(t)
		for i := range images { // as time goes by in a registry
			for _, at := range []*time.Time{&images[i].ArchivedAt, &images[i].ActivatedAt, &images[i].PulledAt} {
				if at.Before(images[i].PushedAt) && !at.IsZero() {
					images[i].PushedAt = *at
				}
			}
		}
		met := false
		for _, n := range p.Needs(now) {
			count := 0
			for _, i := range images {
				if n.Tags != lifecycle.Any && (n.Tags == lifecycle.Tagged) != (len(i.Tags) > 0) {
					continue
				}
				count++
				met = met || i.PushedAt.Before(n.PushedBefore)
			}
			met = met || n.PushedBefore.IsZero() && count > n.MoreThan
		}
		e := lifecycle.Evaluate(p, images, now)
		if !met && len(e.Acts)+len(e.Hindered)+len(e.Followings) > 0 {
			t.Fatalf("no need of %+v is met, and it acts on %v", p, e.Acts)
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		images := make([]lifecycle.Image, n)
		random := rand.New(rand.NewPCG(1, 2))
		for i := range images {
			images[i] = lifecycle.Image{Digest: fmt.Sprintf("sha256:%064x", i), PushedAt: now.Add(-time.Duration(random.Int64N(int64(1000 * 24 * time.Hour))))}
			switch i % 4 {
			case 0:
				images[i].Tags = []string{fmt.Sprintf("prod-%d", i)}
			case 1:
				images[i].Tags = []string{fmt.Sprintf("dev-%d", i), "x"}
			case 2:
				images[i].Children = []string{fmt.Sprintf("sha256:%064x", i+1)}
			}
		}
		p := policy(rule(1, "prod*", "30"), rule(2, "untagged", "7d"), rule(3, "dev*", "14d"), rule(4, "any", "100000"))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				lifecycle.Evaluate(p, images, now)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/image")
		})
	}
}
