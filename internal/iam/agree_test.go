package iam

import (
	"testing"

	"pgregory.net/rapid"

	"berth/internal/access"
	"berth/internal/access/policy"
)

// Whatever the policies are, those that tell say the same verdict as those that
// do not, and each of them is heard.
func TestTellingChangesNothing(t *testing.T) {
	policies := func(t *rapid.T, k kind, name string) (out []ready) {
		for range rapid.IntRange(0, 3).Draw(t, name) {
			d := &policy.Document{Version: policy.Version2012}
			for range rapid.IntRange(0, 2).Draw(t, name+" statements") {
				d.Statements = append(d.Statements, policy.Statement{
					Effect:    rapid.SampledFrom([]policy.Effect{policy.Allow, policy.Deny}).Draw(t, "effect"),
					Actions:   []string{rapid.SampledFrom([]string{"ecr:PutImage", "ecr:Put*", "ecr:ListImages"}).Draw(t, "action")},
					Resources: []string{"*"},
				})
			}
			out = append(out, ready{kind: k, Compiled: policy.Compile(d)})
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		c := compiled{policies(t, ofIdentity, "identity"), policies(t, ofBoundary, "boundary"), policies(t, ofSession, "session")}
		q := policy.Query{Action: "ecr:PutImage", Resource: "*"}
		heard := 0
		tell := telling(access.Principal{}, func(access.Finding) { heard++ })
		if got, want := c.verdict(q, tell), c.verdict(q, nil); got != want || heard != len(c.identity)+len(c.boundary)+len(c.session) {
			t.Fatalf("%d telling, %d not, %d heard", got, want, heard)
		}
	})
}
