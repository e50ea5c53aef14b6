package ecrapi_test

import (
	"fmt"
	"testing"
	"time"
)

func TestStorageClassesOfTheAPI(t *testing.T) {
	c := newClient(t)
	c.create("app")
	d := push(c, "app", "v1")
	update := func(class string) string {
		t.Helper()
		out := c.call("UpdateImageStorageClass", `{"repositoryName":"app","imageId":{"imageTag":"v1"},"targetStorageClass":"`+class+`"}`).ok()
		return fmt.Sprint(out["registryId"], out["repositoryName"], out["imageId"], out["imageStatus"])
	}
	id := "map[imageDigest:" + d + " imageTag:v1]"
	c.call("UpdateImageStorageClass", `{"repositoryName":"app","imageId":{"imageTag":"v1"},"targetStorageClass":"COLD"}`).refused(400, "InvalidParameterException",
		"Invalid parameter at 'targetStorageClass'")
	c.call("UpdateImageStorageClass", `{"repositoryName":"app","imageId":{"imageTag":"v2"},"targetStorageClass":"ARCHIVE"}`).refused(400, "ImageNotFoundException", "")
	if got := update("ARCHIVE"); got != "000000000000app"+id+"ARCHIVED" {
		t.Errorf("archived: %s", got)
	}
	detail := func() map[string]any {
		t.Helper()
		out := c.call("DescribeImages", `{"repositoryName":"app","filter":{"imageStatus":"ANY"}}`).ok()
		return out["imageDetails"].([]any)[0].(map[string]any)
	}
	if got := detail(); got["imageStatus"] != "ARCHIVED" || got["lastArchivedAt"] == nil || got["lastActivatedAt"] != nil {
		t.Errorf("described %v", got)
	}
	for operation, member := range map[string]string{"ListImages": "imageIds", "DescribeImages": "imageDetails"} {
		for filter, want := range map[string]int{`{}`: 0, `{"imageStatus":"ARCHIVED"}`: 1, `{"imageStatus":"ANY"}`: 1, `{"imageStatus":"ACTIVE"}`: 0, `{"imageStatus":"ACTIVATING"}`: 0} {
			out := c.call(operation, `{"repositoryName":"app","filter":`+filter+`}`).ok()
			if got := len(out[member].([]any)); got != want {
				t.Errorf("%s with %s gives %d images", operation, filter, got)
			}
		}
	}
	out := c.call("BatchGetImage", `{"repositoryName":"app","imageIds":[{"imageTag":"v1"}]}`).ok()
	if got := fmt.Sprint(out["images"], out["failures"]); got != "[] [map[failureCode:ImageNotFound failureReason:Requested image not found imageId:map[imageTag:v1]]]" {
		t.Errorf("pulled %s", got)
	}
	if got := update("STANDARD"); got != "000000000000app"+id+"ACTIVATING" {
		t.Errorf("restored: %s", got)
	}
	// The background work of the server ends it within seconds.
	for end := time.Now().Add(time.Minute); detail()["imageStatus"] != "ACTIVE"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a minute after its restoration began, the image is %v", detail())
		}
	}
	if got := detail(); got["lastArchivedAt"] == nil || got["lastActivatedAt"] == nil {
		t.Errorf("described %v", got)
	}
}
