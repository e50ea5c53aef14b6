package ecrapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// repositoryTemplate is the template of an answer.
func repositoryTemplate(t *testing.T, out map[string]any) map[string]any {
	t.Helper()
	tpl, ok := out["repositoryCreationTemplate"].(map[string]any)
	if !ok || out["registryId"] != "000000000000" {
		t.Fatalf("the answer is %v", out)
	}
	return tpl
}

func TestCreationTemplatesOfTheAPI(t *testing.T) {
	c := newClient(t)
	for body, want := range map[string]string{
		`{"appliedFor":["REPLICATION"]}`:                      "prefix",
		`{"prefix":"prod"}`:                                   "appliedFor",
		`{"prefix":"Prod","appliedFor":["REPLICATION"]}`:      "prefix",
		`{"prefix":"prod","appliedFor":["PUSH"]}`:             "appliedFor.1.member",
		`{"prefix":"prod","appliedFor":[],"description":"x"}`: "appliedFor",
		`{"prefix":"prod","appliedFor":["REPLICATION"],"kmsKey":1,"description":"` + strings.Repeat("d", 257) + `"}`:           "description",
		`{"prefix":"prod","appliedFor":["REPLICATION"],"encryptionConfiguration":{"encryptionType":"KMS","kmsKey":"alias/x"}}`: "encryptionConfiguration.kmsKey",
		`{"prefix":"prod","appliedFor":["REPLICATION"],"resourceTags":[{"Key":"aws:x","Value":""}]}`:                           "resourceTags",
	} {
		c.call("CreateRepositoryCreationTemplate", body).refused(400, "InvalidParameterException", "Invalid parameter at '"+want+"'")
	}
	made := repositoryTemplate(t, c.call("CreateRepositoryCreationTemplate", `{"prefix":"prod","appliedFor":["CREATE_ON_PUSH"]}`).ok())
	if _, ok := made["createdAt"].(float64); !ok || made["createdAt"] != made["updatedAt"] {
		t.Errorf("times %v %v", made["createdAt"], made["updatedAt"])
	}
	delete(made, "createdAt")
	delete(made, "updatedAt")
	if got := fmt.Sprint(made); got != "map[appliedFor:[CREATE_ON_PUSH] encryptionConfiguration:map[encryptionType:AES256] imageTagMutability:MUTABLE prefix:prod resourceTags:[]]" {
		t.Errorf("the defaults are %s", got)
	}
	c.call("CreateRepositoryCreationTemplate", `{"prefix":"prod","appliedFor":["CREATE_ON_PUSH"]}`).refused(400, "TemplateAlreadyExistsException", "'prod' already exists")

	// What an update does not name stays; an empty text or list removes.
	full := repositoryTemplate(t, c.call("UpdateRepositoryCreationTemplate", `{"prefix":"prod","description":"d","resourceTags":[{"Key":"k","Value":"v"}],`+
		`"imageTagMutability":"IMMUTABLE_WITH_EXCLUSION","imageTagMutabilityExclusionFilters":[{"filterType":"WILDCARD","filter":"dev*"}],`+
		`"customRoleArn":"arn:aws:iam::000000000000:role/r"}`).ok())
	kept := repositoryTemplate(t, c.call("UpdateRepositoryCreationTemplate", `{"prefix":"prod"}`).ok())
	for _, tpl := range []map[string]any{full, kept} {
		if got := fmt.Sprint(tpl["description"], tpl["resourceTags"], tpl["imageTagMutability"], tpl["imageTagMutabilityExclusionFilters"], tpl["customRoleArn"], tpl["appliedFor"]); got !=
			"d[map[Key:k Value:v]]IMMUTABLE_WITH_EXCLUSION[map[filter:dev* filterType:WILDCARD]]arn:aws:iam::000000000000:role/r[CREATE_ON_PUSH]" {
			t.Errorf("updated: %s", got)
		}
	}
	cleared := repositoryTemplate(t, c.call("UpdateRepositoryCreationTemplate", `{"prefix":"prod","description":"","resourceTags":[],"imageTagMutability":"MUTABLE","customRoleArn":""}`).ok())
	if got := fmt.Sprint(cleared["description"], cleared["resourceTags"], cleared["imageTagMutabilityExclusionFilters"], cleared["customRoleArn"]); got != "<nil> [] <nil> <nil>" {
		t.Errorf("cleared: %s", got)
	}

	c.call("CreateRepositoryCreationTemplate", `{"prefix":"ROOT","appliedFor":["PULL_THROUGH_CACHE","REPLICATION"]}`).ok()
	var prefixes []string
	for token := ""; ; {
		page := c.call("DescribeRepositoryCreationTemplates", `{"maxResults":1,"nextToken":`+quoted(t, token)+`}`).ok()
		for _, tpl := range page["repositoryCreationTemplates"].([]any) {
			prefixes = append(prefixes, tpl.(map[string]any)["prefix"].(string))
		}
		if token, _ = page["nextToken"].(string); token == "" {
			break
		}
	}
	if fmt.Sprint(prefixes) != "[ROOT prod]" {
		t.Errorf("listed %v", prefixes)
	}
	named := c.call("DescribeRepositoryCreationTemplates", `{"prefixes":["prod","none"]}`).ok()
	if list := named["repositoryCreationTemplates"].([]any); len(list) != 1 {
		t.Errorf("named %v", named)
	}
	c.call("DescribeRepositoryCreationTemplates", `{"prefixes":["prod"],"maxResults":1}`).refused(400, "InvalidParameterException", "prefixes")
	if got := c.in("eu-west-1").call("DescribeRepositoryCreationTemplates", `{}`).ok(); fmt.Sprint(got["repositoryCreationTemplates"]) != "[]" {
		t.Errorf("another region has %v", got)
	}
	if old := repositoryTemplate(t, c.call("DeleteRepositoryCreationTemplate", `{"prefix":"prod"}`).ok()); old["prefix"] != "prod" {
		t.Errorf("deleted %v", old)
	}
	for _, operation := range []string{"DeleteRepositoryCreationTemplate", "UpdateRepositoryCreationTemplate"} {
		c.call(operation, `{"prefix":"prod"}`).refused(400, "TemplateNotFoundException", "'prod' was not found")
	}
}

func quoted(t *testing.T, text string) string {
	t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// InitiateLayerUpload of the ECR API is the beginning of a push too.
func TestInitiateLayerUploadCreates(t *testing.T) {
	c := newClient(t)
	c.call("InitiateLayerUpload", `{"repositoryName":"prod/app"}`).refused(400, "RepositoryNotFoundException",
		"The repository with name 'prod/app' does not exist in the registry with id '000000000000'")
	c.call("CreateRepositoryCreationTemplate", `{"prefix":"prod","appliedFor":["CREATE_ON_PUSH"],"imageTagMutability":"IMMUTABLE"}`).ok()
	if out := c.call("InitiateLayerUpload", `{"repositoryName":"prod/app"}`).ok(); out["uploadId"] == nil {
		t.Errorf("the answer is %v", out)
	}
	out := c.call("DescribeRepositories", `{"repositoryNames":["prod/app"]}`).ok()
	if repo := out["repositories"].([]any)[0].(map[string]any); repo["imageTagMutability"] != "IMMUTABLE" {
		t.Errorf("created %v", repo)
	}
	c.call("CreateRepositoryCreationTemplate", `{"prefix":"tagged","appliedFor":["CREATE_ON_PUSH"],"resourceTags":[{"Key":"k","Value":"v"}]}`).ok()
	c.call("InitiateLayerUpload", `{"repositoryName":"tagged/app"}`).refused(400, "InvalidParameterException", "for which it needs a customRoleArn")
}
