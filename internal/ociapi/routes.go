package ociapi

import "net/http"

type routeKey struct {
	endpoint endpoint
	method   string
}

// A route is one endpoint and method with the ECR operation that permits it
// (Amazon ECR user guide, "Required permissions"; service authorization reference).
type route struct {
	operation string
	handle    func(*Door, http.ResponseWriter, *request) error
	or        string // an operation that permits it as well
}

// routes is the whole Distribution API.
func routes() map[routeKey]route {
	return map[routeKey]route{
		{base, http.MethodGet}:         {"", getBase, ""},
		{base, http.MethodHead}:        {"", getBase, ""},
		{catalog, http.MethodGet}:      {"DescribeRepositories", getCatalog, ""},
		{tagList, http.MethodGet}:      {"ListImages", getTags, ""},
		{manifests, http.MethodGet}:    {"BatchGetImage", getManifest, ""},
		{manifests, http.MethodHead}:   {"BatchGetImage", headManifest, ""},
		{manifests, http.MethodPut}:    {"PutImage", putManifest, ""},
		{manifests, http.MethodDelete}: {"BatchDeleteImage", deleteManifest, ""},
		{referrers, http.MethodGet}:    {"BatchGetImage", getReferrers, ""},
		{blobs, http.MethodGet}:        {"GetDownloadUrlForLayer", getBlob, ""},
		// Who pushes may look what is there, and so may who pulls.
		{blobs, http.MethodHead}:        {"BatchCheckLayerAvailability", headBlob, "GetDownloadUrlForLayer"},
		{blobs, http.MethodDelete}:      {"BatchDeleteImage", deleteBlob, ""},
		{uploads, http.MethodPost}:      {"InitiateLayerUpload", startUpload, ""},
		{uploadItem, http.MethodGet}:    {"UploadLayerPart", getUpload, ""},
		{uploadItem, http.MethodPatch}:  {"UploadLayerPart", patchUpload, ""},
		{uploadItem, http.MethodPut}:    {"CompleteLayerUpload", putUpload, ""},
		{uploadItem, http.MethodDelete}: {"UploadLayerPart", deleteUpload, ""},
	}
}
