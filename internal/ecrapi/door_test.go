package ecrapi_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/ecr"
	"berth/internal/server/servertest"
)

// offered are the operations of this stage; each answers in the modelled form
// when it is asked about a repository that is not there.
var offered = map[string]string{
	"DescribeRepositories":           `{"repositoryNames":["none"]}`,
	"DeleteRepository":               `{"repositoryName":"none"}`,
	"PutImageTagMutability":          `{"repositoryName":"none","imageTagMutability":"IMMUTABLE"}`,
	"PutImageScanningConfiguration":  `{"repositoryName":"none","imageScanningConfiguration":{}}`,
	"TagResource":                    `{"resourceArn":"arn:aws:ecr:us-east-1:000000000000:repository/none","tags":[{"Key":"k","Value":"v"}]}`,
	"UntagResource":                  `{"resourceArn":"arn:aws:ecr:us-east-1:000000000000:repository/none","tagKeys":["k"]}`,
	"ListTagsForResource":            `{"resourceArn":"arn:aws:ecr:us-east-1:000000000000:repository/none"}`,
	"SetRepositoryPolicy":            `{"repositoryName":"none","policyText":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"ecr:*\"}]}"}`,
	"GetRepositoryPolicy":            `{"repositoryName":"none"}`,
	"DeleteRepositoryPolicy":         `{"repositoryName":"none"}`,
	"PutLifecyclePolicy":             `{"repositoryName":"none","lifecyclePolicyText":"{\"rules\":[{\"rulePriority\":1,\"selection\":{\"tagStatus\":\"any\",\"countType\":\"imageCountMoreThan\",\"countNumber\":1},\"action\":{\"type\":\"expire\"}}]}"}`,
	"GetLifecyclePolicy":             `{"repositoryName":"none"}`,
	"DeleteLifecyclePolicy":          `{"repositoryName":"none"}`,
	"StartLifecyclePolicyPreview":    `{"repositoryName":"none"}`,
	"GetLifecyclePolicyPreview":      `{"repositoryName":"none"}`,
	"PutImage":                       `{"repositoryName":"none","imageManifest":"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[]}"}`,
	"BatchGetImage":                  `{"repositoryName":"none","imageIds":[{"imageTag":"x"}]}`,
	"BatchDeleteImage":               `{"repositoryName":"none","imageIds":[{"imageTag":"x"}]}`,
	"ListImages":                     `{"repositoryName":"none"}`,
	"DescribeImages":                 `{"repositoryName":"none"}`,
	"ListImageReferrers":             `{"repositoryName":"none","subjectId":{"imageDigest":"sha256:00"}}`,
	"UpdateImageStorageClass":        `{"repositoryName":"none","imageId":{"imageTag":"x"},"targetStorageClass":"ARCHIVE"}`,
	"StartImageScan":                 `{"repositoryName":"none","imageId":{"imageTag":"x"}}`,
	"DescribeImageScanFindings":      `{"repositoryName":"none","imageId":{"imageTag":"x"}}`,
	"DescribeImageReplicationStatus": `{"repositoryName":"none","imageId":{"imageTag":"x"}}`,
	"DescribeImageSigningStatus":     `{"repositoryName":"none","imageId":{"imageTag":"x"}}`,
	"InitiateLayerUpload":            `{"repositoryName":"none"}`,
	"UploadLayerPart":                `{"repositoryName":"none","uploadId":"00000000-0000-0000-0000-000000000000","partFirstByte":0,"partLastByte":0,"layerPartBlob":"eA=="}`,
	"CompleteLayerUpload":            `{"repositoryName":"none","uploadId":"00000000-0000-0000-0000-000000000000","layerDigests":["sha256:00"]}`,
	"BatchCheckLayerAvailability":    `{"repositoryName":"none","layerDigests":["sha256:00"]}`,
	"GetDownloadUrlForLayer":         `{"repositoryName":"none","layerDigest":"sha256:00"}`,
}

// others are offered too, and have no repository.
var others = []string{
	"CreateRepository", "GetAuthorizationToken", "DescribeRegistry", "CreatePullThroughCacheRule",
	"DescribePullThroughCacheRules", "UpdatePullThroughCacheRule", "DeletePullThroughCacheRule", "ValidatePullThroughCacheRule",
	"PutRegistryPolicy", "GetRegistryPolicy", "DeleteRegistryPolicy",
	"GetAccountSetting", "PutAccountSetting",
	"PutRegistryScanningConfiguration", "GetRegistryScanningConfiguration", "BatchGetRepositoryScanningConfiguration",
	"PutReplicationConfiguration", "PutSigningConfiguration", "GetSigningConfiguration", "DeleteSigningConfiguration",
	"StartReplicationBackfill", "StopReplicationBackfill", "ListReplicationBackfills", "DescribeReplicationBackfillResults",
	"CreateRepositoryCreationTemplate", "DescribeRepositoryCreationTemplates", "UpdateRepositoryCreationTemplate", "DeleteRepositoryCreationTemplate",
	"RegisterPullTimeUpdateExclusion", "DeregisterPullTimeUpdateExclusion", "ListPullTimeUpdateExclusions",
}

func TestEveryRouteRefusesInTheModelledForm(t *testing.T) {
	c := newClient(t)
	for operation, body := range offered {
		c.call(operation, body).refused(400, "RepositoryNotFoundException",
			"The repository with name 'none' does not exist in the registry with id '000000000000'")
	}
}

// Every operation of the model is either offered, and then checks its body and
// its caller, or plainly is not.
func TestEveryOperationOfTheModel(t *testing.T) {
	c := newClient(t)
	routed := map[string]bool{}
	for name := range offered {
		routed[name] = true
	}
	for _, name := range others {
		routed[name] = true
	}
	for _, op := range ecr.Operations() {
		if !routed[op.Name] {
			c.call(op.Name, "{}").refused(404, "UnknownOperationException", op.Name)
			continue
		}
		delete(routed, op.Name)
		c.call(op.Name, "[]").refused(400, "SerializationException", "")
		c.call(op.Name, "{").refused(400, "SerializationException", "")
		c.call(op.Name, "\xff").refused(400, "SerializationException", "")
		c.send(c.request(op.Name, "{}")).refused(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
		for _, m := range op.Input.Members {
			c.call(op.Name, fmt.Sprintf(`{%q:%s}`, m.Name, wrongJSON(m.Shape.Kind))).refused(400, "SerializationException", "")
		}
		if required(op) {
			c.call(op.Name, "{}").refused(400, "InvalidParameterException", "Member must not be null")
		}
	}
	for name := range routed {
		t.Errorf("%s is not in the model", name)
	}
}

func required(op *ecr.Operation) bool {
	for _, m := range op.Input.Members {
		if m.Required {
			return true
		}
	}
	return false
}

// wrongJSON is a value of another type than the kind has on the wire.
func wrongJSON(k ecr.Kind) string {
	switch k {
	case ecr.KindStructure, ecr.KindList, ecr.KindMap:
		return `"x"`
	default:
		return `[1]`
	}
}

func TestUnknownTargets(t *testing.T) {
	c := newClient(t)
	for _, target := range []string{
		"AmazonEC2ContainerRegistry_V20150921.Nothing", "AmazonEC2ContainerRegistry_V20150921.", "AmazonEC2ContainerRegistry_V20150921",
		"DynamoDB_20120810.ListTables", "x", "AmazonEC2ContainerRegistry_V20150921.createRepository", strings.Repeat("x", 10_000),
	} {
		req := c.request("x", "{}")
		req.Header.Set("X-Amz-Target", target)
		c.send(c.sign(req, "{}")).refused(404, "UnknownOperationException", "")
	}
}

func TestSignatures(t *testing.T) {
	c := newClient(t)
	const body = `{"repositoryName":"app"}`
	change := func(f func(c *client)) answer {
		d := *c
		f(&d)
		return d.call("CreateRepository", body)
	}
	change(func(c *client) { c.secret += "x" }).refused(400, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided.")
	change(func(c *client) { c.id = "AKIANOBODY" }).refused(400, "UnrecognizedClientException", "The security token included in the request is invalid.")
	change(func(c *client) { c.at = c.at.Add(-16 * time.Minute) }).refused(400, "InvalidSignatureException", "Signature expired")
	change(func(c *client) { c.at = c.at.Add(16 * time.Minute) }).refused(400, "InvalidSignatureException", "Signature not yet current")
	change(func(c *client) { c.region = "Not_A_Region" }).refused(400, "InvalidSignatureException", "Credential should be scoped to a valid region")
	// The body is covered.
	c.send(c.sign(c.request("CreateRepository", `{"repositoryName":"evil"}`), body)).refused(400, "InvalidSignatureException", "")
	// So is the target: the signature of a reading call permits no writing one.
	req := c.sign(c.request("DescribeRepositories", body), body)
	req.Header.Set("X-Amz-Target", ecr.TargetPrefix+".CreateRepository")
	c.send(req).refused(400, "InvalidSignatureException", "")
	// Another service's signature is none.
	req = c.request("CreateRepository", body)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 garbage")
	c.send(req).refused(400, "IncompleteSignatureException", "")
	if list := c.call("DescribeRepositories", "{}").ok()["repositories"].([]any); len(list) != 0 {
		t.Errorf("a refused call created %v", list)
	}
	c.call("CreateRepository", body).ok()
}

// A body has an end, and no signature is needed to be told so.
func TestInvariant11_BodiesAreCapped(t *testing.T) {
	c := newClient(t)
	for _, name := range []string{"CreateRepository", "ListImages"} {
		op, _ := ecr.LookupOperation(name)
		body := `{"repositoryName":"` + strings.Repeat("a", int(op.MaxBody())) + `"}`
		c.call(name, body).refused(413, "RequestEntityTooLargeException", "")
		req := c.request(name, body)
		req.ContentLength = -1 // chunked: its length is not known before
		req.GetBody = nil
		c.send(c.sign(req, body)).refused(413, "RequestEntityTooLargeException", "")
	}
	// Within the cap the model decides.
	c.call("CreateRepository", `{"repositoryName":"`+strings.Repeat("a", 257)+`"}`).refused(400, "InvalidParameterException", "repositoryName")
}

func TestOtherAccountsAreDenied(t *testing.T) {
	c := newClient(t)
	c.create("app")
	const other = "999999999999"
	for operation, body := range offered {
		if strings.Contains(body, "resourceArn") {
			body = strings.Replace(body, "000000000000", other, 1)
		} else {
			body = strings.Replace(body, "{", `{"registryId":"`+other+`",`, 1)
		}
		c.call(operation, body).refused(400, "AccessDeniedException", fmt.Sprintf(
			"User: arn:aws:iam::000000000000:root is not authorized to perform: ecr:%s on resource: arn:aws:ecr:us-east-1:%s:repository/", actionOf(operation), other))
	}
	for _, operation := range []string{"CreatePullThroughCacheRule", "DescribePullThroughCacheRules", "DeletePullThroughCacheRule"} {
		body := `{"registryId":"` + other + `","ecrRepositoryPrefix":"hub","upstreamRegistryUrl":"quay.io"}`
		if strings.HasPrefix(operation, "Describe") {
			body = `{"registryId":"` + other + `"}`
		}
		c.call(operation, body).refused(400, "AccessDeniedException", "ecr:"+operation+" on resource: *")
	}
	c.call("CreateRepository", `{"registryId":"`+other+`","repositoryName":"app"}`).refused(400, "AccessDeniedException", "")
	c.call("DescribeRepositories", `{"registryId":"000000000000"}`).ok() // one's own, by its number
	c.call("DescribeRepositories", `{"registryId":"1"}`).refused(400, "InvalidParameterException", "registryId")
}

// actionOf is the action that allows an operation (Service Authorization
// Reference, "Actions defined by Amazon Elastic Container Registry").
func actionOf(operation string) string {
	if operation == "ListImageReferrers" {
		return "BatchGetImage"
	}
	return operation
}

func TestRegionOfTheSignatureIsTheRegistry(t *testing.T) {
	c := newClient(t)
	west := c.in("us-west-2")
	c.create("app", "east")
	west.create("app", "west")
	names := func(c *client) (out []string) {
		for _, r := range c.call("DescribeRepositories", "{}").ok()["repositories"].([]any) {
			out = append(out, r.(map[string]any)["repositoryName"].(string))
		}
		return out
	}
	if e, w := fmt.Sprint(names(c)), fmt.Sprint(names(west)); e != "[app east]" || w != "[app west]" {
		t.Errorf("east has %s, west %s", e, w)
	}
	west.call("DeleteRepository", `{"repositoryName":"east"}`).refused(400, "RepositoryNotFoundException", "")
	repo := west.call("DescribeRepositories", `{"repositoryNames":["app"]}`).ok()["repositories"].([]any)[0].(map[string]any)
	if repo["repositoryArn"] != "arn:aws:ecr:us-west-2:000000000000:repository/app" ||
		!strings.HasPrefix(repo["repositoryUri"].(string), "000000000000.dkr.ecr.us-west-2.localhost:") {
		t.Errorf("%v", repo)
	}
	// An ARN of another region than the signature's names nothing.
	arn := `{"resourceArn":"arn:aws:ecr:us-west-2:000000000000:repository/app"}`
	c.call("ListTagsForResource", arn).refused(400, "InvalidParameterException", "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'")
	west.call("ListTagsForResource", arn).ok()
	// A page of one registry continues in no other.
	next := c.call("DescribeRepositories", `{"maxResults":1}`).ok()["nextToken"].(string)
	west.call("DescribeRepositories", `{"nextToken":"`+next+`"}`).refused(400, "InvalidParameterException", "Invalid parameter at 'NextToken' failed to satisfy constraint: 'Invalid next token provided'")
	// So does the virtual host of the Distribution API.
	req, err := http.NewRequest("GET", c.Endpoint+"/v2/west/tags/list", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(c.Login())
	if a := c.send(req); a.status != 404 {
		t.Errorf("the home registry has the repository of another: %d", a.status)
	}
	req.Host = "000000000000.dkr.ecr.us-west-2.localhost"
	if a := c.send(req); a.status != 200 {
		t.Errorf("the virtual host: %d %s", a.status, a.body)
	}
}

// Only who holds a key can make the server take in a large body: everybody
// else is answered before the first byte of it.
func TestStrangersCannotSendLargeBodies(t *testing.T) {
	s := servertest.Start(t)
	signed := "AWS4-HMAC-SHA256 Credential=%s/" + time.Now().UTC().Format("20060102") +
		"/us-east-1/ecr/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + strings.Repeat("0", 64)
	for name, c := range map[string]struct{ authorization, want string }{
		"no signature": {"", "MissingAuthenticationTokenException"},
		"unknown key":  {fmt.Sprintf(signed, "AKIAUNKNOWNUNKNOWN00"), "UnrecognizedClientException"},
		"old date":     {strings.Replace(fmt.Sprintf(signed, s.Root.AccessKeyID), time.Now().UTC().Format("2006"), "1999", 1), "InvalidSignatureException"},
	} {
		conn, err := net.Dial("tcp", s.Host)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		head := "POST / HTTP/1.1\r\nHost: " + s.Host + "\r\nContent-Length: 20000000\r\nContent-Type: application/x-amz-json-1.1\r\n" +
			"X-Amz-Target: " + ecr.TargetPrefix + ".UploadLayerPart\r\nX-Amz-Date: " + time.Now().UTC().Format("20060102T150405Z") + "\r\n"
		if c.authorization != "" {
			head += "Authorization: " + c.authorization + "\r\n"
		}
		if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: no answer before the body: %v", name, err)
		}
		if got := resp.Header.Get("X-Amzn-Errortype"); resp.StatusCode != 400 || got != c.want {
			t.Errorf("%s: %d %s, want 400 %s", name, resp.StatusCode, got, c.want)
		}
		if err := errors.Join(resp.Body.Close(), conn.Close()); err != nil {
			t.Error(err)
		}
	}
}
