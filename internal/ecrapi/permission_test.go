package ecrapi_test

import (
	"fmt"
	"strings"
	"testing"
)

// user makes a user with a policy of these statements and gives a client that signs as it.
func (c *client) user(name, statements string) *client {
	c.t.Helper()
	c.IAM("CreateUser", "UserName", name)
	c.IAM("PutUserPolicy", "UserName", name, "PolicyName", "p", "PolicyDocument", `{"Version":"2012-10-17","Statement":[`+statements+`]}`)
	key := c.IAM("CreateAccessKey", "UserName", name)
	u := *c
	u.id, u.secret = element(key, "AccessKeyId"), element(key, "SecretAccessKey")
	return &u
}

func element(xml, name string) string {
	_, rest, _ := strings.Cut(xml, "<"+name+">")
	value, _, _ := strings.Cut(rest, "<")
	return value
}

const ownRepository = "arn:aws:ecr:us-east-1:000000000000:repository/"

// A repository that is named is asked about by its own name, so that a policy about it decides, and not one about all.
func TestNamedRepositoriesAreAskedAbout(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	c.create("app", "other", "secret")
	one := c.user("one", `{"Effect":"Allow","Action":"ecr:*","Resource":"`+ownRepository+`app"}`)
	most := c.user("most", `{"Effect":"Allow","Action":"ecr:*","Resource":"*"},{"Effect":"Deny","Action":"ecr:*","Resource":"`+ownRepository+`secret"}`)
	for _, operation := range []string{"DescribeRepositories", "BatchGetRepositoryScanningConfiguration"} {
		names := func(list ...string) string { return `{"repositoryNames":["` + strings.Join(list, `","`) + `"]}` }
		denied := func(u *client, why, body, repository string) {
			t.Helper()
			u.call(operation, body).refused(400, "AccessDeniedException", fmt.Sprintf("ecr:%s on resource: %s%s %s", operation, ownRepository, repository, why))
		}
		one.call(operation, names("app")).ok()
		denied(one, "because no identity-based policy allows", names("other"), "other")
		denied(one, "because no identity-based policy allows", names("app", "other"), "other")
		most.call(operation, names("app", "other")).ok()
		denied(most, "with an explicit deny in an identity-based policy", names("secret"), "secret")
		denied(most, "with an explicit deny in an identity-based policy", names("app", "other", "secret"), "secret")
	}
	one.call("DescribeRepositories", `{}`).refused(400, "AccessDeniedException", "on resource: "+ownRepository+"* because")
	most.call("DescribeRepositories", `{}`).ok()

	// The policy of a repository decides about it too.
	c.call("SetRepositoryPolicy", `{"repositoryName":"app","policyText":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"ecr:DescribeRepositories\"}]}"}`).ok()
	one.call("DescribeRepositories", `{"repositoryNames":["app"]}`).refused(400, "AccessDeniedException", "with an explicit deny in a resource-based policy")
}

// An ARN written in another way does not pass a policy that denies something on a repository.
func TestOneARNOfARepository(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	c.create("app")
	u := c.user("u", `{"Effect":"Allow","Action":"ecr:*","Resource":"*"},{"Effect":"Deny","Action":"ecr:TagResource","Resource":"`+ownRepository+`app"}`)
	tag := func(arn string) answer {
		return u.call("TagResource", `{"resourceArn":"`+arn+`","tags":[{"Key":"k","Value":"v"}]}`)
	}
	tag(ownRepository+"app").refused(400, "AccessDeniedException", "with an explicit deny")
	for _, change := range [][2]string{{"arn:aws:", "arn:aws-cn:"}, {"arn:aws:", "arn::"}, {"arn:aws:", "arn:AWS:"}, {":ecr:", ":ECR:"}, {"/app", "//app"}, {"/app", "/app/"}, {"/app", "/App"}} {
		tag(strings.Replace(ownRepository+"app", change[0], change[1], 1)).refused(400, "InvalidParameterException", "resourceArn")
	}
}

// Tags decide in conditions, so a new repository has none that its maker may not give.
func TestTagsOfANewRepository(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	const create = `{"Effect":"Allow","Action":"ecr:CreateRepository","Resource":"*"}`
	u := c.user("u", create)
	u.call("CreateRepository", `{"repositoryName":"plain"}`).ok()
	u.call("CreateRepository", `{"repositoryName":"tagged","tags":[{"Key":"team","Value":"a"}]}`).refused(400, "AccessDeniedException",
		"ecr:TagResource on resource: "+ownRepository+"tagged because no identity-based policy allows the ecr:TagResource action")
	v := c.user("v", create+`,{"Effect":"Allow","Action":"ecr:TagResource","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"a"}}}`)
	v.call("CreateRepository", `{"repositoryName":"tagged","tags":[{"Key":"team","Value":"b"}]}`).refused(400, "AccessDeniedException", "ecr:TagResource")
	v.call("CreateRepository", `{"repositoryName":"tagged","tags":[{"Key":"team","Value":"a"}]}`).ok()
}
