package upstreams

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/testkit"
)

// private is a registry of ECR; its host is mapped to another Berth.
const private = "000000000000.dkr.ecr.us-east-1.amazonaws.com"

// ECR to ECR: no secret, but the server's own identity, or a role that it assumes,
// and a password by GetAuthorizationToken. The server's environment is that of the
// process, so this test runs alone.
func TestPrivateRegistryOfECR(t *testing.T) {
	image := testkit.RandomImage(t, 2, 50<<10)
	far := start(t)
	far.CreateRepositories("team/app")
	layout := filepath.Join(t.TempDir(), "layout")
	testkit.WriteLayout(t, layout, "v1", image)
	far.crane()("push", layout, far.Host+"/team/app:v1").Run(t)

	// The server's identity may assume one role and read nothing; the role reads.
	far.IAM("CreateUser", "UserName", "cache")
	far.IAM("PutUserPolicy", "UserName", "cache", "PolicyName", "p", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::000000000000:role/puller"}]}`)
	far.IAM("CreateRole", "RoleName", "puller", "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/cache"},"Action":"sts:AssumeRole"}]}`)
	far.IAM("PutRolePolicy", "RoleName", "puller", "PolicyName", "p", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:GetAuthorizationToken","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"*"}]}`)
	id, secret := far.AccessKey("cache")
	t.Setenv("AWS_ACCESS_KEY_ID", id)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	for _, name := range []string{"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL_STS"} {
		t.Setenv(name, "")
	}

	b := start(t, private+"="+far.Endpoint)
	rule := func(prefix, role string) {
		t.Helper()
		in := &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String(prefix), UpstreamRegistryUrl: aws.String(private)}
		if role != "" {
			in.CustomRoleArn = aws.String("arn:aws:iam::000000000000:role/" + role)
		}
		if _, err := b.ECR().CreatePullThroughCacheRule(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	rule("bare", "")
	rule("wrong", "nobody")
	rule("far", "puller")
	validate := func(prefix string) (bool, string) {
		t.Helper()
		out, err := b.ECR().ValidatePullThroughCacheRule(t.Context(), &ecr.ValidatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String(prefix)})
		if err != nil {
			t.Fatal(err)
		}
		return out.IsValid, aws.ToString(out.Failure)
	}
	if ok, why := validate("far"); !ok {
		t.Errorf("with the role: %s", why)
	}
	if ok, why := validate("bare"); ok || !strings.Contains(why, "gave no password (AccessDenied") || !strings.Contains(why, "ecr:GetAuthorizationToken") {
		t.Errorf("without the role: %t, %s", ok, why)
	}
	if ok, why := validate("wrong"); ok || !strings.Contains(why, "did not let us assume the role arn:aws:iam::000000000000:role/nobody (AccessDenied") {
		t.Errorf("with a role that is not there: %t, %s", ok, why)
	}
	b.crane()("pull", "--format=oci", b.Host+"/far/team/app:v1", filepath.Join(t.TempDir(), "out")).Run(t)
	b.holds("far/team/app", "v1", image)
	out, err := b.ECR().BatchGetImage(t.Context(), &ecr.BatchGetImageInput{RepositoryName: aws.String("wrong/team/app"), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}}})
	if err == nil || !strings.Contains(err.Error(), "UnableToGetUpstreamImageException") {
		t.Errorf("with a role that is not there: %+v, %v", out, err)
	}

	// The identity is the operator's: other accounts have no use of it.
	tenant := b.IAM("BerthCreateAccount", "AccountId", "111122223333")
	_, key, _ := strings.Cut(tenant, "<AccessKeyId>")
	key, _, _ = strings.Cut(key, "<")
	_, hidden, _ := strings.Cut(tenant, "<SecretAccessKey>")
	hidden, _, _ = strings.Cut(hidden, "<")
	other := *b
	copied := *b.Server
	copied.Root.AccessKeyID, copied.Root.SecretAccessKey = key, hidden
	other.Server = &copied
	if _, err := other.ECR().CreatePullThroughCacheRule(t.Context(), &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("far"), UpstreamRegistryUrl: aws.String(private), CustomRoleArn: aws.String("arn:aws:iam::111122223333:role/puller")}); err != nil {
		t.Fatal(err)
	}
	v, err := other.ECR().ValidatePullThroughCacheRule(t.Context(), &ecr.ValidatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("far")})
	if err != nil || v.IsValid || !strings.Contains(aws.ToString(v.Failure), "serves rules of its home account 000000000000 alone") {
		t.Errorf("%+v, %v", v, err)
	}
	if resp, _ := b.Do(http.MethodGet, "/v2/far/team/app/manifests/v1", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("what is here: %s", resp.Status)
	}
}
