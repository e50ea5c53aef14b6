package registry_test

import (
	"context"
	"fmt"
	"testing"

	"berth/internal/meta"
	"berth/internal/registry"
)

func TestCacheRuleUpstreams(t *testing.T) {
	b := newBench(t)
	for i, tc := range []struct {
		url, given, want string
		code             registry.Code
	}{
		{"public.ecr.aws", "", "ecr-public", 0},
		{"public.ecr.aws/", "", "ecr-public", 0},
		{"registry-1.docker.io", "docker-hub", "docker-hub", 0},
		{"quay.io", "docker-hub", "", registry.UnsupportedUpstreamRegistry},
		{"mine.azurecr.io", "", "azure-container-registry", 0},
		{"123456789012.dkr.ecr.eu-west-1.amazonaws.com", "", "ecr", 0},
		{"registry.example.com:5000", "", "", 0},
		{"localhost", "", "", 0},
		{"", "", "", registry.UnsupportedUpstreamRegistry},
		{"https://quay.io", "", "", registry.UnsupportedUpstreamRegistry},
		{"quay.io/path", "", "", registry.UnsupportedUpstreamRegistry},
		{"user@quay.io", "", "", registry.UnsupportedUpstreamRegistry},
		{"quay.io\n", "", "", registry.UnsupportedUpstreamRegistry},
		{"-quay.io", "", "", registry.UnsupportedUpstreamRegistry},
		{"registry.example.com:123456", "", "", registry.UnsupportedUpstreamRegistry},
	} {
		rule, err := b.CreateCacheRule(context.Background(), meta.CacheRule{
			Scope: scope, Prefix: fmt.Sprintf("p%d", i), UpstreamURL: tc.url, UpstreamRegistry: tc.given,
		})
		if tc.code != 0 {
			wantRefusal(t, err, tc.code, "")
		} else if err != nil || rule.UpstreamRegistry != tc.want {
			t.Errorf("%q is %q: %v", tc.url, rule.UpstreamRegistry, err)
		}
	}
}

func TestCacheRuleLife(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	rule := meta.CacheRule{Scope: scope, Prefix: "hub", UpstreamURL: "registry-1.docker.io", CredentialARN: "arn:1"}
	if _, err := b.CreateCacheRule(ctx, rule); err != nil {
		t.Fatal(err)
	}
	_, err := b.CreateCacheRule(ctx, rule)
	wantRefusal(t, err, registry.CacheRuleAlreadyExists, "")
	_, err = b.CreateCacheRule(ctx, meta.CacheRule{Scope: scope, Prefix: "ROOT", UpstreamURL: "quay.io", UpstreamPrefix: "x"})
	wantRefusal(t, err, registry.InvalidParameter, "")
	_, err = b.UpdateCacheRule(ctx, scope, "hub", "", "")
	wantRefusal(t, err, registry.InvalidParameter, "")
	updated, err := b.UpdateCacheRule(ctx, scope, "hub", "", "role")
	if err != nil || updated.CredentialARN != "arn:1" || updated.CustomRoleARN != "role" {
		t.Errorf("%+v, %v", updated, err)
	}
	other := meta.Scope{Account: "999999999999", Region: scope.Region}
	for _, err := range []error{
		second(b.DeleteCacheRule(ctx, other, "hub")),
		second(b.DeleteCacheRule(ctx, scope, "none")),
		second(b.UpdateCacheRule(ctx, other, "hub", "x", "")),
	} {
		wantRefusal(t, err, registry.CacheRuleNotFound, "")
	}
	_, _, err = b.CacheRules(ctx, scope, []string{"hub", "none"}, "", 10)
	wantRefusal(t, err, registry.CacheRuleNotFound, "")
	if gone, err := b.DeleteCacheRule(ctx, scope, "hub"); err != nil || gone.UpstreamURL != "registry-1.docker.io" {
		t.Errorf("%+v, %v", gone, err)
	}
}

func second(_ meta.CacheRule, err error) error { return err }

func TestCacheRulesAreCapped(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	create := func(s meta.Scope, i int) error {
		_, err := b.CreateCacheRule(ctx, meta.CacheRule{Scope: s, Prefix: fmt.Sprintf("p%02d", i), UpstreamURL: "quay.io"})
		return err
	}
	for i := range 50 {
		if err := create(scope, i); err != nil {
			t.Fatal(err)
		}
	}
	wantRefusal(t, create(scope, 50), registry.LimitExceeded, "")
	if err := create(meta.Scope{Account: scope.Account, Region: "eu-west-1"}, 50); err != nil {
		t.Errorf("another registry has its own limit: %v", err)
	}
	var got int
	for cursor := ""; ; {
		page, next, err := b.CacheRules(ctx, scope, nil, cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		got += len(page)
		if cursor = next; cursor == "" {
			break
		}
	}
	if got != 50 {
		t.Errorf("%d rules in all pages", got)
	}
}
