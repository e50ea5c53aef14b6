package conformance

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"berth/internal/server/servertest"
)

// pushAndPull are the actions that the documentation names for pushing and pulling (ECR User Guide, "Required IAM
// permissions for pushing an image", and for pulling).
const pushAndPull = `"ecr:CompleteLayerUpload","ecr:UploadLayerPart","ecr:InitiateLayerUpload","ecr:BatchCheckLayerAvailability",
	"ecr:PutImage","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"`

// TestOCIConformanceOfAUser runs the suite as a user who may push and pull, and nothing else: neither list nor delete,
// so that what the suite does for that is switched off.
func TestOCIConformanceOfAUser(t *testing.T) {
	server := servertest.Start(t)
	server.CreateRepositories(Repository1, Repository2)
	server.IAM("CreateUser", "UserName", "ci")
	server.IAM("PutUserPolicy", "UserName", "ci", "PolicyName", "push", "PolicyDocument", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
		{"Effect":"Allow","Action":[`+pushAndPull+`],"Resource":["arn:aws:ecr:us-east-1:000000000000:repository/`+Repository1+`",
			"arn:aws:ecr:us-east-1:000000000000:repository/`+Repository2+`"]}]}`)
	answer := server.IAM("CreateAccessKey", "UserName", "ci")
	client := ecr.New(ecr.Options{BaseEndpoint: aws.String(server.Endpoint), Region: server.Region, Credentials: credentials.NewStaticCredentialsProvider(
		between(answer, "<AccessKeyId>"), between(answer, "<SecretAccessKey>"), "")})
	out, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	login, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(string(login), ":")

	off := map[string]string{"OCI_API_TAGS_LIST": "false", "OCI_API_BLOBS_ATOMIC": "false", "OCI_API_MANIFESTS_ATOMIC": "false", "OCI_API_TAGS_ATOMIC": "false"}
	for _, what := range []string{"BLOBS", "MANIFESTS", "TAGS"} {
		off["OCI_API_"+what+"_DELETE"] = "false"
	}
	report := execute(t, Registry{Host: server.Host, User: user, Password: password}, maps.Clone(off))
	t.Logf("the suite ran %d cases: %d passed, %d failed", len(report.Cases), report.count(Passed), report.count(Failure))
	if report.count(Passed) < 570 { // 579 at the pinned version
		t.Errorf("only %d cases passed", report.count(Passed))
	}
	for _, c := range report.Cases {
		if c.Status != Passed && c.Status != Skipped {
			t.Errorf("%s: %s: %s", c.Name, c.Status, c.Reason)
		}
	}
}

func between(s, element string) string {
	_, rest, _ := strings.Cut(s, element)
	value, _, _ := strings.Cut(rest, "<")
	return value
}
