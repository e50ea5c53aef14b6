package ecrapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// Terraform leaves false out (terraform.md, Q1): absent is false, on Put too.
func TestAbsentBooleansAreFalse(t *testing.T) {
	c := newClient(t)
	scan := func() any {
		r := c.call("DescribeRepositories", `{"repositoryNames":["app"]}`).ok()["repositories"].([]any)[0].(map[string]any)
		return r["imageScanningConfiguration"].(map[string]any)["scanOnPush"]
	}
	c.call("CreateRepository", `{"repositoryName":"app","imageScanningConfiguration":{}}`).ok()
	if scan() != false {
		t.Errorf("created with scanOnPush %v", scan())
	}
	c.call("PutImageScanningConfiguration", `{"repositoryName":"app","imageScanningConfiguration":{"scanOnPush":true}}`).ok()
	if scan() != true {
		t.Errorf("set to true, is %v", scan())
	}
	out := c.call("PutImageScanningConfiguration", `{"repositoryName":"app","imageScanningConfiguration":{}}`).ok()
	if scan() != false || out["imageScanningConfiguration"].(map[string]any)["scanOnPush"] != false {
		t.Errorf("set to nothing, is %v; the answer says %v", scan(), out)
	}
	c.call("PutImageScanningConfiguration", `{"repositoryName":"app"}`).refused(400, "InvalidParameterException", "imageScanningConfiguration")
	push(c, "app", "v1")
	c.call("DeleteRepository", `{"repositoryName":"app"}`).refused(400, "RepositoryNotEmptyException",
		"The repository with name 'app' in registry with id '000000000000' cannot be deleted because it still contains images")
	c.call("DeleteRepository", `{"repositoryName":"app","force":true}`).ok()
}

// indexBody is a manifest that needs nothing else.
func indexBody(note string) string {
	return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"n":"` + note + `"}}`
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has a JSON form
	}
	return string(b)
}

func push(c *client, repo, tag string) (d string) {
	c.t.Helper()
	body := indexBody(tag)
	out := c.call("PutImage", fmt.Sprintf(`{"repositoryName":%q,"imageTag":%q,"imageManifest":%s}`, repo, tag, quote(body))).ok()
	d = out["image"].(map[string]any)["imageId"].(map[string]any)["imageDigest"].(string)
	if d != digest.FromString(body).String() {
		c.t.Errorf("digest %s", d)
	}
	return d
}

// An SDK reads an absent list as null, and a program that trusts it fails;
// what AWS always sends is there when empty.
func TestEmptyLists(t *testing.T) {
	c := newClient(t)
	c.create("app")
	for operation, tc := range map[string]struct{ body, want string }{
		"ListImages":                    {`{"repositoryName":"app"}`, `{"imageIds":[]}`},
		"DescribeImages":                {`{"repositoryName":"app"}`, `{"imageDetails":[]}`},
		"BatchDeleteImage":              {`{"repositoryName":"app","imageIds":[{"imageTag":"x"}]}`, `{"imageIds":[],"failures":[{"imageId":{"imageTag":"x"},"failureCode":"ImageNotFound","failureReason":"Requested image not found"}]}`},
		"BatchGetImage":                 {`{"repositoryName":"app","imageIds":[{"imageTag":"x"}]}`, `{"images":[],"failures":[{"imageId":{"imageTag":"x"},"failureCode":"ImageNotFound","failureReason":"Requested image not found"}]}`},
		"ListTagsForResource":           {`{"resourceArn":"arn:aws:ecr:us-east-1:000000000000:repository/app"}`, `{"tags":[]}`},
		"DescribePullThroughCacheRules": {`{}`, `{"pullThroughCacheRules":[]}`},
		"DescribeRegistry":              {`{}`, `{"registryId":"000000000000","replicationConfiguration":{"rules":[]}}`},
		"TagResource":                   {`{"resourceArn":"arn:aws:ecr:us-east-1:000000000000:repository/app","tags":[]}`, `{}`},
	} {
		a := c.call(operation, tc.body)
		a.ok()
		if a.body != tc.want {
			t.Errorf("%s: %s\nwant %s", operation, a.body, tc.want)
		}
	}
	if list := c.in("eu-west-1").call("DescribeRepositories", "").body; list != `{"repositories":[]}` { // an empty body is an empty object
		t.Error(list)
	}
	// Neither is there when it has nothing to say.
	repo := c.call("DescribeRepositories", "{}").body
	for _, absent := range []string{"nextToken", "imageTagMutabilityExclusionFilters", "kmsKey", "null"} {
		if strings.Contains(repo, absent) {
			t.Errorf("%s is in %s", absent, repo)
		}
	}
}

func TestInvariant11_ListsAreBounded(t *testing.T) {
	c := newClient(t)
	c.create("aa", "bb", "cc")
	for _, tag := range []string{"1", "2", "3"} {
		push(c, "aa", tag)
	}
	for operation, tc := range map[string]struct{ list, member string }{
		"DescribeRepositories": {"repositories", ""},
		"ListImages":           {"imageIds", `"repositoryName":"aa",`},
		"DescribeImages":       {"imageDetails", `"repositoryName":"aa",`},
	} {
		seen := 0
		token := ""
		for page := 0; page == 0 || token != ""; page++ {
			out := c.call(operation, `{`+tc.member+`"maxResults":2`+token+`}`).ok()
			seen += len(out[tc.list].([]any))
			token = ""
			if next, ok := out["nextToken"].(string); ok {
				token = `,"nextToken":` + quote(next)
			}
			if page > 2 {
				t.Fatalf("%s does not end", operation)
			}
		}
		if seen != 3 {
			t.Errorf("%s gave %d items", operation, seen)
		}
		c.call(operation, `{`+tc.member+`"nextToken":"x"}`).refused(400, "InvalidParameterException", "Invalid next token provided")
		for _, n := range []string{"0", "-1", "1001", "1000000000"} {
			c.call(operation, `{`+tc.member+`"maxResults":`+n+`}`).refused(400, "InvalidParameterException", "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value")
		}
		c.call(operation, `{`+tc.member+`"maxResults":99999999999}`).refused(400, "SerializationException", "")
		c.call(operation, `{`+tc.member+`"maxResults":1.5}`).refused(400, "SerializationException", "")
	}
	c.call("DescribeRepositories", `{"repositoryNames":["aa"],"maxResults":1}`).refused(400, "InvalidParameterException", "")
	c.call("DescribeImages", `{"repositoryName":"aa","imageIds":[{"imageTag":"1"}],"maxResults":1}`).refused(400, "InvalidParameterException", "")
	hundred := strings.TrimSuffix(strings.Repeat(`{"imageTag":"x"},`, 101), ",")
	c.call("BatchGetImage", `{"repositoryName":"aa","imageIds":[`+hundred+`]}`).refused(400, "InvalidParameterException", "imageIds")
}

func TestLayersOfTheAPI(t *testing.T) {
	c := newClient(t)
	c.create("app")
	layer := []byte("a layer")
	d := digest.FromBytes(layer).String()
	available := func(d string) any {
		out := c.call("BatchCheckLayerAvailability", `{"repositoryName":"app","layerDigests":["`+d+`"]}`).ok()
		return out["layers"].([]any)[0].(map[string]any)["layerAvailability"]
	}
	if got := available(d); got != "UNAVAILABLE" {
		t.Error(got)
	}
	start := func() string {
		return c.call("InitiateLayerUpload", `{"repositoryName":"app"}`).ok()["uploadId"].(string)
	}
	part := func(id string, first, last int, data []byte) answer {
		return c.call("UploadLayerPart", fmt.Sprintf(`{"repositoryName":"app","uploadId":%q,"partFirstByte":%d,"partLastByte":%d,"layerPartBlob":%q}`,
			id, first, last, base64.StdEncoding.EncodeToString(data)))
	}
	complete := func(id, d string) answer {
		return c.call("CompleteLayerUpload", fmt.Sprintf(`{"repositoryName":"app","uploadId":%q,"layerDigests":[%q]}`, id, d))
	}
	id := start()
	complete(id, d).refused(400, "EmptyUploadException", id)
	part(id, 0, len(layer), layer).refused(400, "InvalidParameterException", "layerPartBlob")
	part(id, 0, 9223372036854775807, layer).refused(400, "InvalidParameterException", "layerPartBlob")
	out := part(id, 5, 5+len(layer)-1, layer).refused(400, "InvalidLayerPartException", id)
	if out["lastValidByteReceived"] != float64(-1) || out["uploadId"] != id || out["repositoryName"] != "app" || out["registryId"] != "000000000000" {
		t.Errorf("members %v", out)
	}
	if got := part(id, 0, len(layer)-1, layer).ok()["lastByteReceived"]; got != float64(len(layer)-1) {
		t.Errorf("lastByteReceived %v", got)
	}
	if got := complete(id, d).ok()["layerDigest"]; got != d {
		t.Errorf("layerDigest %v", got)
	}
	complete(id, d).refused(400, "UploadNotFoundException", id)
	if got := available(d); got != "AVAILABLE" {
		t.Error(got)
	}
	id = start()
	part(id, 0, len(layer)-1, layer).ok()
	complete(id, d).refused(400, "LayerAlreadyExistsException", d)
	id = start()
	part(id, 0, len(layer)-1, layer).ok()
	part(id, len(layer), 2*len(layer)-1, layer).ok()
	complete(id, d).refused(400, "LayerPartTooSmallException", id)
	id = start()
	part(id, 0, len(layer)-1, layer).ok()
	complete(id, digest.FromString("other").String()).refused(400, "InvalidLayerException", "None of the provided layer digests match the calculated layer digest: "+d)

	c.call("GetDownloadUrlForLayer", `{"repositoryName":"app","layerDigest":"`+d+`"}`).refused(400, "LayerInaccessibleException", d)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"a/b","digest":%q,"size":7},"layers":[]}`, d)
	c.call("PutImage", `{"repositoryName":"app","imageTag":"v1","imageManifest":`+quote(manifest)+`}`).ok()
	u := c.call("GetDownloadUrlForLayer", `{"repositoryName":"app","layerDigest":"`+d+`"}`).ok()["downloadUrl"].(string)
	resp, err := http.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != string(layer) || resp.StatusCode != 200 {
		t.Errorf("%s gave %d %q, %v", u, resp.StatusCode, got, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"nonsense", "sha256:", ":00"} {
		c.call("GetDownloadUrlForLayer", `{"repositoryName":"app","layerDigest":"`+bad+`"}`).refused(400, "InvalidParameterException", "layerDigest")
	}
}

func TestAuthorizationTokens(t *testing.T) {
	c := newClient(t)
	out := c.call("GetAuthorizationToken", `{"registryIds":["111111111111","000000000000"]}`).ok()["authorizationData"].([]any)
	if len(out) != 2 {
		t.Fatalf("%v", out)
	}
	endpoints := []string{"http://111111111111.dkr.ecr.us-east-1.localhost:", c.Endpoint}
	for i, data := range out {
		m := data.(map[string]any)
		raw, err := base64.StdEncoding.DecodeString(m["authorizationToken"].(string))
		if err != nil || !strings.HasPrefix(string(raw), "AWS:") {
			t.Errorf("token %q: %v", raw, err)
		}
		left := time.Until(time.Unix(int64(m["expiresAt"].(float64)), 0))
		if left < 12*time.Hour-time.Minute || left > 12*time.Hour {
			t.Errorf("good for %s", left)
		}
		if !strings.HasPrefix(m["proxyEndpoint"].(string), endpoints[i]) {
			t.Errorf("proxyEndpoint %v", m["proxyEndpoint"])
		}
	}
	if strings.Contains(fmt.Sprint(out), c.secret) {
		t.Error("the secret is in the answer")
	}
}

// The upstream prefix is absent unless it was set (terraform.md, Q6).
func TestCacheRulesOfTheAPI(t *testing.T) {
	c := newClient(t)
	a := c.call("CreatePullThroughCacheRule", `{"ecrRepositoryPrefix":"hub","upstreamRegistryUrl":"registry-1.docker.io"}`)
	a.ok()
	if strings.Contains(a.body, "upstreamRepositoryPrefix") || !strings.Contains(a.body, `"upstreamRegistry":"docker-hub"`) {
		t.Error(a.body)
	}
	c.call("CreatePullThroughCacheRule", `{"ecrRepositoryPrefix":"hub","upstreamRegistryUrl":"quay.io"}`).refused(400, "PullThroughCacheRuleAlreadyExistsException", "hub")
	c.call("DescribePullThroughCacheRules", `{"ecrRepositoryPrefixes":["none"]}`).refused(400, "PullThroughCacheRuleNotFoundException", "none")
	c.call("CreatePullThroughCacheRule", `{"ecrRepositoryPrefix":"x","upstreamRegistryUrl":"quay.io"}`).refused(400, "InvalidParameterException", "ecrRepositoryPrefix")
	c.call("CreatePullThroughCacheRule", `{"ecrRepositoryPrefix":"../x","upstreamRegistryUrl":"quay.io"}`).refused(400, "InvalidParameterException", "ecrRepositoryPrefix")
	if strings.Contains(c.call("DescribePullThroughCacheRules", `{}`).body, "upstreamRepositoryPrefix") {
		t.Error("an upstream prefix that nobody set")
	}
	c.call("DeletePullThroughCacheRule", `{"ecrRepositoryPrefix":"hub"}`).ok()
}

func TestHostileTexts(t *testing.T) {
	c := newClient(t)
	c.create("app")
	arn := `"resourceArn":"arn:aws:ecr:us-east-1:000000000000:repository/app"`
	for operation, body := range map[string]string{
		"CreateRepository":      `{"repositoryName":"kms","encryptionConfiguration":{"encryptionType":"KMS","kmsKey":"\u0000"}}`,
		"TagResource":           `{` + arn + `,"tags":[{"Key":"a\u0000","Value":""}]}`,
		"UntagResource":         `{` + arn + `,"tagKeys":["\u0000"]}`,
		"PutImage":              `{"repositoryName":"app","imageTag":"a\u0000","imageManifest":` + quote(indexBody("x")) + `}`,
		"SetRepositoryPolicy":   `{"repositoryName":"app","policyText":"\u0000"}`,
		"PutLifecyclePolicy":    `{"repositoryName":"app","lifecyclePolicyText":"\u0000"}`,
		"DescribeRepositories":  `{"nextToken":"\u0000"}`,
		"ListTagsForResource":   `{"resourceArn":"arn:aws:ecr:us-east-1:000000000000:repository/\u0000"}`,
		"PutImageTagMutability": `{"repositoryName":"app","imageTagMutability":"IMMUTABLE_WITH_EXCLUSION","imageTagMutabilityExclusionFilters":[{"filterType":"WILDCARD","filter":"\u0000"}]}`,
	} {
		a := c.call(operation, body)
		a.form()
		if a.status != 400 {
			t.Errorf("%s: %d %s", operation, a.status, a.body)
		}
	}
	out := c.call("BatchGetImage", `{"repositoryName":"app","imageIds":[{"imageTag":"\u0000"},{"imageDigest":"sha256:00\u0000"}]}`)
	if out.status >= 500 {
		t.Errorf("BatchGetImage: %d %s", out.status, out.body)
	}
}

func TestRegistryPolicyOfTheAPI(t *testing.T) {
	c := newClient(t)
	const none = "Registry policy does not exist in the registry with id '000000000000'"
	text := `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},` +
		`"Action":["ecr:CreateRepository","ecr:ReplicateImage"],"Resource":"arn:aws:ecr:us-east-1:000000000000:repository/*"}]}`
	c.call("GetRegistryPolicy", `{}`).refused(400, "RegistryPolicyNotFoundException", none)
	c.call("DeleteRegistryPolicy", `{}`).refused(400, "RegistryPolicyNotFoundException", none)
	for _, bad := range []string{`{}`, `x`, strings.Replace(text, `,"Resource":"arn:aws:ecr:us-east-1:000000000000:repository/*"`, "", 1), strings.Replace(text, "ecr:Cr", "s3:Cr", 1)} {
		c.call("PutRegistryPolicy", `{"policyText":`+quote(bad)+`}`).refused(400, "InvalidParameterException",
			"Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid registry policy provided'")
	}
	c.call("PutRegistryPolicy", `{"policyText":`+quote(text)+`}`).ok()
	for _, operation := range []string{"GetRegistryPolicy", "GetRegistryPolicy", "DeleteRegistryPolicy"} {
		out := c.call(operation, `{}`).ok()
		if out["policyText"] != text || out["registryId"] != "000000000000" {
			t.Errorf("%s: %v", operation, out)
		}
	}
	c.call("GetRegistryPolicy", `{}`).refused(400, "RegistryPolicyNotFoundException", none)
}
