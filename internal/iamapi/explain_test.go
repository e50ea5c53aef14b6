package iamapi_test

import (
	"encoding/xml"
	"net/url"
	"strings"
	"testing"

	"berth/internal/server/servertest"
)

const question = "Action=BerthExplainAccess&PrincipalArn=arn:aws:iam::000000000000:user/ann&ActionName=ecr:PutImage" +
	"&ResourceArn=arn:aws:ecr:us-east-1:000000000000:repository/app"

// Only the root user of the home account may ask about others; a question with a
// hole in it is refused, and one about somebody who does not exist.
func TestExplainRefuses(t *testing.T) {
	s := servertest.Start(t)
	call(t, s, "iam", "Action=CreateUser&UserName=ann", nil)
	var made struct {
		ID     string `xml:"BerthCreateAccountResult>Account>AccessKeyId"`
		Secret string `xml:"BerthCreateAccountResult>Account>SecretAccessKey"`
	}
	a := call(t, s, "iam", "Action=BerthCreateAccount&AccountId=111122223333", nil)
	if err := xml.Unmarshal([]byte(a.body), &made); err != nil || made.ID == "" {
		t.Fatalf("%+v, %v", a, err)
	}
	if a := call(t, as(s, made.ID, made.Secret), "iam", question, nil); a.status != 403 || !strings.Contains(a.body, "AccessDenied") {
		t.Errorf("another root user: %+v", a)
	}
	for change, want := range map[[2]string]string{
		{"PrincipalArn", ""}:    "principalArn",
		{"ActionName", ""}:      "actionName",
		{"ResourceArn", ""}:     "resourceArn",
		{"PrincipalArn", "ann"}: "is not the ARN of a root user",
		{"PrincipalArn", "arn:aws:iam::000000000000:user/bob"}:   "The user with name bob cannot be found.",
		{"ActionName", "PutImage"}:                               "is not one operation",
		{"ActionName", "ecr:*"}:                                  "is not one operation",
		{"ActionName", "ecr:PutImages"}:                          "ECR has no action ecr:PutImages.",
		{"ResourceArn", "app"}:                                   "neither an ARN",
		{"ResourceArn", "arn:aws:ecr:us-east-1::repository/app"}: "neither an ARN",
		{"SourceIp", "10.0.0.0/8"}:                               "is not an IP address",
	} {
		form, err := url.ParseQuery(question)
		if err != nil {
			t.Fatal(err)
		}
		form.Set(change[0], change[1])
		if a := call(t, s, "iam", form.Encode(), nil); a.status/100 != 4 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %+v, want %s", change, a, want)
		}
	}
}

// An action in any case is the same question.
func TestExplainAnswers(t *testing.T) {
	s := servertest.Start(t)
	call(t, s, "iam", "Action=CreateUser&UserName=ann", nil)
	for _, form := range []string{question, strings.Replace(question, "ecr:PutImage", "ECR:putimage", 1)} {
		a := call(t, s, "iam", form, nil)
		if a.status != 200 || !strings.Contains(a.body, "<Decision>Denied</Decision>") ||
			!strings.Contains(a.body, "because no identity-based policy allows the ecr:PutImage action</Message>") {
			t.Errorf("%+v", a)
		}
	}
}

// Conditions on where a request comes from hold at this door too, and are
// explained as they are decided. They were not seen here, so no address matched.
func TestConditionsOnAddress(t *testing.T) {
	s := servertest.Start(t)
	var key struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	call(t, s, "iam", "Action=CreateUser&UserName=ann", nil)
	a := call(t, s, "iam", "Action=CreateAccessKey&UserName=ann", nil)
	if err := xml.Unmarshal([]byte(a.body), &key); err != nil || key.ID == "" {
		t.Fatalf("%+v, %v", a, err)
	}
	ask := url.Values{
		"Action": {"BerthExplainAccess"}, "PrincipalArn": {"arn:aws:iam::000000000000:user/ann"}, "ActionName": {"iam:ListUsers"},
		"ResourceArn": {"arn:aws:iam::000000000000:user/"}, "SourceIp": {"127.0.0.1"},
	}
	for from, want := range map[string]struct {
		status   int
		decision string
	}{"127.0.0.0/8": {200, "Allowed"}, "192.0.2.0/24": {403, "Denied"}} {
		put := url.Values{"Action": {"PutUserPolicy"}, "UserName": {"ann"}, "PolicyName": {"list"}, "PolicyDocument": {
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"` + from + `"}}}]}`}}
		if a := call(t, s, "iam", put.Encode(), nil); a.status != 200 {
			t.Fatalf("%+v", a)
		}
		if a := call(t, as(s, key.ID, key.Secret), "iam", "Action=ListUsers", nil); a.status != want.status {
			t.Errorf("from %s: %+v, want %d", from, a, want.status)
		}
		if a := call(t, s, "iam", ask.Encode(), nil); !strings.Contains(a.body, "<Decision>"+want.decision+"</Decision>") {
			t.Errorf("from %s: %+v, want %s", from, a, want.decision)
		}
	}
}
