package clients

import (
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// TestPushWithAWebIdentity does what a job of GitHub Actions does after
// aws-actions/configure-aws-credentials, and a pod with a service account: the
// aws CLI has a token in a file and no key, logs in, and crane pushes. A job of
// another branch gets nothing.
func TestPushWithAWebIdentity(t *testing.T) {
	t.Parallel()
	i := testkit.NewIssuer(t)
	s := servertest.StartWith(t, server.Config{OIDCCA: i.CA, PrivateNetworks: "127.0.0.0/8"})
	s.CreateRepositories("app", "other")
	host := strings.TrimPrefix(i.URL, "https://")
	provider := "arn:aws:iam::000000000000:oidc-provider/" + host
	s.IAM("CreateOpenIDConnectProvider", "Url", i.URL, "ClientIDList.member.1", "sts.amazonaws.com")
	s.IAM("CreateRole", "RoleName", "push", "AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"Federated":"`+provider+`"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{
			"StringEquals":{"`+host+`:aud":"sts.amazonaws.com"},"StringLike":{"`+host+`:sub":["repo:octo-org/app:ref:refs/heads/*","system:serviceaccount:ci:*"]}}}]}`)
	s.IAM("PutRolePolicy", "RoleName", "push", "PolicyName", "push", "PolicyDocument", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
		{"Effect":"Allow","Resource":"arn:aws:ecr:us-east-1:000000000000:repository/app","Action":["ecr:BatchCheckLayerAvailability",
			"ecr:InitiateLayerUpload","ecr:UploadLayerPart","ecr:CompleteLayerUpload","ecr:PutImage","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]}]}`)

	// job is the CLI in a job that has a token; each has a home of its own, where the CLI keeps sessions.
	job := func(name string, claims map[string]any) *client {
		aws := newClient(t, "aws", "AWS_ENDPOINT_URL="+s.Endpoint, "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true",
			"AWS_ROLE_ARN=arn:aws:iam::000000000000:role/push", "AWS_ROLE_SESSION_NAME="+name)
		aws.env = append(aws.env, "AWS_WEB_IDENTITY_TOKEN_FILE="+writeFile(t, filepath.Join(aws.dir, "token"), i.Token(t, claims)))
		return aws
	}
	for name, claims := range map[string]map[string]any{
		"github": testkit.GitHubClaims("octo-org/app", "refs/heads/main"), "kubernetes": testkit.KubernetesClaims("ci", "builder"),
	} {
		aws := job(name, claims)
		if who := aws.run("sts", "get-caller-identity", "--query", "Arn", "--output", "text"); strings.TrimSpace(who) != "arn:aws:sts::000000000000:assumed-role/push/"+name {
			t.Errorf("%s is %s", name, who)
		}
		password := strings.TrimSpace(aws.run("ecr", "get-login-password"))
		crane := newClient(t, "crane")
		crane.run("auth", "login", s.Host, "--username", "AWS", "--password", password)
		image := testkit.RandomImage(t, 2, 1<<10)
		crane.run("push", layout(t, "v1", image), s.Host+"/app:"+name)
		equal(t, "crane digest", crane.run("digest", s.Host+"/app:"+name), image.Digest().String())
		crane.refused([]string{"403 Forbidden"}, "push", layout(t, "v1", image), s.Host+"/other:"+name)
	}
	job("tag", testkit.GitHubClaims("octo-org/app", "refs/tags/v1")).
		refused([]string{"AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"}, "ecr", "get-login-password")
}
