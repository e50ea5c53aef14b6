package ecr_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	. "berth/internal/ecr"
	"berth/internal/ecr/ecrtest"
)

func mustLookup(t testing.TB, name string) *Operation {
	t.Helper()
	op, ok := LookupOperation(name)
	if !ok {
		t.Fatalf("no operation %s", name)
	}
	return op
}

func TestConstraintTexts(t *testing.T) {
	const repositoryPattern = `must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'`
	tests := []struct {
		op, body, member, constraint string
	}{
		{"CreateRepository", `{}`, "repositoryName", "Member must not be null"},
		{"CreateRepository", `null`, "repositoryName", "Member must not be null"},
		{"CreateRepository", ` `, "repositoryName", "Member must not be null"},
		{"CreateRepository", `{"repositoryName":null}`, "repositoryName", "Member must not be null"},
		{"CreateRepository", `{"RepositoryName":"app"}`, "repositoryName", "Member must not be null"},
		{"CreateRepository", `{"repositoryName":"App"}`, "repositoryName", repositoryPattern},
		{"CreateRepository", `{"repositoryName":"../etc"}`, "repositoryName", repositoryPattern},
		{"CreateRepository", `{"repositoryName":"a/"}`, "repositoryName", repositoryPattern},
		{"CreateRepository", `{"repositoryName":"app\n"}`, "repositoryName", repositoryPattern},
		{"CreateRepository", `{"repositoryName":""}`, "repositoryName", "must have length greater than or equal to 2"},
		{"CreateRepository", `{"repositoryName":"` + strings.Repeat("a", 257) + `"}`, "repositoryName", "must have length less than or equal to 256"},
		{"CreateRepository", `{"repositoryName":"app","imageTagMutability":"mutable"}`, "imageTagMutability",
			"Member must satisfy enum value set: [IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]"},
		{"CreateRepository", `{"repositoryName":"app","encryptionConfiguration":{}}`, "encryptionConfiguration.encryptionType", "Member must not be null"},
		{"CreateRepository", `{"repositoryName":"app","encryptionConfiguration":{"encryptionType":"aes"}}`, "encryptionConfiguration.encryptionType",
			"Member must satisfy enum value set: [AES256, KMS, KMS_DSSE]"},
		{"CreateRepository", `{"repositoryName":"app","tags":[{"Key":"a","Value":""},{"Key":"b"}]}`, "tags.2.member.Value", "Member must not be null"},
		{"CreateRepository", `{"repositoryName":"app","registryId":"12345678901"}`, "registryId", "Member must satisfy regular expression pattern: [0-9]{12}"},
		{"DescribeRepositories", `{"maxResults":1001}`, "maxResults", "Member must have value less than or equal to 1000"},
		{"DescribeRepositories", `{"maxResults":0}`, "maxResults", "Member must have value greater than or equal to 1"},
		{"DescribeRepositories", `{"repositoryNames":[]}`, "repositoryNames", "Member must have length greater than or equal to 1"},
		{"DescribeRepositories", `{"repositoryNames":["ok","B"]}`, "repositoryNames.2.member", "must have length greater than or equal to 2"},
		{"DescribeRepositories", `{"repositoryNames":["ok",null]}`, "repositoryNames.2.member", "Member must not be null"},
		{"BatchGetImage", `{"repositoryName":"app","imageIds":[{"imageTag":""}]}`, "imageIds.1.member.imageTag", "Member must have length greater than or equal to 1"},
		// What comes after the maximum is not even looked at.
		{"BatchGetImage", `{"repositoryName":"app","imageIds":[` + strings.Repeat(`{},`, 100) + `7]}`,
			"imageIds", "Member must have length less than or equal to 100"},
		{"CompleteLayerUpload", `{"repositoryName":"app","uploadId":"x","layerDigests":["y"]}`, "uploadId",
			"Member must satisfy regular expression pattern: [0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
		// Two violations: the model's order decides, not the body's.
		{"PutImage", `{"imageManifest":"","repositoryName":"A!"}`, "repositoryName", repositoryPattern},
		// The length of a string counts characters, not bytes: 300 of them are a valid tag as far as the model goes.
		{"PutImage", `{"repositoryName":"app","imageManifest":"{}","imageTag":"` + strings.Repeat("é", 301) + `"}`, "imageTag", "Member must have length less than or equal to 300"},
	}
	for _, tt := range tests {
		_, err := mustLookup(t, tt.op).Decode([]byte(tt.body))
		var ce *ConstraintError
		if !errors.As(err, &ce) {
			t.Errorf("%s %.80s: got %v", tt.op, tt.body, err)
			continue
		}
		if ce.Member != tt.member || ce.Constraint != tt.constraint {
			t.Errorf("%s %.80s:\ngot  %s: %s\nwant %s: %s", tt.op, tt.body, ce.Member, ce.Constraint, tt.member, tt.constraint)
		}
		sentence := "Invalid parameter at '" + tt.member + "' failed to satisfy constraint: '" + tt.constraint + "'"
		if e := ce.Exception(); e.Type != "InvalidParameterException" || e.Status != 400 || e.Message != sentence {
			t.Errorf("exception is %+v, want %s", e, sentence)
		}
	}
}

func TestSerializationTexts(t *testing.T) {
	tests := []struct{ op, body, text string }{
		{"CreateRepository", `{"repositoryName":1}`, "NUMBER_VALUE cannot be converted to String at 'repositoryName'"},
		{"CreateRepository", `{"repositoryName":["app"]}`, "Start of list found where not expected at 'repositoryName'"},
		{"CreateRepository", `{"repositoryName":{"a":1}}`, "Start of structure or map found where not expected at 'repositoryName'"},
		{"CreateRepository", `{"repositoryName":"app","tags":{"Key":"a"}}`, "Start of structure or map found where not expected at 'tags'"},
		{"CreateRepository", `{"repositoryName":"app","tags":[{"Key":"a","Value":true}]}`, "TRUE_VALUE cannot be converted to String at 'tags.1.member.Value'"},
		{"CreateRepository", `{"repositoryName":"app","imageScanningConfiguration":{"scanOnPush":"true"}}`,
			"STRING_VALUE cannot be converted to Boolean at 'imageScanningConfiguration.scanOnPush'"},
		{"DescribeRepositories", `{"maxResults":"10"}`, "STRING_VALUE cannot be converted to Integer at 'maxResults'"},
		{"DescribeRepositories", `{"maxResults":1.5}`, "the number 1.5 does not fit the type Integer at 'maxResults'"},
		{"DescribeRepositories", `{"maxResults":2147483648}`, "the number 2147483648 does not fit the type Integer at 'maxResults'"},
		{"DescribeRepositories", `{"maxResults":1e400}`, "the number 1e400 does not fit the type Integer at 'maxResults'"},
		{"UploadLayerPart", `{"repositoryName":"app","uploadId":"0a1b2c3d-0000-4000-8000-0123456789ab","partFirstByte":0,"partLastByte":1,"layerPartBlob":"a"}`,
			"the value is not valid base64 at 'layerPartBlob'"},
		{"DescribeRepositories", `[]`, "Start of list found where not expected"},
		{"DescribeRepositories", `"x"`, "STRING_VALUE cannot be converted to Structure"},
		{"DescribeRepositories", `{"nextToken":"x"`, "the request body is not acceptable JSON at byte 16: it ends too early"},
		{"DescribeRepositories", `{} {}`, "the request body is not acceptable JSON at byte 3: unexpected text after the value"},
		{"DescribeRepositories", `{"a":1,}`, "the request body is not acceptable JSON at byte 7: unexpected '}'"},
		{"DescribeRepositories", `{"nextToken":"` + "\n" + `"}`, "the request body is not acceptable JSON at byte 14: a string has a control character that is not escaped"},
		{"DescribeRepositories", `{"nextToken":"` + "\xff" + `"}`, "the request body is not acceptable JSON at byte 15: a string is not valid UTF-8"},
		{"DescribeRepositories", `{"nextToken":"\x"}`, "the request body is not acceptable JSON at byte 14: a string has an unknown escape"},
		{"DescribeRepositories", `{"unknown":[01]}`, "the request body is not acceptable JSON at byte 13: unexpected '1'"},
		{"DescribeRepositories", `{"unknown":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`,
			"the request body is not acceptable JSON at byte 74: nested more than 64 levels deep"},
		{"CreateRepository", `{"tags":[` + strings.Repeat("null,", MaxNodes) + `null]}`, "the request body is not acceptable JSON at byte 327679: more than 65536 values"},
	}
	for _, tt := range tests {
		_, err := mustLookup(t, tt.op).Decode([]byte(tt.body))
		var se *SerializationError
		if !errors.As(err, &se) || err.Error() != tt.text {
			t.Errorf("%s %.80s:\ngot  %v\nwant %s", tt.op, tt.body, err, tt.text)
			continue
		}
		if e := se.Exception(); e.Type != "SerializationException" || e.Status != 400 || e.Message != tt.text {
			t.Errorf("exception is %+v", e)
		}
	}
}

func TestDecodeValues(t *testing.T) {
	tests := []struct {
		op, body string
		want     any
	}{
		{"DescribeRepositories", ``, &DescribeRepositoriesInput{}},
		{"DescribeRepositories", `{"maxResults":10,"nextToken":""}`, &DescribeRepositoriesInput{MaxResults: new(int32(10))}},
		{"DescribeRepositories", `{"maxResults":1e1}`, &DescribeRepositoriesInput{MaxResults: new(int32(10))}},
		{"DescribeRepositories", `{"maxResults":10.0,"maxResults":20}`, &DescribeRepositoriesInput{MaxResults: new(int32(20))}},
		{"DescribeRepositories", `{"nextToken":"a","nextToken":null}`, &DescribeRepositoriesInput{}},
		{"DescribeRepositories", `{"next\u0054oken":"\u00e9\ud83d\ude00\ud83d\n\/"}`, &DescribeRepositoriesInput{NextToken: "é😀\ufffd\n/"}},
		{"DescribeRepositories", `{"Next":{"a":[1,-0.5e+3,"b",true,false,null]},"nexttoken":1}`, &DescribeRepositoriesInput{}},
		{"DescribeRegistry", `{}`, &DescribeRegistryInput{}},
		{"CreateRepository", `{"repositoryName":"a__b--c/d","tags":[],"encryptionConfiguration":{"encryptionType":"KMS"}}`, &CreateRepositoryInput{
			RepositoryName: "a__b--c/d", Tags: []Tag{}, EncryptionConfiguration: &EncryptionConfiguration{EncryptionType: EncryptionTypeKMS}}},
		{"PutReplicationConfiguration", `{"replicationConfiguration":{"rules":[]}}`, &PutReplicationConfigurationInput{
			ReplicationConfiguration: &ReplicationConfiguration{Rules: []ReplicationRule{}}}},
		{"DeleteRepository", `{"repositoryName":"app","force":true}`, &DeleteRepositoryInput{RepositoryName: "app", Force: true}},
		{"UploadLayerPart", `{"repositoryName":"app","uploadId":"0a1b2c3d-0000-4000-8000-0123456789ab","partFirstByte":0,"partLastByte":4294967296,"layerPartBlob":"\/\/8="}`,
			&UploadLayerPartInput{RepositoryName: "app", UploadID: "0a1b2c3d-0000-4000-8000-0123456789ab", PartFirstByte: new(int64(0)),
				PartLastByte: new(int64(4294967296)), LayerPartBlob: []byte{0xff, 0xff}}},
	}
	for _, tt := range tests {
		got, err := mustLookup(t, tt.op).Decode([]byte(tt.body))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s %s:\ngot  %+v, %v\nwant %+v", tt.op, tt.body, got, err, tt.want)
		}
	}
}

// TestDecodeMap uses an output: no input of today's model has a map.
func TestDecodeMap(t *testing.T) {
	op := mustLookup(t, "DescribeImageScanFindings")
	body := func(counts string) []byte {
		return []byte(`{"imageScanFindings":{"findingSeverityCounts":` + counts + `}}`)
	}
	var got DescribeImageScanFindingsOutput
	err := DecodeShape(op.Output, body(`{"HIGH":1,"LOW":3,"HIGH":2}`), &got)
	want := map[FindingSeverity]int32{FindingSeverityHigh: 2, FindingSeverityLow: 3}
	if err != nil || !reflect.DeepEqual(got.ImageScanFindings.FindingSeverityCounts, want) {
		t.Errorf("got %+v, %v", got.ImageScanFindings, err)
	}
	const path = "'imageScanFindings.findingSeverityCounts"
	for counts, text := range map[string]string{
		`{"HIGH":-1}`:   "Invalid parameter at " + path + ".HIGH' failed to satisfy constraint: 'Member must have value greater than or equal to 0'",
		`{"HIGH":null}`: "Invalid parameter at " + path + ".HIGH' failed to satisfy constraint: 'Member must not be null'",
		`{"BIG":1}`: "Invalid parameter at " + path +
			".BIG' failed to satisfy constraint: 'Member must satisfy enum value set: [INFORMATIONAL, LOW, MEDIUM, HIGH, CRITICAL, UNDEFINED]'",
		`{"HIGH":"1"}`: "STRING_VALUE cannot be converted to Integer at " + path + ".HIGH'",
		`[]`:           "Start of list found where not expected at " + path + "'",
	} {
		if err := DecodeShape(op.Output, body(counts), &DescribeImageScanFindingsOutput{}); err == nil || err.Error() != text {
			t.Errorf("%s gives\n%v\nwant\n%s", counts, err, text)
		}
	}
}

// TestLargestValues: what the model just allows is accepted, to the byte and within the size that MaxBody announces.
func TestLargestValues(t *testing.T) {
	blob := make([]byte, 20971520)
	part := &UploadLayerPartInput{RepositoryName: "app", UploadID: "0a1b2c3d-0000-4000-8000-0123456789ab",
		PartFirstByte: new(int64(0)), PartLastByte: new(int64(len(blob) - 1)), LayerPartBlob: blob}
	image := &PutImageInput{RepositoryName: strings.Repeat("a", 256), ImageManifest: strings.Repeat("\x01", 4194304)}
	for name, input := range map[string]any{"UploadLayerPart": part, "PutImage": image} {
		op := mustLookup(t, name)
		body, err := Encode(input)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(body)) > op.MaxBody() {
			t.Errorf("%s: a valid body has %d bytes, more than %d", name, len(body), op.MaxBody())
		}
		if got, err := op.Decode(body); err != nil || !reflect.DeepEqual(got, input) {
			t.Errorf("%s refuses its largest input: %v", name, err)
		}
	}
}

// TestDecodeKeepsNothing: the door may reuse the buffer of a body.
func TestDecodeKeepsNothing(t *testing.T) {
	for _, op := range Operations() {
		body := ecrtest.JSON(t, op.Input, true)
		input, err := op.Decode(body)
		if err != nil {
			t.Fatal(err)
		}
		before, err := Encode(input)
		if err != nil {
			t.Fatal(err)
		}
		for i := range body {
			body[i] = '#'
		}
		if after, err := Encode(input); err != nil || !bytes.Equal(before, after) {
			t.Errorf("the input of %s changed with the body: %s", op.Name, after)
		}
	}
}

// TestPrintedRepositoryPattern holds the sentence about repository names to the truth: a name that is refused does not
// satisfy the pattern that the sentence prints.
func TestPrintedRepositoryPattern(t *testing.T) {
	printed, decides := RepositoryNames()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-zA0._/-]{1,8}`).Draw(t, "name")
		if printed.Match(name) && !decides.Pattern.Match(name) {
			t.Fatalf("%q satisfies the printed pattern and is refused", name)
		}
	})
}

func TestStringsAsEncodingJSON(t *testing.T) {
	op := mustLookup(t, "DescribeRepositories")
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "token")
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &want); err != nil { // invalid UTF-8 was replaced
			t.Fatal(err)
		}
		got, err := op.Decode([]byte(`{"nextToken":` + string(text) + `}`))
		if err != nil || got.(*DescribeRepositoriesInput).NextToken != want {
			t.Fatalf("%s gives %+v, %v", text, got, err)
		}
	})
}

func TestMaxBody(t *testing.T) {
	for name, want := range map[string]int64{
		"DescribeRepositories": 1 << 20,
		"PutImage":             1<<20 + 6*(256+4194304+300), // repositoryName, imageManifest, imageTag
		"UploadLayerPart":      1<<20 + 6*256 + 27962028,    // repositoryName, 20 MiB in base64
	} {
		if got := mustLookup(t, name).MaxBody(); got != want {
			t.Errorf("%s reads up to %d bytes, want %d", name, got, want)
		}
	}
	for _, op := range Operations() {
		if n := len(ecrtest.JSON(t, op.Input, true)); op.MaxBody() < int64(n) {
			t.Errorf("%s cannot hold its own sample", op.Name)
		}
	}
}
