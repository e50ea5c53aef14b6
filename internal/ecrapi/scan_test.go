package ecrapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// pushImage stores a container image of one layer over the API of the registry.
func pushImage(c *client, repo, tag string) string {
	c.t.Helper()
	put := func(path, contentType, body string) {
		req := c.request("", body)
		req.Method = "PUT"
		if strings.Contains(path, "/blobs/") {
			req.Method = "POST"
		}
		req.URL.Path, req.URL.RawQuery, _ = strings.Cut("/v2/"+repo+path, "?")
		req.Header.Set("Content-Type", contentType)
		req.SetBasicAuth(c.Login())
		if a := c.send(req); a.status != 201 {
			c.t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	descriptor := func(mediaType, body string) string {
		put("/blobs/uploads/?digest="+digest.FromString(body).String(), "application/octet-stream", body)
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest.FromString(body), len(body))
	}
	const manifest = "application/vnd.oci.image.manifest.v1+json"
	body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, manifest,
		descriptor("application/vnd.oci.image.config.v1+json", "{}"), descriptor("application/vnd.oci.image.layer.v1.tar", "layer of "+tag))
	put("/manifests/"+tag, manifest, body)
	return digest.FromString(body).String()
}

func TestScansOfTheAPI(t *testing.T) {
	c := newClient(t)
	c.create("app")
	d := pushImage(c, "app", "v1")
	push(c, "app", "index")
	const image = `{"repositoryName":"app","imageId":{"imageTag":"v1"}}`
	c.call("DescribeImageScanFindings", image).refused(400, "ScanNotFoundException", "Image scan does not exist for the image with '{imageDigest:'null', imageTag:'v1'}'")
	c.call("StartImageScan", `{"repositoryName":"app","imageId":{"imageTag":"index"}}`).refused(400, "UnsupportedImageTypeException", "cannot be scanned")
	out := c.call("StartImageScan", image).ok()
	status := out["imageScanStatus"].(map[string]any)
	if status["status"] != "IN_PROGRESS" || fmt.Sprint(out["registryId"], out["repositoryName"], out["imageId"]) != "000000000000appmap[imageTag:v1]" {
		t.Errorf("started %v", out)
	}
	c.call("StartImageScan", image).refused(400, "LimitExceededException", "The scan quota per image has been exceeded. Wait and try again.")
	out = c.call("DescribeImageScanFindings", `{"repositoryName":"app","imageId":{"imageTag":"v1"},"maxResults":10}`).ok()
	if fmt.Sprint(out["imageScanFindings"]) != "map[]" || fmt.Sprint(out["imageId"]) != "map[imageDigest:"+d+" imageTag:v1]" || fmt.Sprint(out["imageScanStatus"]) != fmt.Sprint(status) {
		t.Errorf("described %v", out)
	}
	c.call("DescribeImageScanFindings", `{"repositoryName":"app","imageId":{"imageTag":"v1"},"nextToken":"x"}`).refused(400, "InvalidParameterException", "Invalid next token provided")
	for tag, want := range map[string]string{"v1": fmt.Sprint(status), "index": "<nil>"} {
		out = c.call("DescribeImages", `{"repositoryName":"app","imageIds":[{"imageTag":"`+tag+`"}]}`).ok()
		if got := out["imageDetails"].([]any)[0].(map[string]any)["imageScanStatus"]; fmt.Sprint(got) != want {
			t.Errorf("%s is described with %v", tag, got)
		}
	}
	c.call("UpdateImageStorageClass", `{"repositoryName":"app","imageId":{"imageTag":"v1"},"targetStorageClass":"ARCHIVE"}`).ok()
	c.call("StartImageScan", image).refused(400, "ImageArchivedException", "is archived and cannot be scanned")
	c.call("PutRegistryScanningConfiguration", `{"scanType":"ENHANCED"}`).ok()
	c.call("StartImageScan", image).refused(400, "ValidationException", "This feature is disabled")
	c.call("PutImageScanningConfiguration", `{"repositoryName":"app","imageScanningConfiguration":{"scanOnPush":true}}`).refused(400, "ValidationException", "This feature is disabled")
}
