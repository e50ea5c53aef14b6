package registry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/access"
	"berth/internal/meta"
	"berth/internal/registry"
)

// owner is the root user of the registry that sets a policy.
var owner = access.Request{
	Principal: access.Root(scope.Account, "key"), Action: "ecr:SetRepositoryPolicy", Resource: "*", ResourceAccount: scope.Account,
}

func TestRepositoryNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"ab": true, "a/b": true, "a-b": true, "a--b": true, "a_b": true, "a__b": true, "a.b/c-d_e": true, "0/1": true,
		strings.Repeat("a", 256): true,
		"":                       false, "a": false, "A": false, "aB": false, "a//b": false, "/ab": false, "ab/": false, "..": false, "a..b": false,
		"../ab": false, "a/../b": false, "a/./b": false, ".ab": false, "ab.": false, "-ab": false, "ab-": false, "a_.b": false,
		"a___b": false, "a b": false, "a\x00b": false, "ab\n": false, "a\\b": false, "é1": false, "a:b": false, "a%2fb": false,
		strings.Repeat("a", 257): false,
	} {
		if registry.ValidName(name) != ok {
			t.Errorf("ValidName(%q) = %v", name, !ok)
		}
	}
	b := newBench(t)
	_, err := b.CreateRepository(context.Background(), scope, registry.NewRepository{Name: "../etc"})
	wantRefusal(t, err, registry.InvalidParameter, "Invalid parameter at 'repositoryName' failed to satisfy constraint: "+
		"'must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''")
}

func TestRepositoryIsAsCreated(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	repo, err := b.CreateRepository(ctx, scope, registry.NewRepository{Name: "team/app"})
	if err != nil {
		t.Fatal(err)
	}
	if repo.ARN != "arn:aws:ecr:us-east-1:123456789012:repository/team/app" || repo.URI != "registry.test/team/app" ||
		repo.Mutability != registry.Mutable || repo.Encryption != "AES256" || repo.KMSKey != "" || repo.ScanOnPush {
		t.Errorf("%+v", repo)
	}
	_, err = b.CreateRepository(ctx, scope, registry.NewRepository{Name: "team/app"})
	wantRefusal(t, err, registry.RepositoryAlreadyExists, "The repository with name 'team/app' already exists in the registry with id '123456789012'")
	for _, tc := range []struct{ kind, key string }{{"AES256", "x"}, {"", "x"}, {"aes256", ""}} {
		_, err := b.CreateRepository(ctx, scope, registry.NewRepository{Name: "refused", Encryption: tc.kind, KMSKey: tc.key})
		wantRefusal(t, err, registry.InvalidParameter, "")
	}
}

func TestParseARN(t *testing.T) {
	for _, s := range []meta.Scope{scope, {Account: "000000000000", Region: "cn-north-1"}, {Account: "000000000000", Region: "us-gov-west-1"}} {
		got, name, err := registry.ParseARN(registry.ARN(s, "a/b"))
		if err != nil || got != s || name != "a/b" {
			t.Errorf("%v became %v %q: %v", s, got, name, err)
		}
	}
	for _, arn := range []string{
		"", "arn", "arn:aws:ecr:us-east-1:123456789012", "arn:aws:ecr:us-east-1:123456789012:repository/", "arn:aws:ecr:us-east-1:123456789012:app",
		"arn:aws:s3:us-east-1:123456789012:repository/app", "arn:aws:ecr::123456789012:repository/app", "arn:aws:ecr:us-east-1:12345:repository/app",
		"xrn:aws:ecr:us-east-1:123456789012:repository/app", "arn:aws:ecr:us-east-1:123456789012:repository/../app",
		"arn:aws:ecr:us-east-1:123456789012:repository/app:x", "arn:aws:ecr:us-east-1:12345678901x:repository/app",
		"arn:aws-cn:ecr:us-east-1:123456789012:repository/app", " arn:aws:ecr:us-east-1:123456789012:repository/app", "arn:aws:ecr:us-east-1:123456789012:repository/app\n",
	} {
		_, _, err := registry.ParseARN(arn)
		wantRefusal(t, err, registry.InvalidParameter, "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'")
	}
}

func FuzzParseARN(f *testing.F) {
	f.Add("arn:aws:ecr:us-east-1:123456789012:repository/a/b")
	f.Add("arn:aws:ecr:::repository/")
	f.Fuzz(func(t *testing.T, arn string) {
		s, name, err := registry.ParseARN(arn)
		if err != nil {
			return
		}
		if !registry.ValidName(name) || registry.ARN(s, name) != arn {
			t.Fatalf("%q became %+v %q", arn, s, name)
		}
	})
}

func tags(n int, prefix string) (out []meta.ResourceTag) {
	for i := range n {
		out = append(out, meta.ResourceTag{Key: fmt.Sprintf("%s%d", prefix, i), Value: "v"})
	}
	return out
}

func TestResourceTagLimits(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	one := func(key, value string) []meta.ResourceTag { return []meta.ResourceTag{{Key: key, Value: value}} }
	for name, tc := range map[string]struct {
		tags []meta.ResourceTag
		code registry.Code
	}{
		"50":                 {tags(50, "k"), 0},
		"51":                 {tags(51, "k"), registry.TooManyTags},
		"longest":            {one(strings.Repeat("é", 128), strings.Repeat("é", 256)), 0},
		"no value":           {one("k", ""), 0},
		"key too long":       {one(strings.Repeat("k", 129), ""), registry.InvalidTagParameter},
		"value too long":     {one("k", strings.Repeat("v", 257)), registry.InvalidTagParameter},
		"no key":             {one("", "v"), registry.InvalidTagParameter},
		"reserved":           {one("aws:x", "v"), registry.InvalidTagParameter},
		"reserved, any case": {one("AwS:x", "v"), registry.InvalidTagParameter},
		"control character":  {one("k", "a\x00"), registry.InvalidTagParameter},
		"line break":         {one("k\n", ""), registry.InvalidTagParameter},
		"not UTF-8":          {one("k\xff", ""), registry.InvalidTagParameter},
		"markup":             {one("<k>", ""), registry.InvalidTagParameter},
		"every character":    {one("aZ0 _.:/=+-@", "aZ0 _.:/=+-@ đ漢"), 0},
		"twice":              {append(one("k", "1"), one("k", "2")...), registry.InvalidTagParameter},
	} {
		t.Run(name, func(t *testing.T) {
			repo := "new" + strings.ToLower(strings.NewReplacer(" ", "", ",", "", "-", "").Replace(name))
			_, created := b.CreateRepository(ctx, scope, registry.NewRepository{Name: repo, Tags: tc.tags})
			b.create("old" + repo)
			for _, err := range []error{created, b.TagResource(ctx, scope, "old"+repo, tc.tags)} {
				if tc.code == 0 {
					if err != nil {
						t.Error(err)
					}
				} else {
					wantRefusal(t, err, tc.code, "")
				}
			}
			if _, err := b.Repository(ctx, scope, repo); (err == nil) != (tc.code == 0) {
				t.Errorf("the repository: %v", err)
			}
			if got, err := b.ResourceTags(ctx, scope, "old"+repo); err != nil || (tc.code != 0 && len(got) != 0) {
				t.Errorf("kept %d tags: %v", len(got), err)
			}
		})
	}
	// Replacing at the limit is fine; going over it changes nothing.
	if err := b.TagResource(ctx, scope, "app", tags(50, "k")); err != nil {
		t.Fatal(err)
	}
	if err := b.TagResource(ctx, scope, "app", one("k0", "changed")); err != nil {
		t.Error(err)
	}
	wantRefusal(t, b.TagResource(ctx, scope, "app", append(one("k0", "again"), one("more", "")...)), registry.TooManyTags, "")
	if err := b.UntagResource(ctx, scope, "app", []string{"k1", "none", "k1"}); err != nil {
		t.Error(err)
	}
	got, err := b.ResourceTags(ctx, scope, "app")
	if err != nil || len(got) != 49 || got[0] != (meta.ResourceTag{Key: "k0", Value: "changed"}) {
		t.Errorf("%d tags, first %v: %v", len(got), got[0], err)
	}
}

// Any history of tagging is that of a map.
func TestResourceTagsAreAMap(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	model := map[string]string{}
	key := rapid.SampledFrom([]string{"a", "b", "A", "é", "a:b", " "})
	rapid.Check(t, func(t *rapid.T) {
		k, v := key.Draw(t, "key"), rapid.StringMatching(`[\p{L}\p{N} _.:/=+@-]{0,3}`).Draw(t, "value")
		if rapid.Bool().Draw(t, "set") {
			if err := b.TagResource(ctx, scope, "app", []meta.ResourceTag{{Key: k, Value: v}}); err != nil {
				t.Fatal(err)
			}
			model[k] = v
		} else {
			if err := b.UntagResource(ctx, scope, "app", []string{k}); err != nil {
				t.Fatal(err)
			}
			delete(model, k)
		}
		got, err := b.ResourceTags(ctx, scope, "app")
		if err != nil || len(got) != len(model) {
			t.Fatalf("%v, want %v: %v", got, model, err)
		}
		for _, tag := range got {
			if want, ok := model[tag.Key]; !ok || want != tag.Value {
				t.Fatalf("%v, want %v", got, model)
			}
		}
	})
}

func TestPolicies(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	const lifecycle = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`
	const policy = `{ "Version":"2012-10-17", "Statement":[{"Sid":"x","Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`
	noLifecycle := "Lifecycle policy does not exist for the repository with name 'app' in the registry with id '123456789012'"
	noPolicy := "Repository policy does not exist for the repository with name 'app' in the registry with id '123456789012'"
	for _, get := range []func() error{
		func() error { _, err := b.LifecyclePolicy(ctx, scope, "app"); return err },
		func() error { _, err := b.DeleteLifecyclePolicy(ctx, scope, "app"); return err },
	} {
		wantRefusal(t, get(), registry.LifecyclePolicyNotFound, noLifecycle)
	}
	for _, get := range []func() error{
		func() error { _, err := b.Policy(ctx, scope, "app"); return err },
		func() error { _, err := b.DeletePolicy(ctx, scope, "app"); return err },
	} {
		wantRefusal(t, get(), registry.RepositoryPolicyNotFound, noPolicy)
	}
	if _, err := b.PutLifecyclePolicy(ctx, scope, "app", lifecycle); err != nil {
		t.Fatal(err)
	}
	if _, err := b.SetPolicy(ctx, scope, "app", policy, owner, false); err != nil {
		t.Fatal(err)
	}
	// A text that is refused leaves the one before it.
	_, err := b.PutLifecyclePolicy(ctx, scope, "app", `{"rules":[]}`)
	wantRefusal(t, err, registry.InvalidParameter, "")
	_, err = b.SetPolicy(ctx, scope, "app", `{}`, owner, false)
	wantRefusal(t, err, registry.InvalidParameter, "")
	if p, err := b.LifecyclePolicy(ctx, scope, "app"); err != nil || p.Text != lifecycle {
		t.Errorf("%q, %v", p.Text, err)
	}
	if p, err := b.Policy(ctx, scope, "app"); err != nil || p != policy { // to the byte
		t.Errorf("%q, %v", p, err)
	}
	if p, err := b.DeleteLifecyclePolicy(ctx, scope, "app"); err != nil || p.Text != lifecycle {
		t.Errorf("%q, %v", p.Text, err)
	}
	if p, err := b.DeletePolicy(ctx, scope, "app"); err != nil || p != policy {
		t.Errorf("%q, %v", p, err)
	}
}
