package iamapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

const (
	home      = "000000000000"
	webRole   = "arn:aws:iam::" + home + ":role/deploy"
	pullToken = "ecr:GetAuthorizationToken"
)

// trusting starts a server that knows an identity provider and a role that trusts it under conditions, in which
// ISSUER stands for its host.
func trusting(t *testing.T, i *testkit.Issuer, conditions string) *servertest.Server {
	t.Helper()
	s := servertest.StartWith(t, server.Config{OIDCCA: i.CA, PrivateNetworks: "127.0.0.0/8"})
	s.IAM("CreateOpenIDConnectProvider", "Url", i.URL, "ClientIDList.member.1", "sts.amazonaws.com")
	makeRole(s, i, "deploy", conditions)
	return s
}

func makeRole(s *servertest.Server, i *testkit.Issuer, name, conditions string) {
	host := strings.TrimPrefix(i.URL, "https://")
	s.IAM("CreateRole", "RoleName", name, "AssumeRolePolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Principal":{"Federated":"arn:aws:iam::`+home+`:oidc-provider/`+host+`"},"Action":"sts:AssumeRoleWithWebIdentity",
		"Condition":`+strings.ReplaceAll(conditions, "ISSUER", host)+`}]}`)
	s.IAM("PutRolePolicy", "RoleName", name, "PolicyName", "p", "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["`+pullToken+`"],"Resource":"*"}]}`)
}

// assume asks for a session with a token; change alters the form.
func assume(t *testing.T, s *servertest.Server, token string, change ...string) answer {
	t.Helper()
	form := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {webRole}, "RoleSessionName": {"job-1"}, "WebIdentityToken": {token},
	}
	for i := 0; i+1 < len(change); i += 2 {
		form.Set(change[i], change[i+1])
	}
	return call(t, s, "", form.Encode(), nil)
}

const onMain = `{"StringEquals":{"ISSUER:aud":"sts.amazonaws.com"},"StringLike":{"ISSUER:sub":"repo:octo-org/*:ref:refs/heads/main"}}`

// TestWebIdentity gives a job of GitHub Actions a session that signs requests, by AWS's own client.
func TestWebIdentity(t *testing.T) {
	t.Parallel()
	i := testkit.NewIssuer(t)
	s := trusting(t, i, onMain)
	claims := testkit.GitHubClaims("octo-org/app", "refs/heads/main")
	client := sts.New(sts.Options{BaseEndpoint: aws.String(s.Endpoint), Region: s.Region, RetryMaxAttempts: 1})
	out, err := client.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(webRole), RoleSessionName: aws.String("job-1"), WebIdentityToken: aws.String(i.Token(t, claims)), DurationSeconds: aws.Int32(900),
	})
	if err != nil {
		t.Fatal(err)
	}
	if *out.SubjectFromWebIdentityToken != claims["sub"] || *out.Audience != "sts.amazonaws.com" || *out.Provider != i.URL ||
		*out.AssumedRoleUser.Arn != "arn:aws:sts::"+home+":assumed-role/deploy/job-1" || !strings.HasSuffix(*out.AssumedRoleUser.AssumedRoleId, ":job-1") {
		t.Errorf("%+v", out)
	}
	session := ecr.New(ecr.Options{BaseEndpoint: aws.String(s.Endpoint), Region: s.Region, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(
		*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)})
	token, err := session.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	// A password must not say that it outlives the session that asked for it.
	if end := *token.AuthorizationData[0].ExpiresAt; end.After(*out.Credentials.Expiration) || time.Until(end) < 13*time.Minute {
		t.Errorf("a password until %s of a session until %s", end, out.Credentials.Expiration)
	}
	if _, err := session.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{}); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("what the role may not: %v", err)
	}
}

func TestWebIdentityOfKubernetes(t *testing.T) {
	t.Parallel()
	i := testkit.NewIssuer(t)
	s := trusting(t, i, `{"StringEquals":{"ISSUER:sub":"system:serviceaccount:build:pusher","ISSUER:aud":"sts.amazonaws.com"}}`)
	if a := assume(t, s, i.Token(t, testkit.KubernetesClaims("build", "pusher"))); a.status != 200 || !strings.Contains(a.body, "<SubjectFromWebIdentityToken>system:serviceaccount:build:pusher<") {
		t.Errorf("%+v", a)
	}
	for _, other := range [][2]string{{"build", "other"}, {"other", "pusher"}, {"build", "pusher:x"}} {
		if a := assume(t, s, i.Token(t, testkit.KubernetesClaims(other[0], other[1]))); a.status != 403 {
			t.Errorf("%v: %+v", other, a)
		}
	}
}

func TestWebIdentityRefusals(t *testing.T) {
	t.Parallel()
	i, stranger := testkit.NewIssuer(t), testkit.NewIssuer(t)
	s := trusting(t, i, onMain)
	makeRole(s, stranger, "other", `{}`)
	with := func(name string, value any) map[string]any {
		c := testkit.GitHubClaims("octo-org/app", "refs/heads/main")
		c[name] = value
		return c
	}
	now := time.Now().Unix()
	const notAuthorized = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
	good := i.Token(t, with("x", 1))
	for what, tc := range map[string]struct {
		token   string
		change  []string
		status  int
		code    string
		message string
	}{
		"another branch":                          {i.Token(t, testkit.GitHubClaims("octo-org/app", "refs/heads/dev")), nil, 403, "AccessDenied", notAuthorized},
		"another organisation":                    {i.Token(t, testkit.GitHubClaims("evil-org/app", "refs/heads/main")), nil, 403, "AccessDenied", notAuthorized},
		"a role that trusts another provider":     {good, []string{"RoleArn", "arn:aws:iam::" + home + ":role/other"}, 403, "AccessDenied", notAuthorized},
		"no such role":                            {good, []string{"RoleArn", webRole + "x"}, 403, "AccessDenied", notAuthorized},
		"another account's role":                  {good, []string{"RoleArn", "arn:aws:iam::999999999999:role/deploy"}, 400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for " + i.URL},
		"an unknown provider":                     {stranger.Token(t, with("x", 1)), nil, 400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for " + stranger.URL},
		"another provider in the provider's name": {stranger.Token(t, with("iss", i.URL)), nil, 400, "InvalidIdentityToken", "Invalid token signature"},
		"another audience":                        {i.Token(t, with("aud", "https://github.com/octo-org")), nil, 400, "InvalidIdentityToken", "Incorrect token audience"},
		"expired":                                 {i.Token(t, with("exp", now-60)), nil, 400, "ExpiredTokenException", fmt.Sprintf("must be before the expiration date/time %d", now-60)},
		"not valid yet":                           {i.Token(t, with("nbf", now+600)), nil, 403, "IDPRejectedClaim", "The token is not valid yet"},
		"no subject":                              {i.Token(t, with("sub", "")), nil, 400, "InvalidIdentityToken", "Missing a required claim: sub"},
		"an access token":                         {"gho_16C7e42F292c6912E7710c838347Ae178B4a", nil, 400, "InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"},
		"no token":                                {"", nil, 400, "ValidationError", "webIdentityToken"},
		"a short token":                           {"abc", nil, 400, "ValidationError", "greater than or equal to 4"},
		"a long token":                            {strings.Repeat("a", 20_001), nil, 400, "ValidationError", "less than or equal to 20000"},
		"no session name":                         {good, []string{"RoleSessionName", ""}, 400, "ValidationError", "roleSessionName"},
		"no role":                                 {good, []string{"RoleArn", ""}, 400, "ValidationError", "roleArn"},
		"longer than the role":                    {good, []string{"DurationSeconds", "7200"}, 400, "ValidationError", "MaxSessionDuration"},
		"of OAuth 2.0":                            {good, []string{"ProviderId", "graph.facebook.com"}, 400, "ValidationError", "ProviderId"},
	} {
		a := assume(t, s, tc.token, tc.change...)
		if a.status != tc.status || !strings.Contains(a.body, "<Code>"+tc.code+"</Code>") || !strings.Contains(strings.ReplaceAll(a.body, "&#39;", "'"), tc.message) {
			t.Errorf("%s: %+v", what, a)
		}
	}
	// The provider, once it is gone, opens nothing any more.
	s.IAM("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", "arn:aws:iam::"+home+":oidc-provider/"+strings.TrimPrefix(i.URL, "https://"))
	if a := assume(t, s, good); a.status != 400 {
		t.Errorf("after its provider was deleted: %+v", a)
	}
}

// A provider that is not reached, and one whose certificate nobody vouches for.
func TestWebIdentityWithoutKeys(t *testing.T) {
	t.Parallel()
	i := testkit.NewIssuer(t)
	for what, tc := range map[string]struct {
		cfg        server.Config
		thumbprint string
		want       string
	}{
		"a private address that is not allowed": {server.Config{OIDCCA: i.CA}, "", "<Code>IDPCommunicationError</Code>"},
		"an unknown certificate":                {server.Config{PrivateNetworks: "127.0.0.0/8"}, strings.Repeat("a", 40), "certificate doesn&#39;t match configured thumbprint"},
		"a thumbprint":                          {server.Config{PrivateNetworks: "127.0.0.0/8"}, i.Thumbprint, "<AssumeRoleWithWebIdentityResult>"},
	} {
		s := servertest.StartWith(t, tc.cfg)
		members := []string{"Url", i.URL, "ClientIDList.member.1", "sts.amazonaws.com"}
		if tc.thumbprint != "" {
			members = append(members, "ThumbprintList.member.1", tc.thumbprint)
		}
		s.IAM("CreateOpenIDConnectProvider", members...)
		makeRole(s, i, "deploy", onMain)
		if a := assume(t, s, i.Token(t, testkit.GitHubClaims("octo-org/app", "refs/heads/main"))); !strings.Contains(a.body, tc.want) {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

// Who sends forged tokens is slowed down as who guesses passwords is; who sends old ones is not.
func TestForgedTokensAreThrottled(t *testing.T) {
	t.Parallel()
	i := testkit.NewIssuer(t)
	s := trusting(t, i, onMain)
	old := testkit.GitHubClaims("octo-org/app", "refs/heads/main")
	old["exp"] = 1
	expired, good := i.Token(t, old), i.Token(t, testkit.GitHubClaims("octo-org/app", "refs/heads/main"))
	for range 70 {
		if a := assume(t, s, expired); a.status != 400 {
			t.Fatalf("%+v", a)
		}
	}
	if a := assume(t, s, good); a.status != 200 {
		t.Fatalf("%+v", a)
	}
	last := 0
	for range 70 {
		last = assume(t, s, good[:len(good)-4]+"AAAA").status
	}
	if last != http.StatusBadRequest || !strings.Contains(assume(t, s, good).body, "Throttling") {
		t.Errorf("the last forged token got %d, and then a good one %+v", last, assume(t, s, good))
	}
}
