package ecr

import (
	"math"
	"testing"
)

func TestExceptionBody(t *testing.T) {
	tests := []struct {
		exception *Exception
		status    int
		body      string
	}{
		{NewException(CodeRepositoryNotFound, "The repository with name 'a<b>' does not exist"), 400,
			`{"__type":"RepositoryNotFoundException","message":"The repository with name 'a<b>' does not exist"}`},
		{NewException(CodeServer, ""), 500, `{"__type":"ServerException","message":""}`},
		{NewException(CodeUnknownOperation, "x"), 404, `{"__type":"UnknownOperationException","message":"x"}`},
		{NewException(CodeRequestEntityTooLarge, "x"), 413, `{"__type":"RequestEntityTooLargeException","message":"x"}`},
		{NewException(CodeInternalFailure, "x"), 500, `{"__type":"InternalFailure","message":"x"}`},
		{NewException(CodeServiceUnavailable, "x"), 503, `{"__type":"ServiceUnavailable","message":"x"}`},
		{NewException(CodeAccessDenied, "x"), 400, `{"__type":"AccessDeniedException","message":"x"}`},
		{&Exception{Type: CodeInvalidLayerPart, Message: "m", Status: 400,
			Extra: map[string]any{"uploadId": "u", "lastValidByteReceived": 5, "message": "no", "__type": "no"}}, 400,
			`{"__type":"InvalidLayerPartException","message":"m","lastValidByteReceived":5,"uploadId":"u"}`},
	}
	for _, tt := range tests {
		got, err := tt.exception.Body()
		if err != nil || string(got) != tt.body || tt.exception.Status != tt.status {
			t.Errorf("got %d %s, %v\nwant %d %s", tt.exception.Status, got, err, tt.status, tt.body)
		}
	}
	if got := NewException(CodeKms, "no key").Error(); got != "KmsException: no key" {
		t.Errorf("Error() is %q", got)
	}
	bad := &Exception{Type: CodeKms, Extra: map[string]any{"kmsError": math.NaN()}}
	if body, err := bad.Body(); err == nil {
		t.Errorf("a value that JSON cannot hold was rendered: %s", body)
	}
}

func TestEncodeOmits(t *testing.T) {
	tests := []struct {
		v    any
		want string
	}{
		{&DescribeRepositoriesOutput{}, `{}`},
		{&DescribeRepositoriesOutput{Repositories: []Repository{}}, `{"repositories":[]}`},
		{&Repository{ImageScanningConfiguration: &ImageScanningConfiguration{}}, `{"imageScanningConfiguration":{"scanOnPush":false}}`},
		{&ListTagsForResourceOutput{Tags: []Tag{{Key: "k"}}}, `{"tags":[{"Key":"k","Value":""}]}`},
		{&InitiateLayerUploadOutput{PartSize: new(int64(0))}, `{"partSize":0}`},
		{&GetRepositoryPolicyOutput{PolicyText: `{"a":"<&>"}`}, `{"policyText":"{\"a\":\"<&>\"}"}`},
	}
	for _, tt := range tests {
		if got, err := Encode(tt.v); err != nil || string(got) != tt.want {
			t.Errorf("%T encodes to %s, %v; want %s", tt.v, got, err, tt.want)
		}
	}
	if got, err := Encode(math.Inf(1)); err == nil {
		t.Errorf("infinity encodes to %s", got)
	}
}
