package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"berth/internal/module/desired"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// registryState is everything in a registry that the module manages, in comparable form: without what differs from
// one creation to the next, and without the tag that only the native engine sets.
func registryState(t *testing.T, s *servertest.Server) map[string]any {
	t.Helper()
	ctx, client := context.Background(), s.ECR()
	state := map[string]any{}
	repos, err := client.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range repos.Repositories {
		tags, err := client.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: r.RepositoryArn})
		if err != nil {
			t.Fatal(err)
		}
		byKey := map[string]string{}
		for _, tag := range tags.Tags {
			byKey[*tag.Key] = *tag.Value
		}
		delete(byKey, desired.OwnerTag)
		lifecycle, err := client.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: r.RepositoryName})
		if err != nil {
			t.Fatal(err)
		}
		policy, err := client.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: r.RepositoryName})
		if err != nil && !strings.Contains(err.Error(), "RepositoryPolicyNotFoundException") {
			t.Fatal(err)
		}
		text := ""
		if policy != nil {
			text = aws.ToString(policy.PolicyText)
		}
		state["repository "+*r.RepositoryName] = map[string]any{
			"arn": *r.RepositoryArn, "uri": *r.RepositoryUri, "registry": *r.RegistryId, "mutability": string(r.ImageTagMutability),
			"scan": r.ImageScanningConfiguration.ScanOnPush, "encryption": string(r.EncryptionConfiguration.EncryptionType),
			"key": aws.ToString(r.EncryptionConfiguration.KmsKey), "tags": byKey,
			"lifecycle": *lifecycle.LifecyclePolicyText, "policy": text,
		}
	}
	rules, err := client.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.PullThroughCacheRules {
		state["rule "+*r.EcrRepositoryPrefix] = map[string]any{
			"upstream": *r.UpstreamRegistryUrl, "registry": *r.RegistryId, "credential": aws.ToString(r.CredentialArn),
			"prefix": aws.ToString(r.UpstreamRepositoryPrefix),
		}
	}
	return state
}

// planFacts picks out of a plan in JSON what both programs say: for each address the actions and the known attributes
// that are not null.
func planFacts(t *testing.T, text string) map[string]any {
	t.Helper()
	var p struct {
		ResourceChanges []struct {
			Address string `json:"address"`
			Mode    string `json:"mode"`
			Change  struct {
				Actions []string       `json:"actions"`
				After   map[string]any `json:"after"`
			} `json:"change"`
		} `json:"resource_changes"`
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	facts := map[string]any{}
	for _, c := range p.ResourceChanges {
		if c.Mode != "managed" {
			continue
		}
		after := pruned(c.Change.After).(map[string]any)
		for _, name := range []string{"tags", "tags_all"} {
			if tags, ok := after[name].(map[string]any); ok {
				delete(tags, desired.OwnerTag)
			}
		}
		facts[c.Address] = map[string]any{"actions": c.Change.Actions, "after": after}
	}
	return facts
}

// pruned drops what is null from objects.
func pruned(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range x {
			if value != nil {
				out[key] = pruned(value)
			}
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, value := range x {
			out[i] = pruned(value)
		}
		return out
	}
	return v
}

func same(t *testing.T, what string, terraform, native any) {
	t.Helper()
	if !reflect.DeepEqual(terraform, native) {
		a, errA := json.MarshalIndent(terraform, "", " ")
		b, errB := json.MarshalIndent(native, "", " ")
		t.Errorf("%s differ (%v, %v)\nterraform: %s\nberth: %s", what, errA, errB, a, b)
	}
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// What Terraform with the real provider does and what the native engine does with the same directory: the same plan,
// the same registry, the same outputs; and each finds the work of the other complete.
func TestSameAsTerraform(t *testing.T) {
	terraform := testkit.Tool(t, "terraform")
	mirror := testkit.PluginMirror(t)
	for _, name := range []string{"basic", "advanced", "cross-account"} {
		t.Run(name, func(t *testing.T) {
			c, s := newConsole(t)
			t.Setenv(testkit.MirrorVariable, mirror)
			for _, dir := range []string{"modules/ecr", "examples/" + name} {
				if err := os.CopyFS(filepath.Join(c.dir, dir), os.DirFS(filepath.Join("..", "..", dir))); err != nil {
					t.Fatal(err)
				}
			}
			dir := filepath.Join(c.dir, "examples", name)
			env := testkit.TerraformEnv(t, s.Endpoint, s.Root.AccessKeyID, s.Root.SecretAccessKey, s.Region)
			tf := func(args ...string) string {
				t.Helper()
				return testkit.Command{Path: terraform, Args: args, Dir: dir, Env: env, Timeout: 5 * time.Minute}.Run(t).Stdout
			}
			tf("init", "-no-color")
			tf("plan", "-no-color", "-out=plan.bin")
			theirPlan := planFacts(t, tf("show", "-json", "plan.bin"))
			c.ok(0, "plan", dir, "--json")
			ourPlan := planFacts(t, c.stdout)
			if len(theirPlan) == 0 {
				t.Error("terraform plans nothing, so nothing was compared")
			}
			same(t, "plans", theirPlan, ourPlan)

			tf("apply", "-no-color", "plan.bin")
			theirState, theirOutputs := registryState(t, s), decoded(t, tf("output", "-json"))
			// Terraform's repositories are its own until they are adopted, and then only a tag is missing.
			c.ok(1, "plan", dir)
			c.ok(0, "plan", dir, "--adopt", "--json")
			for address, change := range planFacts(t, c.stdout) {
				actions := change.(map[string]any)["actions"].([]string)
				if want := map[bool]string{true: "update", false: "no-op"}[strings.Contains(address, "aws_ecr_repository.this")]; actions[0] != want {
					t.Errorf("after terraform, %s: %s, want %s", address, actions, want)
				}
			}
			tf("destroy", "-no-color", "-auto-approve")
			if left := registryState(t, s); len(left) != 0 {
				t.Fatalf("terraform destroy left %v", left)
			}

			c.ok(0, "apply", dir, "--auto-approve")
			same(t, "registries", theirState, registryState(t, s))
			c.ok(0, "output", dir, "--json")
			same(t, "outputs", theirOutputs, decoded(t, c.stdout))
		})
	}
}
