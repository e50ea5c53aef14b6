package ecrapi_test

import "testing"

// TestPackagesBelongToTheScan refuses what has no answer; what it answers is
// tested with a scanner, in cmd/berth.
func TestPackagesBelongToTheScan(t *testing.T) {
	c := newClient(t)
	c.create("app")
	pushImage(c, "app", "v1")
	c.call("BerthListImagePackages", `{"repositoryName":"app","imageId":{"imageTag":"v1"}}`).refused(400, "ScanNotFoundException", "Image scan does not exist for the image")
	c.call("BerthListImagePackages", `{"repositoryName":"app","imageId":{"imageTag":"v2"}}`).refused(400, "ImageNotFoundException", "")
	c.call("BerthListImagePackages", `{"repositoryName":"app"}`).refused(400, "InvalidParameterException", "")
	c.call("BerthListEverything", `{}`).refused(404, "UnknownOperationException", "")
}
