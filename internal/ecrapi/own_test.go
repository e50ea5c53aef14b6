package ecrapi_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestPackagesBelongToTheScan refuses what has no answer; what it answers is
// tested with a scanner, in cmd/berth.
func TestPackagesBelongToTheScan(t *testing.T) {
	c := newClient(t)
	c.create("app")
	pushImage(c, "app", "v1")
	c.call("BerthListImagePackages", `{"repositoryName":"app","imageId":{"imageTag":"v1"}}`).refused(400, "ScanNotFoundException", "Image scan does not exist for the image")
	c.call("BerthListImagePackages", `{"repositoryName":"app","imageId":{"imageTag":"v2"}}`).refused(400, "ImageNotFoundException", "")
	c.call("BerthListImagePackages", `{"repositoryName":"app"}`).refused(400, "InvalidParameterException", "")
	c.call("BerthListEverything", `{}`).refused(404, "UnknownOperationException", "")
}

// A policy acts when it is asked to, and what it did can be read.
func TestLifecyclePolicyRunsOnDemand(t *testing.T) {
	c := newClient(t)
	c.create("app")
	wants := func(operation, body string, texts ...string) {
		t.Helper()
		a := c.call(operation, body)
		a.ok()
		for _, text := range texts {
			if !strings.Contains(string(a.body), text) {
				t.Errorf("%s: %s has no %s", operation, a.body, text)
			}
		}
	}
	first := pushImage(c, "app", "v1")
	pushImage(c, "app", "v2")
	c.call("BerthRunLifecyclePolicy", `{"repositoryName":"app"}`).refused(400, "LifecyclePolicyNotFoundException", "")
	policy := `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`
	c.call("PutLifecyclePolicy", fmt.Sprintf(`{"repositoryName":"app","lifecyclePolicyText":%q}`, policy)).ok()
	wants("BerthListLifecycleRuns", `{"repositoryName":"app"}`, `"runs":[]`)
	wants("BerthRunLifecyclePolicy", `{"repositoryName":"app"}`, `"expired":1,"archived":0,"failed":0`, first, `"tags":["v1"]`, `"finishedAt":`)
	wants("BerthListLifecycleRuns", `{"repositoryName":"app"}`, `"expired":1,"archived":0,"failed":0`, first, `"tags":["v1"]`, `"finishedAt":`)
	wants("BerthRunLifecyclePolicy", `{"repositoryName":"app"}`, `"expired":0,"archived":0,"failed":0`, `"images":[]`)
	c.call("BerthRunLifecyclePolicy", `{"repositoryName":"other"}`).refused(400, "RepositoryNotFoundException", "")
}

// What no image lists is told to who may see the images.
func TestUnreferencedBytesAreTold(t *testing.T) {
	c := newClient(t)
	c.create("app")
	pushImage(c, "app", "v1")
	if got := c.call("BerthGetUnreferencedBytes", `{"repositoryName":"app"}`).ok()["unreferencedBytes"]; got != 0.0 {
		t.Errorf("%v bytes", got)
	}
	c.call("BatchDeleteImage", `{"repositoryName":"app","imageIds":[{"imageTag":"v1"}]}`).ok()
	if got := c.call("BerthGetUnreferencedBytes", `{"repositoryName":"app"}`).ok()["unreferencedBytes"]; got != 13.0 { // {} and "layer of v1"
		t.Errorf("%v bytes", got)
	}
	c.call("BerthGetUnreferencedBytes", `{"repositoryName":"other"}`).refused(400, "RepositoryNotFoundException", "")
}

// TestCacheStatus: a rule that did nothing has zeros; what rules count is tested in
// internal/pullthrough, and with real upstreams in test/upstreams.
func TestCacheStatus(t *testing.T) {
	c := newClient(t)
	if a := c.call("BerthDescribeCacheStatus", `{}`); a.body != `{"registryId":"000000000000","rules":[]}` {
		t.Errorf("without rules: %s", a.body)
	}
	c.call("CreatePullThroughCacheRule", `{"ecrRepositoryPrefix":"quay","upstreamRegistryUrl":"quay.io"}`)
	a := c.call("BerthDescribeCacheStatus", `{"ecrRepositoryPrefixes":["quay"]}`)
	if want := `"rules":[{"ecrRepositoryPrefix":"quay","upstreamRegistryUrl":"quay.io","hits":0,"misses":0,"upstreamRequests":0,` +
		`"fetchedLayers":0,"fetchedBytes":0,"failedLayers":0,"servedLayers":0,"savedBytes":0}]`; !strings.Contains(a.body, want) {
		t.Errorf("got %s", a.body)
	}
	c.call("BerthDescribeCacheStatus", `{"ecrRepositoryPrefixes":["none"]}`).refused(400, "PullThroughCacheRuleNotFoundException", "")
}

// TestEventsOfTheRegistry: what happened is listed on from a token, which is
// always there and good for this registry and listing alone.
func TestEventsOfTheRegistry(t *testing.T) {
	c := newClient(t)
	c.create("app")
	first := c.call("BerthListEvents", `{}`).ok()
	token, _ := first["nextToken"].(string)
	if list, ok := first["events"].([]any); !ok || len(list) != 0 || token == "" {
		t.Fatalf("%v", first)
	}
	c.call("BerthListEvents", `{"nextToken":"x"}`).refused(400, "InvalidParameterException", "Invalid next token provided")
	c.call("BerthListDeadEvents", `{"nextToken":"`+token+`"}`).refused(400, "InvalidParameterException", "Invalid next token provided")
	c.in("eu-west-1").call("BerthListEvents", `{"nextToken":"`+token+`"}`).refused(400, "InvalidParameterException", "Invalid next token provided")
	c.call("BerthListEvents", `{"maxResults":51}`).refused(400, "InvalidParameterException", "")
	dead := c.call("BerthListDeadEvents", `{}`).ok()
	if list, ok := dead["events"].([]any); !ok || len(list) != 0 || dead["nextToken"] != nil {
		t.Errorf("%v", dead)
	}
	if out := c.call("BerthRetryDeadEvents", `{}`).ok(); out["retried"] != 0.0 {
		t.Errorf("%v", out)
	}
}

// TestEventsAreAuthorised: events are for whoever may describe all images, and
// delivering them again is for whoever decides where images go.
func TestEventsAreAuthorised(t *testing.T) {
	c := newClient(t)
	c.IAM("CreateUser", "UserName", "ann")
	made := c.IAM("CreateAccessKey", "UserName", "ann")
	between := func(from, to string) string {
		_, rest, _ := strings.Cut(made, from)
		value, _, _ := strings.Cut(rest, to)
		return value
	}
	ann := *c
	ann.id, ann.secret = between("<AccessKeyId>", "<"), between("<SecretAccessKey>", "<")
	allow := func(action, repositories string) {
		c.IAM("PutUserPolicy", "UserName", "ann", "PolicyName", "p", "PolicyDocument",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"`+action+`","Resource":"`+repositories+`"}]}`)
	}
	refused := func(operations ...string) {
		t.Helper()
		for _, op := range operations {
			ann.call(op, `{}`).refused(400, "AccessDeniedException", "")
		}
	}
	refused("BerthListEvents", "BerthListDeadEvents", "BerthRetryDeadEvents")
	allow("ecr:DescribeImages", "arn:aws:ecr:us-east-1:"+c.Account+":repository/app")
	refused("BerthListEvents", "BerthListDeadEvents")
	allow("ecr:DescribeImages", "*")
	ann.call("BerthListEvents", `{}`).ok()
	ann.call("BerthListDeadEvents", `{}`).ok()
	refused("BerthRetryDeadEvents")
	allow("ecr:PutReplicationConfiguration", "*")
	ann.call("BerthRetryDeadEvents", `{}`).ok()
	refused("BerthListEvents")
}
