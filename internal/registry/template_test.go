package registry_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/internal/access"
	"berth/internal/kms"
	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/registry"
)

const (
	templatePolicy    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`
	templateLifecycle = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`
	templateRole      = "arn:aws:iam::123456789012:role/creator"
)

func onPush(c registry.TemplateChange) registry.TemplateChange {
	c.AppliedFor = []string{registry.ForCreateOnPush}
	return c
}

func (b *bench) template(prefix string, c registry.TemplateChange) {
	b.t.Helper()
	if _, err := b.CreateTemplate(context.Background(), scope, prefix, c); err != nil {
		b.t.Fatal(err)
	}
}

func may([]access.Tag) error { return nil }

func TestTemplatesAreChecked(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat("k", 129)
	for name, tc := range map[string]struct {
		change registry.TemplateChange
		want   string
	}{
		"no use":        {registry.TemplateChange{}, "Invalid parameter at 'appliedFor' failed to satisfy constraint: 'Member must have length greater than or equal to 1'"},
		"use unknown":   {registry.TemplateChange{AppliedFor: []string{"PUSH"}}, "Invalid parameter at 'appliedFor' failed to satisfy constraint: 'Member must satisfy enum value set: [REPLICATION, PULL_THROUGH_CACHE, CREATE_ON_PUSH]'"},
		"use twice":     {registry.TemplateChange{AppliedFor: []string{"REPLICATION", "REPLICATION"}}, "Invalid parameter at 'appliedFor' failed to satisfy constraint: 'Member must have unique values'"},
		"mode":          {onPush(registry.TemplateChange{Mutability: &registry.Mutability{Mode: "FROZEN"}}), "Invalid parameter at 'imageTagMutability' failed to satisfy constraint: 'Member must satisfy enum value set: [IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]'"},
		"filters":       {onPush(registry.TemplateChange{Mutability: &registry.Mutability{Filters: []string{"a*"}}}), "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: 'ImageTagMutabilityExclusionFilters must be null when imageTagMutability is set as MUTABLE'"},
		"encryption":    {onPush(registry.TemplateChange{Encryption: &registry.Encryption{Kind: "ROT13"}}), "Invalid parameter at 'encryptionConfiguration.encryptionType' failed to satisfy constraint: 'Member must satisfy enum value set: [KMS, AES256, KMS_DSSE]'"},
		"key of AES256": {onPush(registry.TemplateChange{Encryption: &registry.Encryption{Kind: "AES256", Key: "k"}}), "Invalid parameter at 'encryptionConfiguration' failed to satisfy constraint: 'KMS key can't be set when encryption type is AES256'"},
		"tag": {onPush(registry.TemplateChange{ResourceTags: []meta.ResourceTag{{Key: long}}}),
			"Invalid parameter at 'resourceTags' failed to satisfy constraint: 'Tag key '" + long + "' must have 1 to 128 characters'"},
		"policy":          {onPush(registry.TemplateChange{Policy: ptr("{}")}), "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'"},
		"lifecycle":       {onPush(registry.TemplateChange{Lifecycle: ptr(strings.Repeat("x", 100))}), "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: Could not map policyString into LifecyclePolicy.'"},
		"role":            {onPush(registry.TemplateChange{CustomRoleARN: ptr("creator")}), "Invalid parameter at 'customRoleArn' failed to satisfy constraint: 'The role must be a role of the account 123456789012 of the registry'"},
		"role of another": {onPush(registry.TemplateChange{CustomRoleARN: ptr("arn:aws:iam::111122223333:role/creator")}), "Invalid parameter at 'customRoleArn' failed to satisfy constraint: 'The role must be a role of the account 123456789012 of the registry'"},
	} {
		_, err := b.CreateTemplate(t.Context(), scope, "prod", tc.change)
		var e *registry.Error
		if !errors.As(err, &e) || e.Code != registry.InvalidParameter || !strings.HasPrefix(e.Message, strings.TrimSuffix(tc.want, "'")) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
	many := make([]meta.ResourceTag, 51)
	for i := range many {
		many[i].Key = fmt.Sprint(i)
	}
	_, err := b.CreateTemplate(t.Context(), scope, "prod", onPush(registry.TemplateChange{ResourceTags: many}))
	wantRefusal(t, err, registry.InvalidParameter, "")
	if list, _, err := b.Templates(t.Context(), scope, nil, "", 10); err != nil || len(list) != 0 {
		t.Errorf("refused templates were kept: %v %v", list, err)
	}
}

func ptr[T any](v T) *T { return &v }

// A template takes defaults when it is made, an update changes what it names,
// and empty texts and lists remove.
func TestTemplateLives(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	made, err := b.CreateTemplate(ctx, scope, "prod", onPush(registry.TemplateChange{}))
	if err != nil {
		t.Fatal(err)
	}
	want := meta.CreationTemplate{
		Scope: scope, Prefix: "prod", Encryption: "AES256", Mutability: "MUTABLE", AppliedFor: []string{"CREATE_ON_PUSH"},
		CreatedAt: b.clock(), UpdatedAt: b.clock(),
	}
	if !reflect.DeepEqual(made, want) {
		t.Errorf("made\n%+v, want\n%+v", made, want)
	}
	_, err = b.CreateTemplate(ctx, scope, "prod", onPush(registry.TemplateChange{}))
	wantRefusal(t, err, registry.TemplateAlreadyExists, "The repository creation template with the prefix 'prod' already exists in the registry with id '123456789012'")

	b.advance(time.Minute)
	changed, err := b.UpdateTemplate(ctx, scope, "prod", registry.TemplateChange{
		Description: ptr("d"), Encryption: &registry.Encryption{Kind: "KMS"}, ResourceTags: []meta.ResourceTag{{Key: "a", Value: "b"}},
		Mutability: &registry.Mutability{Mode: registry.ImmutableWithExclusion, Filters: []string{"dev*"}}, Policy: ptr(templatePolicy),
		Lifecycle: ptr(templateLifecycle), AppliedFor: []string{"REPLICATION"}, CustomRoleARN: ptr(templateRole),
	})
	if err != nil {
		t.Fatal(err)
	}
	if changed.UpdatedAt.Equal(changed.CreatedAt) || changed.Description != "d" || changed.Policy != templatePolicy || changed.CustomRoleARN != templateRole {
		t.Errorf("changed %+v", changed)
	}
	same, err := b.UpdateTemplate(ctx, scope, "prod", registry.TemplateChange{})
	changed.CreatedAt, same.CreatedAt = changed.CreatedAt.UTC(), same.CreatedAt.UTC()
	changed.UpdatedAt, same.UpdatedAt = changed.UpdatedAt.UTC(), same.UpdatedAt.UTC()
	if err != nil || !reflect.DeepEqual(same, changed) {
		t.Errorf("an update of nothing gives\n%+v, %v, want\n%+v", same, err, changed)
	}
	filters, err := b.UpdateTemplate(ctx, scope, "prod", registry.TemplateChange{Mutability: &registry.Mutability{Filters: []string{"x*"}}})
	if err != nil || filters.Mutability != registry.ImmutableWithExclusion || fmt.Sprint(filters.MutabilityFilters) != "[x*]" {
		t.Errorf("new filters %+v, %v", filters, err)
	}
	cleared, err := b.UpdateTemplate(ctx, scope, "prod", registry.TemplateChange{
		Description: ptr(""), ResourceTags: []meta.ResourceTag{}, Mutability: &registry.Mutability{Mode: registry.Mutable}, Policy: ptr(""), Lifecycle: ptr(""), CustomRoleARN: ptr(""),
	})
	if err != nil || cleared.Description+cleared.Policy+cleared.Lifecycle+cleared.CustomRoleARN != "" || len(cleared.ResourceTags)+len(cleared.MutabilityFilters) != 0 ||
		cleared.Encryption != "KMS" || cleared.AppliedFor[0] != "REPLICATION" {
		t.Errorf("cleared %+v, %v", cleared, err)
	}
	_, err = b.UpdateTemplate(ctx, scope, "prod", registry.TemplateChange{AppliedFor: []string{}})
	wantRefusal(t, err, registry.InvalidParameter, "")

	const gone = "The repository creation template with the prefix 'prod' was not found in the registry with id '123456789012'"
	old, err := b.DeleteTemplate(ctx, scope, "prod")
	if err != nil || old.Prefix != "prod" {
		t.Errorf("deleted %+v, %v", old, err)
	}
	_, err = b.DeleteTemplate(ctx, scope, "prod")
	wantRefusal(t, err, registry.TemplateNotFound, gone)
	_, err = b.UpdateTemplate(ctx, scope, "prod", registry.TemplateChange{})
	wantRefusal(t, err, registry.TemplateNotFound, gone)
}

func TestTemplatesArePaged(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for i := range 50 {
		b.template(fmt.Sprintf("p%02d", i), onPush(registry.TemplateChange{}))
	}
	_, err := b.CreateTemplate(ctx, scope, "p50", onPush(registry.TemplateChange{}))
	wantRefusal(t, err, registry.LimitExceeded, "The registry with id '123456789012' has the maximum of 50 repository creation templates")
	var got []string
	for cursor := ""; ; {
		list, next, err := b.Templates(ctx, scope, nil, cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, tpl := range list {
			got = append(got, tpl.Prefix)
		}
		if cursor = next; next == "" {
			break
		}
	}
	if len(got) != 50 || got[0] != "p00" || got[49] != "p49" {
		t.Errorf("listed %v", got)
	}
	named, _, err := b.Templates(ctx, scope, []string{"p07", "none", "p03"}, "", 10)
	if err != nil || len(named) != 2 || named[0].Prefix != "p07" {
		t.Errorf("named %v, %v", named, err)
	}
	_, _, err = b.Templates(ctx, scope, nil, "forged", 10)
	wantRefusal(t, err, registry.InvalidParameter, "Invalid parameter at 'NextToken' failed to satisfy constraint: 'Invalid next token provided'")
}

func TestLongestPrefixCounts(t *testing.T) {
	b := newBench(t)
	for _, p := range []string{"ROOT", "prod", "prod/team/", "dev"} {
		b.template(p, onPush(registry.TemplateChange{}))
	}
	b.template("prod/team/app", registry.TemplateChange{AppliedFor: []string{registry.ForReplication, registry.ForPullThrough}})
	for _, tc := range []struct{ name, use, want string }{
		{"prod/x", registry.ForCreateOnPush, "prod"}, {"prodx", registry.ForCreateOnPush, "ROOT"}, {"prod", registry.ForCreateOnPush, "ROOT"},
		{"prod/team/app/x", registry.ForCreateOnPush, "prod/team/"}, {"prod/team", registry.ForCreateOnPush, "prod"},
		{"prod/team/app/x", registry.ForReplication, "prod/team/app"}, {"prod/team/app/x", registry.ForPullThrough, "prod/team/app"},
		{"prod/x", registry.ForReplication, ""}, {"other", registry.ForPullThrough, ""}, {"dev/a/b/c", registry.ForCreateOnPush, "dev"},
	} {
		got, err := b.TemplateFor(t.Context(), scope, tc.name, tc.use)
		prefix := ""
		if got != nil {
			prefix = got.Prefix
		}
		if err != nil || prefix != tc.want {
			t.Errorf("%s for %s: template %q, %v, want %q", tc.name, tc.use, prefix, err, tc.want)
		}
	}
	if got, err := b.TemplateFor(t.Context(), meta.Scope{Account: scope.Account, Region: "eu-west-1"}, "prod/x", registry.ForCreateOnPush); got != nil || err != nil {
		t.Errorf("another registry has %+v, %v", got, err)
	}
}

// The template that counts is the longest prefix of whole path components, and
// none is found that is not one.
func TestLongestPrefixIsOfPaths(t *testing.T) {
	b := newBench(t)
	component := rapid.StringMatching(`[ab]{1,2}`)
	rapid.Check(t, func(t *rapid.T) {
		var made []string
		for _, parts := range rapid.SliceOfNDistinct(rapid.SliceOfN(component, 1, 3), 1, 6, func(p []string) string { return strings.Join(p, "/") }).Draw(t, "prefixes") {
			p := strings.Join(parts, "/")
			if _, err := b.CreateTemplate(context.Background(), scope, p, onPush(registry.TemplateChange{})); err != nil {
				t.Fatal(err)
			}
			made = append(made, p)
		}
		parts := rapid.SliceOfN(component, 1, 4).Draw(t, "name")
		want := ""
		for n := 1; n < len(parts); n++ {
			for _, p := range made {
				if p == strings.Join(parts[:n], "/") {
					want = p
				}
			}
		}
		got, err := b.TemplateFor(context.Background(), scope, strings.Join(parts, "/"), registry.ForCreateOnPush)
		if err != nil || (got == nil) != (want == "") || got != nil && got.Prefix != want {
			t.Errorf("%v of %v: %+v, %v, want %q", parts, made, got, err, want)
		}
		for _, p := range made {
			if _, err := b.DeleteTemplate(context.Background(), scope, p); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRepositoryOfATemplate(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	key, err := b.keys.Create(ctx, scope, local.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	b.template("prod", onPush(registry.TemplateChange{
		Encryption: &registry.Encryption{Kind: "KMS", Key: key.ARN}, ResourceTags: []meta.ResourceTag{{Key: "team", Value: "a"}},
		Mutability: &registry.Mutability{Mode: registry.ImmutableWithExclusion, Filters: []string{"dev*"}},
		Policy:     ptr(templatePolicy), Lifecycle: ptr(templateLifecycle), CustomRoleARN: ptr(templateRole),
	}))
	var asked []access.Tag
	denied := errors.New("denied")
	created, err := b.CreateOnPush(ctx, scope, "prod/app", func(tags []access.Tag) error { asked = tags; return denied })
	if created || !errors.Is(err, denied) || fmt.Sprint(asked) != "[{team a}]" {
		t.Errorf("created %t, %v, asked for %v", created, err, asked)
	}
	_, err = b.Repository(ctx, scope, "prod/app")
	wantRefusal(t, err, registry.RepositoryNotFound, "")

	for range 2 { // the second finds it there, as the next layer of a push does
		if created, err := b.CreateOnPush(ctx, scope, "prod/app", may); !created || err != nil {
			t.Fatalf("created %t, %v", created, err)
		}
	}
	repo, err := b.Repository(ctx, scope, "prod/app")
	tags, err2 := b.ResourceTags(ctx, scope, "prod/app")
	if err != nil || err2 != nil || repo.Encryption != "KMS" || repo.KMSKey != key.ARN || repo.Mutability != registry.ImmutableWithExclusion ||
		fmt.Sprint(repo.MutabilityFilters, tags) != "[dev*] [{team a}]" || repo.Policy != templatePolicy || repo.Lifecycle != templateLifecycle {
		t.Errorf("created %+v with tags %v, %v %v", repo, tags, err, err2)
	}
	if created, err := b.CreateOnPush(ctx, scope, "other/app", may); created || err != nil {
		t.Errorf("without a template: created %t, %v", created, err)
	}
	plain, err := b.CreateFromTemplate(ctx, scope, "plain", nil)
	if err != nil || plain.Mutability != registry.Mutable || plain.Encryption != "AES256" || plain.Policy+plain.Lifecycle != "" {
		t.Errorf("without a template: %+v, %v", plain, err)
	}
}

// AWS creates nothing from a template with tags or a key that names no role.
func TestTemplateWithoutItsRole(t *testing.T) {
	b := newBench(t)
	for prefix, c := range map[string]registry.TemplateChange{
		"tags": {ResourceTags: []meta.ResourceTag{{Key: "a"}}},
		"key":  {Encryption: &registry.Encryption{Kind: "KMS", Key: "arn:aws:kms:us-east-1:123456789012:key/k"}},
	} {
		b.template(prefix, onPush(c))
		created, err := b.CreateOnPush(t.Context(), scope, prefix+"/app", may)
		wantRefusal(t, err, registry.TemplateUnusable, "The repository with name '"+prefix+"/app' cannot be created in the registry with id '123456789012': "+
			"the repository creation template with the prefix '"+prefix+"' has resource tags or a KMS key, for which it needs a customRoleArn")
		if created {
			t.Error("created nevertheless")
		}
	}
	b.template("managed", onPush(registry.TemplateChange{Encryption: &registry.Encryption{Kind: "KMS"}})) // the account's default key
	if created, err := b.CreateOnPush(t.Context(), scope, "managed/app", may); !created || err != nil {
		t.Errorf("with the default key: created %t, %v", created, err)
	}
}

// Who may not use a key does not get at it by a template.
func TestTemplateNeedsItsKey(t *testing.T) {
	b := newBench(t)
	const key = "arn:aws:kms:us-east-1:123456789012:key/k"
	var asked []string
	change := onPush(registry.TemplateChange{Encryption: &registry.Encryption{Kind: "KMS", Key: key}})
	change.MayUseKey = func(_ context.Context, arn string) error {
		asked = append(asked, arn)
		return &kms.Error{Code: kms.AccessDenied, Message: "no"}
	}
	const text = "Invalid parameter at 'encryptionConfiguration.kmsKey' failed to satisfy constraint: 'no'"
	_, err := b.CreateTemplate(t.Context(), scope, "prod", change)
	wantRefusal(t, err, registry.InvalidParameter, text)
	b.template("prod", onPush(registry.TemplateChange{}))
	_, err = b.UpdateTemplate(t.Context(), scope, "prod", change)
	wantRefusal(t, err, registry.InvalidParameter, text)
	change.Encryption.Key = ""
	if _, err := b.UpdateTemplate(t.Context(), scope, "prod", change); err != nil || fmt.Sprint(asked) != fmt.Sprint([]string{key, key}) {
		t.Errorf("%v; asked about %v", err, asked)
	}
}
