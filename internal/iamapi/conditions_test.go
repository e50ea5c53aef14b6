package iamapi_test

import (
	"encoding/xml"
	"net/url"
	"strings"
	"testing"

	"berth/internal/server/servertest"
)

// admin makes a user with a policy of these statements, and gives a server that it signs requests to.
func admin(t *testing.T, s *servertest.Server, name, statements string) *servertest.Server {
	t.Helper()
	s.IAM("CreateUser", "UserName", name)
	s.IAM("PutUserPolicy", "UserName", name, "PolicyName", "p", "PolicyDocument", `{"Version":"2012-10-17","Statement":[`+statements+`]}`)
	var key struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	if err := xml.Unmarshal([]byte(s.IAM("CreateAccessKey", "UserName", name)), &key); err != nil {
		t.Fatal(err)
	}
	return as(s, key.ID, key.Secret)
}

// Those who look after users are held by conditions on what they set: policies, boundaries and tags.
func TestConditionsOnWhatIsSet(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	const (
		allow    = `{"Effect":"Allow","Action":"iam:*","Resource":"*"},`
		full     = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess"
		pullOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
		trust    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"sts:AssumeRole"}]}`
	)
	for _, name := range []string{"free", "tagged"} {
		s.IAM("CreateUser", "UserName", name)
	}
	s.IAM("CreateUser", "UserName", "bound", "PermissionsBoundary", pullOnly)
	attacher := admin(t, s, "attacher", allow+`{"Effect":"Deny","Action":"iam:AttachUserPolicy","Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":"`+full+`"}}}`)
	bounder := admin(t, s, "bounder", `{"Effect":"Allow","Action":["iam:CreateUser","iam:CreateRole","iam:PutUserPolicy","iam:PutUserPermissionsBoundary"],"Resource":"*",
		"Condition":{"StringEquals":{"iam:PermissionsBoundary":"`+pullOnly+`"}}}`)
	tagger := admin(t, s, "tagger", allow+`{"Effect":"Deny","Action":["iam:Tag*","iam:Untag*"],"Resource":"*","Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":"team"}}}`)
	maker := admin(t, s, "maker", `{"Effect":"Allow","Action":["iam:CreateUser","iam:CreateRole","iam:CreatePolicy"],"Resource":"*"}`)

	policy := "arn:aws:iam::000000000000:policy/kept"
	s.IAM("CreatePolicy", "PolicyName", "kept", "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`,
		"Tags.member.1.Key", "kept", "Tags.member.1.Value", "yes")
	s.IAM("CreateRole", "RoleName", "kept", "AssumeRolePolicyDocument", trust, "Tags.member.1.Key", "kept", "Tags.member.1.Value", "yes")
	s.IAM("CreateUser", "UserName", "kept", "Path", "/x/", "Tags.member.1.Key", "kept", "Tags.member.1.Value", "yes")
	s.IAM("CreateOpenIDConnectProvider", "Url", "https://idp.example.com", "ClientIDList.member.1", "c", "Tags.member.1.Key", "kept", "Tags.member.1.Value", "yes")
	keeper := admin(t, s, "keeper", allow+`{"Effect":"Deny","Action":"iam:Delete*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/kept":"yes"}}},
		{"Effect":"Deny","Action":"iam:GetUser","Resource":"*","Condition":{"StringEquals":{"iam:ResourceTag/kept":"yes"}}}`)

	for _, tc := range []struct {
		as      *servertest.Server
		form    string
		allowed bool
	}{
		{attacher, "Action=AttachUserPolicy&UserName=free&PolicyArn=" + pullOnly, true},
		{attacher, "Action=AttachUserPolicy&UserName=free&PolicyArn=" + full, false},

		{bounder, "Action=CreateUser&UserName=new1", false},
		{bounder, "Action=CreateUser&UserName=new1&PermissionsBoundary=" + full, false},
		{bounder, "Action=CreateUser&UserName=new1&PermissionsBoundary=" + pullOnly, true},
		{bounder, "Action=CreateRole&RoleName=new1&AssumeRolePolicyDocument=" + url.QueryEscape(trust), false},
		{bounder, "Action=CreateRole&RoleName=new1&PermissionsBoundary=" + pullOnly + "&AssumeRolePolicyDocument=" + url.QueryEscape(trust), true},
		{bounder, "Action=PutUserPolicy&UserName=free&PolicyName=p&PolicyDocument=" + url.QueryEscape(`{"Version":"2012-10-17","Statement":[]}`), false},
		{bounder, "Action=PutUserPolicy&UserName=bound&PolicyName=p&PolicyDocument=" + url.QueryEscape(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`), true},
		{bounder, "Action=PutUserPermissionsBoundary&UserName=bound&PermissionsBoundary=" + full, false},

		{tagger, "Action=TagUser&UserName=tagged&Tags.member.1.Key=color&Tags.member.1.Value=red", true},
		{tagger, "Action=TagUser&UserName=tagged&Tags.member.1.Key=color&Tags.member.1.Value=red&Tags.member.2.Key=team&Tags.member.2.Value=a", false},
		{tagger, "Action=UntagUser&UserName=tagged&TagKeys.member.1=color", true},
		{tagger, "Action=UntagUser&UserName=tagged&TagKeys.member.1=team", false},
		{tagger, "Action=CreateUser&UserName=new2&Tags.member.1.Key=team&Tags.member.1.Value=a", false},
		{tagger, "Action=CreateUser&UserName=new2&Tags.member.1.Key=color&Tags.member.1.Value=a", true},

		{maker, "Action=CreateUser&UserName=new3&Tags.member.1.Key=team&Tags.member.1.Value=a", false},
		{maker, "Action=CreateRole&RoleName=new3&Tags.member.1.Key=team&Tags.member.1.Value=a&AssumeRolePolicyDocument=" + url.QueryEscape(trust), false},
		{maker, "Action=CreatePolicy&PolicyName=new3&Tags.member.1.Key=team&Tags.member.1.Value=a&PolicyDocument=" + url.QueryEscape(trust), false},
		{maker, "Action=CreateUser&UserName=new3", true},

		{keeper, "Action=DeleteUser&UserName=kept", false},
		{keeper, "Action=GetUser&UserName=kept", false},
		{keeper, "Action=DeleteRole&RoleName=kept", false},
		{keeper, "Action=DeletePolicy&PolicyArn=" + policy, false},
		{keeper, "Action=DeleteOpenIDConnectProvider&OpenIDConnectProviderArn=arn:aws:iam::000000000000:oidc-provider/idp.example.com", false},
		{keeper, "Action=GetUser&UserName=free", true},
		{keeper, "Action=DeleteUser&UserName=new3", true},
	} {
		a := call(t, tc.as, "iam", tc.form, nil)
		if tc.allowed && a.status != 200 || !tc.allowed && (a.status != 403 || !strings.Contains(a.body, "<Code>AccessDenied</Code>")) {
			t.Errorf("%s: %d %s, expected that it is allowed: %t", tc.form, a.status, a.body, tc.allowed)
		}
	}
}
