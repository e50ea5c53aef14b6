package lifecycle_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/lifecycle"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func days(n float64) time.Time { return now.Add(-time.Duration(n * 24 * float64(time.Hour))) }

// parseImages reads "A[prod-1,beta-1]10": a name, its tags and its age in days.
func parseImages(t testing.TB, text string) []lifecycle.Image {
	t.Helper()
	var out []lifecycle.Image
	for field := range strings.FieldsSeq(text) {
		name, rest, _ := strings.Cut(field, "[")
		tags, age, _ := strings.Cut(rest, "]")
		i := lifecycle.Image{Digest: name}
		if tags != "" {
			i.Tags = strings.Split(tags, ",")
		}
		var n float64
		if _, err := fmt.Sscan(age, &n); err != nil {
			t.Fatal(field, err)
		}
		i.PushedAt = days(n)
		out = append(out, i)
	}
	return out
}

// rule makes a rule: tags is "any", "untagged" or patterns; count is "2" for the
// number of images to keep, or "5d" for an age.
func rule(priority int, tags, count string) lifecycle.Rule {
	s := lifecycle.Selection{StorageClass: lifecycle.Standard, CountType: lifecycle.ImageCountMoreThan}
	switch tags {
	case "any", "untagged":
		s.TagStatus = lifecycle.TagStatus(tags)
	default:
		s.TagStatus, s.TagPatterns = lifecycle.Tagged, strings.Split(tags, ",")
	}
	if n, ok := strings.CutSuffix(count, "d"); ok {
		count, s.CountType, s.CountUnit = n, lifecycle.SinceImagePushed, lifecycle.Days
	}
	if _, err := fmt.Sscan(count, &s.CountNumber); err != nil {
		panic(err)
	}
	return lifecycle.Rule{Priority: priority, Selection: s, Action: lifecycle.Action{Type: lifecycle.Expire}}
}

func policy(rules ...lifecycle.Rule) lifecycle.Policy { return lifecycle.Policy{Rules: rules} }

// acted names the images that are acted on, in the order of acting.
func acted(e *lifecycle.Evaluation, images []lifecycle.Image) string {
	var out []string
	for _, a := range e.Acts {
		out = append(out, images[a.Image].Digest)
	}
	return strings.Join(out, " ")
}

// The worked examples of AWS: ECR User Guide, "Examples of lifecycle policies".
func TestExamplesOfAWS(t *testing.T) {
	const prodBeta = "A[beta-1,prod-1]10 B[beta-2,prod-2]9 C[beta-3]8"
	for _, tc := range []struct {
		images string
		policy lifecycle.Policy
		want   string
	}{
		{prodBeta, policy(rule(1, "prod*", "1"), rule(2, "beta*", "1")), "A"},
		{prodBeta, policy(rule(1, "beta*", "1"), rule(2, "prod*", "1")), "A B"},
		{"A[alpha-1]12 B[beta-1]11 C[alpha-2,beta-2]10 D[alpha-3]4 E[beta-3]3 F[alpha-4,beta-4]2", policy(rule(1, "alpha*,beta*", "5d")), "C"},
		{"A[alpha-1,beta-1,gamma-1]10 B[alpha-2,beta-2]9 C[alpha-3,beta-3,gamma-2]8", policy(rule(1, "alpha*,beta*", "1")), "A B"},
		{"A[alpha-1]4 B[beta-1]3 C[]2 D[alpha-2]1", policy(rule(1, "any", "1")), "A B C"},
		{"A[alpha-1,beta-1]4 B[]3 C[alpha-2]2 D[git]1.5 E[]1", policy(rule(1, "alpha*", "1"), rule(2, "untagged", "1d"), rule(3, "any", "1")), "A B D"},
	} {
		images := parseImages(t, tc.images)
		for range 3 { // whatever the order in which they are given
			if got := acted(lifecycle.Evaluate(tc.policy, images, now), images); got != tc.want {
				t.Errorf("%s: %q, want %q", tc.images, got, tc.want)
			}
			images = append(images[1:], images[0])
		}
	}
}

func TestTagsMatch(t *testing.T) {
	for _, tc := range []struct {
		patterns, tags string
		want           bool
	}{
		{"prod*", "prod", true}, {"prod*", "prod-1", true}, {"prod*", "Prod-1", false}, {"*prod*", "a-prod-b", true}, {"*prod", "prod", true},
		{"prod", "prod", true}, {"prod", "prod-1", false}, {"a*b*c", "aXbYc", true}, {"a*b*c", "abc", true}, {"a*b*c", "acb", false},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"*", "x", true}, {"*ab*ab", "ab", false}, {"*ab*ab", "abab", true}, {"**", "", false},
		{"alpha*,beta*", "alpha-2,beta-2", true}, {"alpha*,beta*", "alpha-2", false}, {"v1*,v1.0*", "v1.0.3", true},
	} {
		i := lifecycle.Image{Digest: "d", PushedAt: days(10)}
		if tc.tags != "" {
			i.Tags = strings.Split(tc.tags, ",")
		}
		e := lifecycle.Evaluate(policy(rule(1, tc.patterns, "1d")), []lifecycle.Image{i}, now)
		if got := len(e.Acts) == 1; got != tc.want {
			t.Errorf("%s with tags %s: %t", tc.patterns, tc.tags, got)
		}
	}
	r := rule(1, "x", "1d")
	r.Selection.TagPatterns, r.Selection.TagPrefixes = nil, []string{"v1", "lat"}
	if e := lifecycle.Evaluate(policy(r), []lifecycle.Image{{Digest: "d", Tags: []string{"v1.2", "latest"}, PushedAt: days(2)}}, now); len(e.Acts) != 1 {
		t.Error("prefixes do not match")
	}
}

// Ages are strictly more than their days; what was restored begins anew.
func TestTimes(t *testing.T) {
	second := time.Second
	kind := func(k lifecycle.CountType, class lifecycle.StorageClass, n int) lifecycle.Policy {
		r := rule(1, "any", "1")
		r.Selection.CountType, r.Selection.CountUnit, r.Selection.StorageClass, r.Selection.CountNumber = k, lifecycle.Days, class, n
		return policy(r)
	}
	for name, tc := range map[string]struct {
		policy lifecycle.Policy
		image  lifecycle.Image
		want   bool
	}{
		"of a day":                    {kind(lifecycle.SinceImagePushed, lifecycle.Standard, 1), lifecycle.Image{PushedAt: days(1)}, false},
		"a second more":               {kind(lifecycle.SinceImagePushed, lifecycle.Standard, 1), lifecycle.Image{PushedAt: days(1).Add(-second)}, true},
		"old but restored":            {kind(lifecycle.SinceImagePushed, lifecycle.Standard, 5), lifecycle.Image{PushedAt: days(100), ActivatedAt: days(2)}, false},
		"never pulled":                {kind(lifecycle.SinceImagePulled, lifecycle.Standard, 5), lifecycle.Image{PushedAt: days(6)}, true},
		"pulled lately":               {kind(lifecycle.SinceImagePulled, lifecycle.Standard, 5), lifecycle.Image{PushedAt: days(60), PulledAt: days(1)}, false},
		"restored and not pulled":     {kind(lifecycle.SinceImagePulled, lifecycle.Standard, 5), lifecycle.Image{PushedAt: days(60), PulledAt: days(50), ActivatedAt: days(1)}, false},
		"archived for long":           {kind(lifecycle.SinceImageTransitioned, lifecycle.Archive, 90), lifecycle.Image{PushedAt: days(300), State: lifecycle.Archived, ArchivedAt: days(91)}, true},
		"archived lately":             {kind(lifecycle.SinceImageTransitioned, lifecycle.Archive, 90), lifecycle.Image{PushedAt: days(300), State: lifecycle.Archived, ArchivedAt: days(80)}, false},
		"standard rules on archived":  {kind(lifecycle.SinceImagePushed, lifecycle.Standard, 1), lifecycle.Image{PushedAt: days(300), State: lifecycle.Archived, ArchivedAt: days(91)}, false},
		"archive rules on active":     {kind(lifecycle.SinceImageTransitioned, lifecycle.Archive, 90), lifecycle.Image{PushedAt: days(300)}, false},
		"nothing while it comes back": {kind(lifecycle.SinceImagePushed, lifecycle.Standard, 1), lifecycle.Image{PushedAt: days(300), State: lifecycle.Activating}, false},
		"a referrer":                  {kind(lifecycle.SinceImagePushed, lifecycle.Standard, 1), lifecycle.Image{PushedAt: days(300), Subject: "x"}, false},
	} {
		tc.image.Digest = "d"
		if e := lifecycle.Evaluate(tc.policy, []lifecycle.Image{tc.image}, now); (len(e.Acts) == 1) != tc.want {
			t.Errorf("%s: %v", name, e.Acts)
		}
	}
}

// "A child of a live index is never expired": it counts, and then it stays.
func TestInvariant08_ChildOfALiveIndexIsNotActedOn(t *testing.T) {
	images := parseImages(t, "index[v1]1 child[]10 other[]10 old[]20 oldchild[]30")
	images[0].Children, images[3].Children = []string{"child"}, []string{"oldchild", "gone"}
	e := lifecycle.Evaluate(policy(rule(1, "untagged", "5d")), images, now)
	if got := acted(e, images); got != "old other oldchild" { // the index first, then what it lists
		t.Errorf("%q", got)
	}
	if len(e.Hindered) != 1 || images[e.Hindered[0].Image].Digest != "child" || !slices.Equal(e.Hindered[0].Indexes, []int{0}) {
		t.Errorf("%+v", e.Hindered)
	}
	// Two indexes list it, and one stays.
	images = parseImages(t, "a[]10 b[keep]10 child[]10")
	images[0].Children, images[1].Children = []string{"child"}, []string{"child"}
	e = lifecycle.Evaluate(policy(rule(1, "untagged", "5d")), images, now)
	if got := acted(e, images); got != "a" || len(e.Hindered) != 1 {
		t.Errorf("%q, %+v", got, e.Hindered)
	}
	// An index that is kept by an index that stays keeps what it lists.
	images = parseImages(t, "top[v1]1 middle[]10 leaf[]10")
	images[0].Children, images[1].Children = []string{"middle"}, []string{"leaf"}
	e = lifecycle.Evaluate(policy(rule(1, "untagged", "5d")), images, now)
	if got := acted(e, images); got != "" || len(e.Hindered) != 2 {
		t.Errorf("%q, %+v", got, e.Hindered)
	}
}

func TestReferrersFollow(t *testing.T) {
	images := parseImages(t, "old[v1]10 new[v2]1 sig[]9 sigsig[]8 other[]30")
	images[2].Subject, images[3].Subject, images[4].Subject = "old", "sig", "new"
	e := lifecycle.Evaluate(policy(rule(1, "any", "1")), images, now)
	if got := acted(e, images); got != "old" {
		t.Errorf("%q", got)
	}
	if want := []lifecycle.Following{{Image: 2, Subject: 0}, {Image: 3, Subject: 2}}; !slices.Equal(e.Followings, want) {
		t.Errorf("%v", e.Followings)
	}
}

func TestExplain(t *testing.T) {
	images := parseImages(t, "A[beta-1,prod-1]10 B[beta-2,prod-2]9 C[beta-3]8 D[x]1")
	e := lifecycle.Evaluate(policy(rule(1, "prod*", "1"), rule(2, "beta*", "1")), images, now)
	for i, want := range []string{
		"rule 1, selected true: number 2 of 2, the newest first, and 1 stay; shielded from 1",
		"rule 1, selected false: number 1 of 2, the newest first, and 1 stay; shielded from 1",
		"rule 2, selected false: number 1 of 3, the newest first, and 1 stay; shielded from 0",
		"no rule looks at it",
	} {
		x := e.Explain(i)
		got := x.Reason
		if x.Rule != nil {
			got = fmt.Sprintf("rule %d, selected %t: %s; shielded from %d", x.Rule.Priority, x.Selected, x.Reason, len(x.Shielded))
		}
		if got != want {
			t.Errorf("%s: %s, want %s", images[i].Digest, got, want)
		}
	}
	e = lifecycle.Evaluate(policy(rule(1, "any", "5d")), images, now)
	if got := e.Explain(0).Reason; got != "pushed 10.0 days ago, and the limit is 5" {
		t.Error(got)
	}
}
