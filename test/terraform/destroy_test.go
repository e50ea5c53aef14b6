package terraform_test

import (
	"slices"
	"testing"

	"berth/internal/server/servertest"
)

// block is a configuration with one module block.
func block(inputs string) string {
	return "module \"ecr\" {\n  source = \"./modules/ecr\"\n" + inputs + "\n}\n"
}

// testNonEmpty destroys repositories that hold images. Terraform refuses, but not before it has taken the lifecycle
// policy, and force_delete counts only when it was applied before, as modules/ecr/README.md says. The native engine
// refuses before it touches anything, and goes by the current configuration.
func testNonEmpty(t *testing.T, l *lab) {
	b := l.newBench(t)
	other := newServer(t)
	both := block(`repositories = { "app" = {}, "idle" = {} }`)
	b.write("main.tf", both)
	b.tf(0, "init")
	b.apply()
	b.appliedNatively(other)
	for _, s := range []*servertest.Server{b.server, other} {
		push(t, s, "app", "v1")
	}
	intact := content{Repositories: map[string]repository{"app": repo("app"), "idle": repo("idle")}, Rules: map[string]cacheRule{}}
	damaged := content{Repositories: map[string]repository{"app": repo("app", unguarded)}, Rules: map[string]cacheRule{}}

	refused := b.applying(1, "-destroy")
	contains(t, "terraform destroy", joined(refused.errors),
		"RepositoryNotEmptyException: The repository with name 'app' in registry with id '"+account+"' cannot be deleted because it still contains images",
		"consider using force_delete")
	same(t, "registry after terraform's refusal", read(t, b.server), damaged)
	same(t, "images after terraform's refusal", images(t, b.server, "app"), []string{"v1"})

	said := b.native(other, 1, "destroy", ".", "--auto-approve").Stderr
	contains(t, "berth destroy", said, `repository "app" still holds images, so it cannot be deleted: set force_delete = true or delete the images first`)
	native := read(t, other)
	native.owners()
	same(t, "registry after berth's refusal", native, intact)

	// force_delete in the apply that removes the repository: too late for Terraform, which goes by its state.
	b.write("main.tf", block(`force_delete = true`))
	b.applying(1)
	same(t, "images after terraform's second refusal", images(t, b.server, "app"), []string{"v1"})
	same(t, "what berth destroys with force_delete", b.appliedNatively(other), counts{Destroy: 4})
	if rest := read(t, other); !rest.empty() {
		t.Errorf("berth apply leaves %s", indented(t, rest))
	}

	// Applied first, it heals the lifecycle policy, and then counts.
	b.write("main.tf", block(`repositories = { "app" = {}, "idle" = {} }
		force_delete = true`))
	b.apply()
	same(t, "registry after terraform apply", read(t, b.server), intact)
	b.converged()
	b.apply("-destroy")
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("terraform destroy leaves %s", indented(t, rest))
	}
}

func unguarded(r *repository) { r.Lifecycle = nil }

// testEncryption changes the encryption, which replaces the repositories, in the same way for both programs.
func testEncryption(t *testing.T, l *lab) {
	const key = "arn:aws:kms:ap-southeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	b := l.newBench(t)
	other := newServer(t)
	inputs := `repositories = { "app" = { repository_policy = ` + quoted(policyA) + ` } }` + "\n"
	b.write("main.tf", block(inputs))
	b.tf(0, "init")
	b.apply()
	b.appliedNatively(other)
	for _, s := range []*servertest.Server{b.server, other} {
		push(t, s, "app", "v1")
	}

	// Both plan to replace the repository and with it its policies, and both refuse: there are images.
	encrypting := inputs + `encryption_type = "KMS"` + "\n" + `kms_key_arn = "` + key + `"` + "\n"
	b.write("main.tf", block(encrypting))
	b.tf(0, "plan", "-out=plan.bin")
	theirs, ours := b.tf(0, "show", "-json", "plan.bin").Stdout, b.native(other, 0, "plan", ".", "--json").Stdout
	same(t, "terraform's counts", plan(t, theirs).count(), counts{Add: 3, Destroy: 3})
	same(t, "berth's counts", plan(t, ours).count(), counts{Add: 3, Destroy: 3})
	same(t, "plans, berth's as terraform's", plan(t, ours).changes(), plan(t, theirs).changes())
	contains(t, "terraform apply", b.tf(1, "apply", "plan.bin").Stderr, "RepositoryNotEmptyException")
	contains(t, "berth apply", b.native(other, 1, "apply", ".", "--auto-approve").Stderr,
		`its encryption cannot be changed, and the replacement deletes its images`,
		`repository "app" still holds images, so it cannot be replaced`)
	for _, s := range []*servertest.Server{b.server, other} {
		same(t, "images after the refusal", images(t, s, "app"), []string{"v1"})
		same(t, "encryption after the refusal", read(t, s).Repositories["app"].Encryption, "AES256")
	}

	// With force_delete Terraform asks no further question. The native engine wants to be told in so many words.
	b.write("main.tf", block(inputs+"force_delete = true"))
	b.apply()
	b.write("main.tf", block(encrypting+"force_delete = true"))
	applied := b.apply()
	same(t, "terraform's actions", applied.actions, map[string]string{
		address("repository", "app"): "replace", address("lifecycle_policy", "app"): "replace", address("repository_policy", "app"): "replace",
	})
	contains(t, "berth apply", b.native(other, 1, "apply", ".", "--auto-approve").Stderr, "--allow-replace")
	same(t, "images after the refusal", images(t, other, "app"), []string{"v1"})
	same(t, "berth's counts", b.appliedNatively(other, "--allow-replace", address("repository", "app")), counts{Add: 3, Destroy: 3})
	b.converged()
	b.native(other, 0, "plan", ".", "--detailed-exitcode")
	want := content{Repositories: map[string]repository{"app": repo("app", encrypted(key), policy(t, policyA))}, Rules: map[string]cacheRule{}}
	for _, s := range []*servertest.Server{b.server, other} {
		got := read(t, s)
		got.owners()
		same(t, "registry after the replacement", got, want)
		same(t, "images after the replacement", images(t, s, "app"), []string{})
	}
}

// testErrors gives wrong inputs. What can be known is said while planning, with the name of the repository; what only
// the registry knows, while applying, and then the rest is there and the next apply continues.
func testErrors(t *testing.T, l *lab) {
	b := l.newBench(t)
	other := newServer(t)
	b.write("main.tf", block(`
		repositories = {
			"Bad/UPPER" = {}
			"good"      = {}
			"lower"     = { image_tag_mutability = "immutable" }
			"none"      = { max_image_count = 0 }
			"half"      = { untagged_days = 0.5 }
			"torn"      = { repository_policy = "{" }
		}
		encryption_type          = "aes256"
		kms_key_arn              = "alias/mine"
		pull_through_cache_rules = { "Hub" = { upstream_registry_url = "https://quay.io" } }`))
	b.tf(0, "init")
	messages := []string{
		`Rename: "Bad/UPPER"`, `Correct: "lower" ("immutable")`, `Correct: "none" (0)`, `Correct: "half" (0.5)`, `Correct: "torn"`,
		`encryption_type is "AES256" or "KMS", not "aes256"`, `kms_key_arn is null or the whole ARN of a key`,
		`Rename: "Hub"`, `without a scheme or a path. Correct: "Hub"`,
	}
	contains(t, "terraform plan", b.tf(1, "plan").Stderr, messages...)
	contains(t, "berth plan", b.native(other, 1, "plan", ".").Stderr, messages...)

	b.write("main.tf", block(`repositories = { "app" = {} }
		kms_key_arn = "arn:aws:kms:ap-southeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"`))
	contains(t, "terraform plan", b.tf(1, "plan").Stderr, `Repository "app": kms_key_arn has no effect with encryption_type "AES256".`)
	contains(t, "berth plan", b.native(other, 1, "plan", ".").Stderr, `repositories["app"]: kms_key_arn has no effect with encryption_type "AES256"`)
	for _, s := range []*servertest.Server{b.server, other} {
		if got := read(t, s); !got.empty() {
			t.Errorf("plans that failed made %s", indented(t, got))
		}
	}

	// A statement without a principal is JSON, but no repository policy.
	b.write("main.tf", block(`repositories = {
		"app"   = { repository_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "ecr:BatchGetImage" }] }) }
		"other" = {}
	}`))
	refused := b.applying(1)
	contains(t, "terraform apply", joined(refused.errors), "InvalidParameterException", "Invalid repository policy provided")
	contains(t, "berth apply", b.native(other, 1, "apply", ".", "--auto-approve").Stderr, "Invalid repository policy provided")
	b.write("main.tf", block(`repositories = { "app" = { repository_policy = `+quoted(policyA)+` }, "other" = {} }`))
	same(t, "terraform's actions after the correction", b.apply().actions, map[string]string{address("repository_policy", "app"): "create"})
	b.converged()
	b.appliedNatively(other)
	want := content{Repositories: map[string]repository{"app": repo("app", policy(t, policyA)), "other": repo("other")}, Rules: map[string]cacheRule{}}
	native := read(t, other)
	native.owners()
	same(t, "registry after terraform's correction", read(t, b.server), want)
	same(t, "registry after berth's correction", native, want)
}

// testInterrupted lets one call fail in the middle of the first apply: the next apply makes what is missing, and
// nothing that was made is lost.
func testInterrupted(t *testing.T, l *lab) {
	b := l.newBench(t)
	b.write("main.tf", block(`repositories = { "app" = {} }`))
	b.tf(0, "init")
	want := content{Repositories: map[string]repository{"app": repo("app")}, Rules: map[string]cacheRule{}}

	b.lane.front.refuse("PutLifecyclePolicy")
	contains(t, "terraform apply", joined(b.applying(1).errors), "AccessDeniedException: refused by the test")
	push(t, b.server, "app", "v1")
	b.lane.front.refuse("")
	same(t, "terraform's actions", b.apply().actions, map[string]string{address("lifecycle_policy", "app"): "create"})
	same(t, "registry after terraform", read(t, b.server), want)
	same(t, "images after terraform", images(t, b.server, "app"), []string{"v1"})

	// A repository whose creation could not be read back counts as broken: Terraform would replace it.
	b.write("main.tf", block(`repositories = { "app" = {}, "second" = {} }`))
	b.lane.front.refuse("ListTagsForResource")
	b.lane.front.writes()
	b.applying(1, "-refresh=false")
	b.lane.front.refuse("")
	if calls := b.lane.front.writes(); !slices.Contains(calls, "CreateRepository") {
		t.Fatalf("the repository was not created: %q", calls)
	}
	b.tf(0, "plan", "-out=plan.bin")
	same(t, "terraform's actions for the broken repository",
		plan(t, b.tf(0, "show", "-json", "plan.bin").Stdout).changes()[address("repository", "second")].Actions, []string{"delete", "create"})

	// The native engine has no state that could call it broken. Its own interruption ends in the same way.
	other := newServer(t)
	b.lane.front.lead(t, other.Endpoint)
	b.lane.front.refuse("PutLifecyclePolicy")
	through := *other
	through.Endpoint = b.lane.front.url
	contains(t, "berth apply", b.native(&through, 1, "apply", ".", "--auto-approve").Stderr, "refused by the test")
	b.lane.front.refuse("")
	push(t, other, "app", "v1")
	same(t, "what berth makes afterwards", b.appliedNatively(other), counts{Add: 2})
	want.Repositories["second"] = repo("second")
	native := read(t, other)
	native.owners()
	same(t, "registry after berth", native, want)
	same(t, "images after berth", images(t, other, "app"), []string{"v1"})
}
