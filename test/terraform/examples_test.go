package terraform_test

import (
	"testing"
)

// example says what an example asks for, written down anew rather than derived from the module.
type example struct {
	counts   counts
	content  content
	warnings []string
}

func exampleTable(t *testing.T) map[string]example {
	common := func(environment, component string) func(*repository) {
		pairs := []string{"Environment", environment, "ManagedBy", "terraform"}
		if component != "" {
			pairs = append(pairs, "Component", component)
		}
		return tagged(pairs...)
	}
	withKey := encrypted("arn:aws:kms:ap-southeast-1:123456789012:key/xxxxx")
	return map[string]example{
		"basic": {
			counts: counts{Add: 4},
			content: content{Repositories: map[string]repository{
				"flowise-server": repo("flowise-server", common("dev", "")),
				"flowise-ui":     repo("flowise-ui", common("dev", "")),
			}, Rules: map[string]cacheRule{}},
		},
		"advanced": {
			counts: counts{Add: 5},
			content: content{Repositories: map[string]repository{
				"app-backend":  repo("app-backend", immutable, keeps(50, 3), withKey, common("production", "backend")),
				"app-frontend": repo("app-frontend", keeps(20, 7), withKey, common("production", "frontend")),
			}, Rules: map[string]cacheRule{"docker-hub": upstream("registry-1.docker.io")}},
			warnings: []string{
				`pull_through_cache_rules without credential_arn: "docker-hub" (registry-1.docker.io).`,
				`kms_key_arn does not end in the id of a KMS key`,
			},
		},
		"cross-account": {
			counts: counts{Add: 3},
			content: content{Repositories: map[string]repository{
				"shared-app": repo("shared-app", tagged("ManagedBy", "terraform"), policy(t, crossAccountPolicy)),
			}, Rules: map[string]cacheRule{}},
		},
		"pull-through-cache": {
			counts: counts{Add: 3},
			content: content{Repositories: map[string]repository{}, Rules: map[string]cacheRule{
				"docker-hub": upstream("registry-1.docker.io"), "quay": upstream("quay.io"), "gcr": upstream("gcr.io"),
			}},
			warnings: []string{
				`pull_through_cache_rules without credential_arn: "docker-hub" (registry-1.docker.io).`,
				`an upstream that Amazon ECR does not support: "gcr" (gcr.io).`,
			},
		},
		"terraform-eks/environments/dev": {
			counts: counts{Add: 5},
			content: content{Repositories: map[string]repository{
				"flowise-server": repo("flowise-server", keeps(20, 3), common("dev", "server")),
				"flowise-ui":     repo("flowise-ui", keeps(20, 3), common("dev", "ui")),
			}, Rules: map[string]cacheRule{"quay": upstream("quay.io")}},
		},
		"terraform-eks/environments/production": {
			counts: counts{Add: 4},
			content: content{Repositories: map[string]repository{
				"flowise-server": repo("flowise-server", immutable, keeps(100, 1), encrypted(awsManagedKey), common("production", "server")),
				"flowise-ui":     repo("flowise-ui", immutable, keeps(100, 1), encrypted(awsManagedKey), common("production", "ui")),
			}, Rules: map[string]cacheRule{}},
		},
	}
}

// awsManagedKey is what a repository with KMS and no key of its own reports.
const awsManagedKey = "the key aws/ecr"

const crossAccountPolicy = `{
	"Version": "2012-10-17",
	"Statement": [{
		"Sid": "AllowCrossAccountPull",
		"Effect": "Allow",
		"Principal": {"AWS": "arn:aws:iam::123456789012:root"},
		"Action": ["ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage", "ecr:BatchCheckLayerAvailability"]
	}]
}`

// testExamples takes every example through its life with Terraform on one server and with the native engine on
// another, and compares the two at every step.
func testExamples(t *testing.T, l *lab) {
	for name, want := range exampleTable(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := l.newBench(t).at("examples/" + name)
			other := newServer(t)

			b.tf(0, "init")
			said := b.tf(0, "plan", "-out=plan.bin")
			contains(t, "terraform plan", said.Stdout+said.Stderr, want.warnings...)
			theirPlan := plan(t, b.tf(0, "show", "-json", "plan.bin").Stdout)
			ours := b.native(other, 0, "plan", ".", "--json")
			contains(t, "berth plan", ours.Stderr, want.warnings...)
			ourPlan := plan(t, ours.Stdout)
			same(t, "counts of terraform plan", theirPlan.count(), want.counts)
			same(t, "counts of berth plan", ourPlan.count(), want.counts)
			same(t, "plans, berth's as terraform's", ourPlan.changes(), theirPlan.changes())
			same(t, "output changes, berth's as terraform's", ourPlan.OutputChanges, theirPlan.OutputChanges)

			b.tf(0, "apply", "plan.bin")
			same(t, "registry after terraform apply", read(t, b.server), want.content)
			b.converged()
			same(t, "counts of berth apply", b.appliedNatively(other), want.counts)
			native := read(t, other)
			if owners := native.owners(); len(owners) != len(want.content.Repositories) {
				t.Errorf("repositories with the tag %s: %v", ownerTag, owners)
			}
			same(t, "registry after berth apply", native, want.content)
			b.native(other, 0, "plan", ".", "--detailed-exitcode")

			b.sameOutputs(other)
			if len(want.content.Repositories) > 0 {
				b.adopted()
			}

			b.tf(0, "destroy", "-auto-approve")
			b.native(other, 0, "destroy", ".", "--auto-approve")
			for program, s := range map[string]content{"terraform": read(t, b.server), "berth": read(t, other)} {
				if !s.empty() {
					t.Errorf("%s destroy leaves %s", program, indented(t, s))
				}
			}
		})
	}
}
