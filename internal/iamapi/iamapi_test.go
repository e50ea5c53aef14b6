package iamapi_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/opencontainers/go-digest"

	"berth/internal/server/servertest"
)

type answer struct {
	status int
	header http.Header
	body   string
}

// call sends a form, signed for a service; change may spoil it after that.
func call(t *testing.T, s *servertest.Server, service, form string, change func(*http.Request)) answer {
	t.Helper()
	req, err := http.NewRequest("POST", s.Endpoint+"/", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if service != "" {
		creds := aws.Credentials{AccessKeyID: s.Root.AccessKeyID, SecretAccessKey: s.Root.SecretAccessKey}
		if err := v4.NewSigner().SignHTTP(context.Background(), creds, req, digest.FromString(form).Encoded(), service, s.Region, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func TestCallerIdentityAndUser(t *testing.T) {
	s := servertest.Start(t)
	var identity struct {
		XMLName xml.Name
		Result  struct{ Arn, UserId, Account string } `xml:"GetCallerIdentityResult"`
		ID      string                                `xml:"ResponseMetadata>RequestId"`
	}
	a := call(t, s, "sts", "Action=GetCallerIdentity&Version=2011-06-15", nil)
	if err := xml.Unmarshal([]byte(a.body), &identity); err != nil || a.status != 200 || a.header.Get("Content-Type") != "text/xml" {
		t.Fatalf("%+v, %v", a, err)
	}
	if identity.XMLName.Local != "GetCallerIdentityResponse" || identity.XMLName.Space != "https://sts.amazonaws.com/doc/2011-06-15/" ||
		identity.Result.Arn != "arn:aws:iam::000000000000:root" || identity.Result.Account != "000000000000" ||
		identity.ID != a.header.Get("X-Amzn-Requestid") || len(identity.ID) != 36 {
		t.Errorf("%+v", identity)
	}
	var user struct {
		Arn        string `xml:"GetUserResult>User>Arn"`
		UserName   string `xml:"GetUserResult>User>UserName"`
		CreateDate string `xml:"GetUserResult>User>CreateDate"`
	}
	a = call(t, s, "iam", "Action=GetUser&Version=2010-05-08", nil)
	if err := xml.Unmarshal([]byte(a.body), &user); err != nil || a.status != 200 {
		t.Fatalf("%+v, %v", a, err)
	}
	if created, err := time.Parse(time.RFC3339, user.CreateDate); err != nil || time.Since(created) > time.Hour || user.UserName != "" || user.Arn != identity.Result.Arn {
		t.Errorf("%+v, %v", user, err)
	}
}

func TestRefusals(t *testing.T) {
	s := servertest.Start(t)
	const identity = "Action=GetCallerIdentity&Version=2011-06-15"
	for name, tc := range map[string]struct {
		service, form string
		change        func(*http.Request)
		status        int
		code          string
	}{
		"unknown action":            {"sts", "Action=AssumeRoleWithSAML", nil, 400, "InvalidAction"},
		"no action":                 {"sts", "", nil, 400, "InvalidAction"},
		"markup as action":          {"sts", "Action=" + "%3Cscript%3E%00", nil, 400, "InvalidAction"},
		"not a form":                {"sts", "%zz", nil, 400, "MalformedQueryString"},
		"not signed":                {"", identity, nil, 403, "MissingAuthenticationToken"},
		"signed for iam":            {"iam", identity, nil, 403, "SignatureDoesNotMatch"},
		"signed for ecr":            {"ecr", identity, nil, 403, "SignatureDoesNotMatch"},
		"sts signature for GetUser": {"sts", "Action=GetUser", nil, 403, "SignatureDoesNotMatch"},
		"another user":              {"iam", "Action=GetUser&UserName=bob", nil, 404, "NoSuchEntity"},
		"wrong signature": {"sts", identity, func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")[:len(r.Header.Get("Authorization"))-1]+"x")
		}, 403, ""},
		"unknown key": {"sts", identity, func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), s.Root.AccessKeyID, "AKIANOBODY", 1))
		}, 403, "InvalidClientTokenId"},
		"other body": {"sts", identity, func(r *http.Request) {
			r.Body, r.GetBody = io.NopCloser(strings.NewReader(identity+"&")), nil
			r.ContentLength++
		}, 403, "SignatureDoesNotMatch"},
		"body too large": {"sts", identity + strings.Repeat("&x=y", 100_000), nil, 413, "RequestEntityTooLarge"},
	} {
		t.Run(name, func(t *testing.T) {
			a := call(t, s, tc.service, tc.form, tc.change)
			var body struct {
				XMLName xml.Name
				Type    string `xml:"Error>Type"`
				Code    string `xml:"Error>Code"`
				Message string `xml:"Error>Message"`
				ID      string `xml:"RequestId"`
			}
			if err := xml.Unmarshal([]byte(a.body), &body); err != nil || body.XMLName.Local != "ErrorResponse" {
				t.Fatalf("%q: %v", a.body, err)
			}
			if tc.code == "" { // malformed or wrong: either says so
				tc.code, tc.status = body.Code, a.status
			}
			if a.status != tc.status || a.status < 400 || a.status > 499 || body.Code != tc.code || body.Type != "Sender" || body.Message == "" ||
				body.ID != a.header.Get("X-Amzn-Requestid") {
				t.Errorf("%d %s, want %d %s", a.status, a.body, tc.status, tc.code)
			}
			if strings.Contains(a.body, "<script>") {
				t.Errorf("the answer repeats markup: %s", a.body)
			}
		})
	}
}

// as is the server for a caller with other keys.
func as(s *servertest.Server, id, secret string) *servertest.Server {
	other := *s
	other.Root.AccessKeyID, other.Root.SecretAccessKey = id, secret
	return &other
}

// Accounts are made by the root user of the home account and by nobody else,
// and what is in one is not in another.
func TestAccountsAreApart(t *testing.T) {
	s := servertest.Start(t)
	var made struct {
		ID     string `xml:"BerthCreateAccountResult>Account>AccessKeyId"`
		Secret string `xml:"BerthCreateAccountResult>Account>SecretAccessKey"`
	}
	const create = "Action=BerthCreateAccount&Version=2010-05-08&AccountId="
	a := call(t, s, "iam", create+"111122223333", nil)
	if err := xml.Unmarshal([]byte(a.body), &made); err != nil || a.status != 200 {
		t.Fatalf("%+v, %v", a, err)
	}
	other := as(s, made.ID, made.Secret)
	if a := call(t, other, "sts", "Action=GetCallerIdentity", nil); !strings.Contains(a.body, "arn:aws:iam::111122223333:root") {
		t.Errorf("%+v", a)
	}
	if a := call(t, s, "iam", "Action=CreateUser&UserName=ann", nil); a.status != 200 {
		t.Errorf("%+v", a)
	}
	for form, code := range map[string]string{
		create + "444455556666":                                                    "AccessDenied",
		"Action=BerthListAccounts":                                                 "AccessDenied",
		"Action=BerthDeleteAccount&AccountId=111122223333":                         "AccessDenied",
		"Action=BerthRotateRootKey&AccountId=000000000000":                         "AccessDenied",
		"Action=GetUser&UserName=ann":                                              "NoSuchEntity",
		"Action=CreateAccessKey&UserName=ann":                                      "NoSuchEntity",
		"Action=UpdateAccessKey&Status=Inactive&AccessKeyId=" + s.Root.AccessKeyID: "NoSuchEntity",
		"Action=DeleteAccessKey&AccessKeyId=" + s.Root.AccessKeyID:                 "NoSuchEntity",
		"Action=GetAccessKeyLastUsed&AccessKeyId=" + s.Root.AccessKeyID:            "AccessDenied",
	} {
		if a := call(t, other, "iam", form, nil); !strings.Contains(a.body, "<Code>"+code+"</Code>") {
			t.Errorf("%s: %+v, want %s", form, a, code)
		}
	}
	if a := call(t, s, "iam", "Action=BerthDeleteAccount&AccountId=000000000000", nil); a.status != 400 {
		t.Errorf("the home account: %+v", a)
	}
}

// A user without a policy may read nothing but who it is.
func TestUsersMayNothingByThemselves(t *testing.T) {
	s := servertest.Start(t)
	var key struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	call(t, s, "iam", "Action=CreateUser&UserName=ann", nil)
	a := call(t, s, "iam", "Action=CreateAccessKey&UserName=ann", nil)
	if err := xml.Unmarshal([]byte(a.body), &key); err != nil || a.status != 200 {
		t.Fatalf("%+v, %v", a, err)
	}
	ann := as(s, key.ID, key.Secret)
	for _, form := range []string{
		"Action=GetUser", "Action=CreateAccessKey", "Action=ListUsers", "Action=CreateUser&UserName=bob",
		"Action=PutUserPolicy&UserName=ann&PolicyName=p&PolicyDocument=%7B%7D", "Action=DeleteUser&UserName=ann",
		"Action=CreateRole&RoleName=r&AssumeRolePolicyDocument=%7B%7D", "Action=ListPolicies", "Action=BerthListAccounts",
		"Action=CreatePolicy&PolicyName=p&PolicyDocument=%7B%7D", "Action=ListOpenIDConnectProviders",
	} {
		if a := call(t, ann, "iam", form, nil); a.status != 403 || !strings.Contains(a.body, "<Code>AccessDenied</Code>") {
			t.Errorf("%s: %+v", form, a)
		}
	}
	role := "Action=AssumeRole&RoleSessionName=ss&RoleArn=arn:aws:iam::000000000000:role/r"
	if a := call(t, ann, "sts", role, nil); a.status != 403 {
		t.Errorf("%+v", a)
	}
	if a := call(t, ann, "sts", role+"&Tags.member.1.Key=a&Tags.member.1.Value=b", nil); a.status != 400 {
		t.Errorf("session tags: %+v", a)
	}
}

// Temporary credentials sign over HTTP, and only with their own token.
func TestSessionSigns(t *testing.T) {
	s := servertest.Start(t)
	var got struct {
		ID     string `xml:"GetSessionTokenResult>Credentials>AccessKeyId"`
		Secret string `xml:"GetSessionTokenResult>Credentials>SecretAccessKey"`
		Token  string `xml:"GetSessionTokenResult>Credentials>SessionToken"`
	}
	a := call(t, s, "sts", "Action=GetSessionToken&DurationSeconds=900", nil)
	if err := xml.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatalf("%+v, %v", a, err)
	}
	if a := call(t, as(s, got.ID, got.Secret), "sts", "Action=GetCallerIdentity", nil); a.status != 403 {
		t.Errorf("without the token: %+v", a)
	}
	form := "Action=GetCallerIdentity"
	req, err := http.NewRequest("POST", s.Endpoint+"/", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	creds := aws.Credentials{AccessKeyID: got.ID, SecretAccessKey: got.Secret, SessionToken: got.Token}
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, digest.FromString(form).Encoded(), "sts", s.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || !strings.Contains(string(b), "arn:aws:iam::000000000000:root") {
		t.Errorf("%s, %v", b, err)
	}
}
