package terraform_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"berth/internal/server/servertest"
)

const (
	secretA = "arn:aws:secretsmanager:ap-southeast-1:111122223333:secret:ecr-pullthroughcache/a-AbCdEf"
	secretB = "arn:aws:secretsmanager:ap-southeast-1:111122223333:secret:ecr-pullthroughcache/b-AbCdEf"

	policyA = `{"Version":"2012-10-17","Statement":[{"Sid":"Pull","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":["ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"]}]}`
	// policyA again: other order of keys and actions, a list of one, the account's short name, white space.
	policyA2 = `{ "Statement": [{"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"], "Principal":{"AWS":["123456789012"]}, "Effect":"Allow", "Sid":"Pull"}], "Version":"2012-10-17" }`
	policyB  = `{"Version":"2012-10-17","Statement":[{"Sid":"Pull","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::210987654321:root"},"Action":"ecr:BatchGetImage"}]}`
)

// A step is a change of the configuration, and all that follows from it.
type step struct {
	name    string
	inputs  string            // of the module
	actions map[string]string // of terraform's plan
	writes  []string          // operations that terraform calls, sorted
	add     counts            // as terraform counts
	native  counts            // as berth counts: a changed lifecycle policy is one change, not a destruction and a creation
	allow   []string          // replacements that berth is told to make
	left    []string          // cache rules that berth mentions and leaves: they carry no tag, so nobody knows whose they are
	content content
}

// testChanges changes every attribute of the module, adds and removes every kind of resource, and looks after each
// step at the plan, at the calls, at the registry, and at the plan that follows. Each attribute has a repository of
// its own, so that nothing changes but what is expected to.
func testChanges(t *testing.T, l *lab) {
	b := l.newBench(t)
	other := newServer(t)
	for _, s := range []*servertest.Server{b.server, other} {
		s.Secret("ecr-pullthroughcache/a-AbCdEf", `{"username":"u","accessToken":"a"}`)
		s.Secret("ecr-pullthroughcache/b-AbCdEf", `{"username":"u","accessToken":"b"}`)
	}
	for i, s := range changeSteps(t) {
		done := t.Run(s.name, func(t *testing.T) {
			b := *b
			b.T = t
			b.write("main.tf", "module \"ecr\" {\n  source = \"./modules/ecr\"\n"+s.inputs+"\n}\n")
			if i == 0 {
				b.tf(0, "init")
			}
			if s.actions != nil {
				b.samePlans(other, s.left)
			}
			b.lane.front.writes()
			applied := b.apply()
			same(t, "counts of terraform apply", applied.counts, s.add)
			if s.actions != nil {
				same(t, "actions of terraform's plan", applied.actions, s.actions)
				same(t, "calls", b.lane.front.writes(), s.writes)
			}
			same(t, "registry after terraform apply", read(t, b.server), s.content)
			b.converged()

			args := []string{}
			for _, address := range s.allow {
				args = append(args, "--allow-replace", address)
			}
			if len(args) > 0 {
				contains(t, "berth apply", b.native(other, 1, "apply", ".", "--auto-approve").Stderr, "--allow-replace")
			}
			same(t, "counts of berth apply", b.appliedNatively(other, args...), s.native)
			if len(s.left) > 0 {
				contains(t, "berth plan", b.native(other, 0, "plan", ".").Stdout,
					"cache rules that are not in the configuration stay as they are: "+strings.Join(s.left, ", "))
				for _, prefix := range s.left {
					deleteRule(t, other, prefix)
				}
			}
			native := read(t, other)
			native.owners()
			same(t, "registry after berth apply", native, s.content)
			b.native(other, 0, "plan", ".", "--detailed-exitcode")
		})
		if !done {
			return // later steps start from what this one should have left
		}
	}
	b.healed(other)
	b.credentialTaken(other)
}

func changeSteps(t *testing.T) []step {
	team := func(value string) func(*repository) { return tagged("Team", value, "Stage", "dev") }
	role := "arn:aws:iam::123456789012:role/ecr-pull"
	private := "210987654321.dkr.ecr.eu-west-1.amazonaws.com"
	return []step{{
		name: "create",
		inputs: `
			repositories = {
				"count"      = {}
				"days"       = {}
				"gone"       = {}
				"mutability" = {}
				"policy"     = { repository_policy = ` + quoted(policyA) + ` }
				"policy-new" = {}
				"policy-old" = { repository_policy = ` + quoted(policyA) + ` }
				"same"       = { repository_policy = ` + quoted(policyA) + ` }
				"scan"       = {}
				"tags"       = { tags = { Team = "own", Kept = "1", Changed = "before", Removed = "x" } }
			}
			common_tags = { Team = "one", Stage = "dev" }
			pull_through_cache_rules = {
				"gone"   = { upstream_registry_url = "public.ecr.aws" }
				"host"   = { upstream_registry_url = "quay.io" }
				"login"  = { upstream_registry_url = "registry-1.docker.io", credential_arn = "` + secretA + `" }
				"prefix" = { upstream_registry_url = "quay.io", upstream_repository_prefix = "team" }
				"role"   = { upstream_registry_url = "` + private + `", custom_role_arn = "` + role + `" }
			}`,
		add:    counts{Add: 28},
		native: counts{Add: 28},
		content: content{
			Repositories: map[string]repository{
				"count":      repo("count", team("one")),
				"days":       repo("days", team("one")),
				"gone":       repo("gone", team("one")),
				"mutability": repo("mutability", team("one")),
				"policy":     repo("policy", team("one"), policy(t, policyA)),
				"policy-new": repo("policy-new", team("one")),
				"policy-old": repo("policy-old", team("one"), policy(t, policyA)),
				"same":       repo("same", team("one"), policy(t, policyA)),
				"scan":       repo("scan", team("one")),
				"tags":       repo("tags", team("own"), tagged("Kept", "1", "Changed", "before", "Removed", "x")),
			},
			Rules: map[string]cacheRule{
				"gone": upstream("public.ecr.aws"), "host": upstream("quay.io"),
				"login":  {Registry: account, Upstream: "registry-1.docker.io", Credential: secretA},
				"prefix": {Registry: account, Upstream: "quay.io", Prefix: "team"},
				"role":   {Registry: account, Upstream: private, Role: role},
			},
		},
	}, {
		name: "change",
		inputs: `
			repositories = {
				"count"      = { max_image_count = 31 }
				"days"       = { untagged_days = 8 }
				"mutability" = { image_tag_mutability = "IMMUTABLE" }
				"new"        = {}
				"policy"     = { repository_policy = ` + quoted(policyB) + ` }
				"policy-new" = { repository_policy = ` + quoted(policyA) + ` }
				"policy-old" = {}
				"same"       = { repository_policy = ` + quoted(policyA2) + ` }
				"scan"       = { scan_on_push = false }
				"tags"       = { tags = { Team = "own", Kept = "1", Changed = "after", Added = "y" } }
			}
			common_tags = { Team = "one", Stage = "dev" }
			pull_through_cache_rules = {
				"host"   = { upstream_registry_url = "registry.k8s.io" }
				"login"  = { upstream_registry_url = "registry-1.docker.io", credential_arn = "` + secretB + `" }
				"new"    = { upstream_registry_url = "public.ecr.aws" }
				"prefix" = { upstream_registry_url = "quay.io", upstream_repository_prefix = "other" }
				"role"   = { upstream_registry_url = "` + private + `", custom_role_arn = "` + role + `-2" }
			}`,
		actions: map[string]string{
			address("lifecycle_policy", "count"):         "replace",
			address("lifecycle_policy", "days"):          "replace",
			address("lifecycle_policy", "gone"):          "delete",
			address("lifecycle_policy", "new"):           "create",
			address("pull_through_cache_rule", "gone"):   "delete",
			address("pull_through_cache_rule", "host"):   "replace",
			address("pull_through_cache_rule", "login"):  "update",
			address("pull_through_cache_rule", "new"):    "create",
			address("pull_through_cache_rule", "prefix"): "replace",
			address("pull_through_cache_rule", "role"):   "update",
			address("repository", "gone"):                "delete",
			address("repository", "mutability"):          "update",
			address("repository", "new"):                 "create",
			address("repository", "scan"):                "update",
			address("repository", "tags"):                "update",
			address("repository_policy", "policy"):       "update",
			address("repository_policy", "policy-new"):   "create",
			address("repository_policy", "policy-old"):   "delete",
		},
		writes: times(map[string]int{
			"CreatePullThroughCacheRule": 3, "CreateRepository": 1, "DeleteLifecyclePolicy": 3, "DeletePullThroughCacheRule": 3,
			"DeleteRepository": 1, "DeleteRepositoryPolicy": 1, "PutImageScanningConfiguration": 1, "PutImageTagMutability": 1,
			"PutLifecyclePolicy": 3, "SetRepositoryPolicy": 2, "TagResource": 1, "UntagResource": 1, "UpdatePullThroughCacheRule": 2,
		}),
		add:    counts{Add: 8, Change: 6, Destroy: 8},
		native: counts{Add: 6, Change: 8, Destroy: 5},
		allow:  []string{address("pull_through_cache_rule", "host"), address("pull_through_cache_rule", "prefix")},
		left:   []string{"gone"},
		content: content{
			Repositories: map[string]repository{
				"count":      repo("count", team("one"), keeps(31, 7)),
				"days":       repo("days", team("one"), keeps(30, 8)),
				"mutability": repo("mutability", team("one"), immutable),
				"new":        repo("new", team("one")),
				"policy":     repo("policy", team("one"), policy(t, policyB)),
				"policy-new": repo("policy-new", team("one"), policy(t, policyA)),
				"policy-old": repo("policy-old", team("one")),
				"same":       repo("same", team("one"), policy(t, policyA)),
				"scan":       repo("scan", team("one"), unscanned),
				"tags":       repo("tags", team("own"), tagged("Kept", "1", "Changed", "after", "Added", "y")),
			},
			Rules: map[string]cacheRule{
				"host":   upstream("registry.k8s.io"),
				"login":  {Registry: account, Upstream: "registry-1.docker.io", Credential: secretB},
				"new":    upstream("public.ecr.aws"),
				"prefix": {Registry: account, Upstream: "quay.io", Prefix: "other"},
				"role":   {Registry: account, Upstream: private, Role: role + "-2"},
			},
		},
	}, {
		// Back to the defaults, under other common tags, which are a change of every repository.
		name: "back",
		inputs: `
			repositories = {
				"count"      = { max_image_count = null }
				"mutability" = { image_tag_mutability = "MUTABLE" }
				"scan"       = { scan_on_push = true }
				"tags"       = { tags = null }
			}
			common_tags = { Team = "two" }
			pull_through_cache_rules = {
				"login" = { upstream_registry_url = "registry-1.docker.io", credential_arn = "` + secretB + `" }
			}`,
		add:    counts{Add: 1, Change: 4, Destroy: 20},
		native: counts{Change: 5, Destroy: 15},
		left:   []string{"host", "new", "prefix", "role"},
		content: content{
			Repositories: map[string]repository{
				"count":      repo("count", tagged("Team", "two")),
				"mutability": repo("mutability", tagged("Team", "two")),
				"scan":       repo("scan", tagged("Team", "two")),
				"tags":       repo("tags", tagged("Team", "two")),
			},
			Rules: map[string]cacheRule{"login": {Registry: account, Upstream: "registry-1.docker.io", Credential: secretB}},
		},
	}, {
		name: "no tags",
		inputs: `
			repositories = {
				"count"      = {}
				"mutability" = {}
				"scan"       = {}
				"tags"       = {}
			}
			pull_through_cache_rules = {
				"login" = { upstream_registry_url = "registry-1.docker.io", credential_arn = "` + secretB + `" }
			}`,
		add:    counts{Change: 4},
		native: counts{Change: 4},
		content: content{
			Repositories: map[string]repository{
				"count": repo("count"), "mutability": repo("mutability"), "scan": repo("scan"), "tags": repo("tags"),
			},
			Rules: map[string]cacheRule{"login": {Registry: account, Upstream: "registry-1.docker.io", Credential: secretB}},
		},
	}}
}

// samePlans compares what the two programs plan. They differ in two things: Terraform's provider replaces a lifecycle
// policy where a single call changes it, and the native engine leaves cache rules alone that the configuration no
// longer names.
func (b *bench) samePlans(other *servertest.Server, left []string) {
	b.Helper()
	b.tf(0, "plan", "-out=plan.bin")
	theirs := plan(b, b.tf(0, "show", "-json", "plan.bin").Stdout).changes()
	ours := plan(b, b.native(other, 0, "plan", ".", "--json").Stdout).changes()
	for _, prefix := range left {
		rule := address("pull_through_cache_rule", prefix)
		same(b, "terraform's actions for the rule "+prefix, theirs[rule].Actions, []string{"delete"})
		delete(theirs, rule)
	}
	for at, their := range theirs {
		our := ours[at]
		if strings.HasPrefix(at, "module.ecr.aws_ecr_lifecycle_policy.") && len(their.Actions) == 2 {
			same(b, "berth's actions for "+at, our.Actions, []string{"update"})
			our.Actions, our.Unknown = their.Actions, their.Unknown
			for _, name := range their.Unknown {
				delete(our.After, name)
			}
			ours[at] = our
		}
	}
	same(b, "plans, berth's as terraform's", ours, theirs)
}

// healed changes things behind the back of both programs; each notices, and puts them back.
func (b *bench) healed(other *servertest.Server) {
	b.Helper()
	want := read(b, b.server)
	for _, s := range []*servertest.Server{b.server, other} {
		ctx, client := b.Context(), s.ECR()
		_, err1 := client.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: aws.String("mutability"), Force: true})
		_, err2 := client.DeleteLifecyclePolicy(ctx, &ecr.DeleteLifecyclePolicyInput{RepositoryName: aws.String("count")})
		_, err3 := client.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{RepositoryName: aws.String("scan"), ImageTagMutability: "IMMUTABLE"})
		if err := errors.Join(err1, err2, err3); err != nil {
			b.Fatal(err)
		}
		deleteRule(b, s, "login")
	}
	applied := b.apply()
	same(b, "what terraform heals", applied.actions, map[string]string{
		address("repository", "mutability"): "create", address("lifecycle_policy", "mutability"): "create",
		address("lifecycle_policy", "count"): "create", address("repository", "scan"): "update",
		address("pull_through_cache_rule", "login"): "create",
	})
	same(b, "registry healed by terraform", read(b, b.server), want)
	b.converged()

	same(b, "what berth heals", b.appliedNatively(other), counts{Add: 4, Change: 1})
	native := read(b, other)
	native.owners()
	same(b, "registry healed by berth", native, want)
}

// credentialTaken takes the credential from a cache rule, which the API cannot: Terraform fails in every apply until it
// is told to replace the rule, as modules/ecr/README.md says. The native engine replaces it, when that is allowed.
func (b *bench) credentialTaken(other *servertest.Server) {
	b.Helper()
	rule := address("pull_through_cache_rule", "login")
	b.write("main.tf", `module "ecr" {
		source = "./modules/ecr"
		pull_through_cache_rules = { "login" = { upstream_registry_url = "registry-1.docker.io" } }
	}`)
	before := read(b, b.server).Rules["login"]
	applied := b.applying(1)
	same(b, "terraform's action", applied.actions[rule], "update")
	contains(b, "terraform apply", joined(applied.errors), "Please set either credential arn or role arn to update the credentials")
	same(b, "cache rule after terraform apply", read(b, b.server).Rules["login"], before)
	again := b.apply("-replace=" + rule)
	same(b, "terraform's actions when it is told to replace", again.actions, map[string]string{rule: "replace"})
	want := content{Repositories: map[string]repository{}, Rules: map[string]cacheRule{"login": upstream("registry-1.docker.io")}}
	same(b, "registry after the replacement", read(b, b.server), want)
	b.converged()

	contains(b, "berth apply", b.native(other, 1, "apply", ".", "--auto-approve").Stderr, "--allow-replace")
	b.appliedNatively(other, "--allow-replace", rule)
	same(b, "registry after berth's replacement", read(b, other), want)
}

func deleteRule(t testing.TB, s *servertest.Server, prefix string) {
	t.Helper()
	_, err := s.ECR().DeletePullThroughCacheRule(t.Context(), &ecr.DeletePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String(prefix)})
	if err != nil {
		t.Fatal(err)
	}
}

// quoted is a text as an HCL literal.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "${", "$${").Replace(text) + `"`
}

// times repeats each operation.
func times(operations map[string]int) []string {
	var list []string
	for name, n := range operations {
		list = append(list, slices.Repeat([]string{name}, n)...)
	}
	slices.Sort(list)
	return list
}

func joined(lines []string) string { return strings.Join(lines, "\n") }
