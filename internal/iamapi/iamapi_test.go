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
