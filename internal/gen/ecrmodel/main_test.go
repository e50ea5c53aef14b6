package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const ecrDir = "../../ecr"

// TestGeneratedFilesAreCurrent: the files of package ecr are what the generator makes of model.json, byte for byte.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if err := run([]string{"generate", "-model", filepath.Join(ecrDir, "model.json"), "-out", dir}, io.Discard); err != nil {
		t.Fatal(err)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(ecrDir, "*_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(kept) || len(made) == 0 {
		t.Errorf("%d files are generated, %d are there: delete the stale ones", len(made), len(kept))
	}
	for _, path := range made {
		want := read(t, path)
		if got := read(t, filepath.Join(ecrDir, filepath.Base(path))); !bytes.Equal(got, want) {
			t.Errorf("%s is not current: run go generate ./internal/ecr", filepath.Base(path))
		}
	}
}

const upstream = `{
  "metadata": {"apiVersion": "2015-09-21", "targetPrefix": "T_1", "jsonVersion": "1.1", "protocol": "json", "uid": "x"},
  "operations": {
    "Put": {"name": "Put", "http": {"method": "POST"}, "input": {"shape": "PutRequest"}, "output": {"shape": "PutResponse"},
      "errors": [{"shape": "BadException"}, {"shape": "ServerException"}, {"shape": "GoneException"}], "documentation": "<p>text</p>"}
  },
  "shapes": {
    "PutRequest": {"type": "structure", "required": ["zeta"], "documentation": "<p>text</p>", "members": {
      "zeta": {"shape": "Name", "documentation": "<p>text</p>"},
      "alphaIds": {"shape": "Names"},
      "when": {"shape": "Date"}, "part": {"shape": "Blob"}, "force": {"shape": "Flag"}, "size": {"shape": "Size"}, "score": {"shape": "Score"}}},
    "PutResponse": {"type": "structure", "members": {"item": {"shape": "Item"}}},
    "Item": {"type": "structure", "members": {"counts": {"shape": "Counts"}}},
    "Counts": {"type": "map", "key": {"shape": "Mode"}, "value": {"shape": "Count"}},
    "Mode": {"type": "string", "enum": ["AES256", "docker-hub", "KMS_DSSE", "MissingLayerDigest"]},
    "Count": {"type": "integer", "min": 0},
    "Size": {"type": "long"}, "Score": {"type": "double"}, "Date": {"type": "timestamp"}, "Flag": {"type": "boolean"},
    "Blob": {"type": "blob", "min": 0, "max": 20},
    "Names": {"type": "list", "member": {"shape": "Name"}, "max": 5},
    "Name": {"type": "string", "pattern": "[a-z]<\\w>", "min": 2},
    "Unused": {"type": "string"},
    "BadException": {"type": "structure", "members": {"message": {"shape": "Message"}}, "exception": true},
    "ServerException": {"type": "structure", "members": {}, "exception": true, "fault": true},
    "GoneException": {"type": "structure", "members": {}, "exception": true, "error": {"httpStatusCode": 410}},
    "Message": {"type": "string"}
  }
}`

const addition = `{"comment": "from elsewhere", "operations": [{"name": "Add", "input": "AddRequest", "output": "AddResponse"}],
  "shapes": {"AddRequest": {"type": "structure", "members": [{"name": "name", "shape": "Name", "required": true}]},
             "AddResponse": {"type": "structure"}, "AddedException": {"type": "structure", "exception": true, "status": 400}}}`

// reduced runs reduce over texts and returns the model and its bytes.
func reduced(t *testing.T, service, overlay string, zip bool) (*model, []byte, error) {
	t.Helper()
	dir := t.TempDir()
	modelPath, overlayPath, out := filepath.Join(dir, "service-2.json"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "model.json")
	content := []byte(service)
	if zip {
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		if _, err := zw.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		content, modelPath = b.Bytes(), modelPath+".gz"
	}
	write(t, modelPath, content)
	write(t, overlayPath, []byte(overlay))
	if err := run([]string{"reduce", "-model", modelPath, "-source", "a test", "-overlay", overlayPath, "-out", out}, io.Discard); err != nil {
		return nil, nil, err
	}
	m, err := loadModel(out)
	if err != nil {
		t.Fatal(err)
	}
	return m, read(t, out), nil
}

func TestReduce(t *testing.T) {
	m, text, err := reduced(t, upstream, addition, false)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "documentation") || strings.Contains(string(text), "<p>") {
		t.Error("documentation text was kept")
	}
	if !strings.Contains(string(text), `"[a-z]<\\w>"`) {
		t.Error("the pattern is not readable in the output")
	}
	if m.Source != "a test" || m.TargetPrefix != "T_1" || m.APIVersion != "2015-09-21" {
		t.Errorf("metadata is %+v", m)
	}
	wantOps := []operation{{Name: "Add", Input: "AddRequest", Output: "AddResponse"},
		{Name: "Put", Input: "PutRequest", Output: "PutResponse", Errors: []string{"BadException", "ServerException", "GoneException"}}}
	if !reflect.DeepEqual(m.Operations, wantOps) {
		t.Errorf("operations are %+v", m.Operations)
	}
	var order []string
	for _, member := range m.Shapes["PutRequest"].Members {
		order = append(order, member.Name)
		if member.Required != (member.Name == "zeta") {
			t.Errorf("member %+v", member)
		}
	}
	if got := strings.Join(order, " "); got != "zeta alphaIds when part force size score" {
		t.Errorf("members are in the order %s", got)
	}
	if _, ok := m.Shapes["Unused"]; ok {
		t.Error("an unused shape was kept")
	}
	for name, status := range map[string]int{"BadException": 400, "ServerException": 500, "GoneException": 410, "AddedException": 400} {
		if m.Shapes[name].Status != status {
			t.Errorf("%s has status %d, want %d", name, m.Shapes[name].Status, status)
		}
	}
	if want := (shape{Type: "list", Member: "Name", Max: new(int64(5))}); !reflect.DeepEqual(m.Shapes["Names"], want) {
		t.Errorf("Names is %+v", m.Shapes["Names"])
	}
	if _, zipped, err := reduced(t, upstream, addition, true); err != nil || !bytes.Equal(zipped, text) {
		t.Errorf("reading gzip gives another model: %v", err)
	}
}

func TestReduceRefuses(t *testing.T) {
	tests := []struct{ name, model, overlay, text string }{
		{"not JSON", `{`, `{}`, "unexpected end of JSON input"},
		{"another protocol", strings.Replace(upstream, `"protocol": "json"`, `"protocol": "query"`, 1), `{}`, "protocol is query"},
		{"a lost shape", strings.Replace(upstream, `"Count": {"type"`, `"Other": {"type"`, 1), `{}`, `Counts refers to shape "Count"`},
		{"members that are no object", strings.Replace(upstream, `"members": {"item": {"shape": "Item"}}`, `"members": []`, 1), `{}`, "members must be an object"},
		{"an overlay that redefines a shape", upstream, `{"shapes":{"Name":{"type":"string"}}}`, `redefines shape "Name"`},
		{"an overlay that redefines an operation", upstream, `{"operations":[{"name":"Put"}]}`, `redefines operation "Put"`},
		{"an overlay with a misspelt member", upstream, `{"operation":[]}`, `unknown field "operation"`},
	}
	for _, tt := range tests {
		if _, _, err := reduced(t, tt.model, tt.overlay, false); err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.text)
		}
	}
}

func TestGenerate(t *testing.T) {
	m, _, err := reduced(t, upstream, addition, false)
	if err != nil {
		t.Fatal(err)
	}
	files, err := generate(m)
	if err != nil {
		t.Fatal(err)
	}
	for file, lines := range map[string][]string{
		"inputs_gen.go": {
			"type PutInput struct {",
			"Zeta string `json:\"zeta\"` // required, at least 2 characters",
			"AlphaIDs []string `json:\"alphaIds,omitzero\"` // at most 5 elements",
			"When Time `json:\"when,omitzero\"`",
			"Part []byte `json:\"part,omitzero\"` // 0 to 20 bytes",
			"Force bool `json:\"force\"`",
			"Size *int64 `json:\"size,omitzero\"`",
			"Score *float64 `json:\"score,omitzero\"`",
		},
		"outputs_gen.go": {"type PutOutput struct {", "Item *Item `json:\"item,omitzero\"`", "type AddOutput struct {"},
		"types_gen.go":   {"Counts map[Mode]int32 `json:\"counts,omitzero\"`"},
		"enums_gen.go": {`ModeAES256 Mode = "AES256"`, `ModeDockerHub Mode = "docker-hub"`, `ModeKMSDSSE Mode = "KMS_DSSE"`,
			`ModeMissingLayerDigest Mode = "MissingLayerDigest"`},
		"errors_gen.go":     {`CodeBad = "BadException"`, "case CodeGone:", "return 410, true", "CodeBad:"},
		"operations_gen.go": {`const TargetPrefix = "T_1"`, `Name: "Put",`, "NewInput: func() any { return new(PutInput) },"},
		"shapes_gen.go":     {"Pattern: newPattern(`[a-z]<\\w>`),", `{Name: "zeta", Shape: shapeName, Required: true},`, "Max: new(int64(5)),"},
	} {
		text := strings.Join(strings.Fields(string(files[file])), " ")
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("%s has no line %s", file, line)
			}
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	bad := model{Operations: []operation{{Name: "Put", Input: "PutRequest", Output: "PutRequest"}}, Shapes: map[string]shape{
		"PutRequest": {Type: "structure", Members: []member{{Name: "x", Shape: "X"}}}, "X": {Type: "float"}}}
	if _, err := generate(&bad); err == nil || !strings.Contains(err.Error(), `"float"`) {
		t.Errorf("an unknown type gives %v", err)
	}
	delete(bad.Shapes, "X")
	if _, err := generate(&bad); err == nil || !strings.Contains(err.Error(), `PutRequest refers to shape "X"`) {
		t.Errorf("a lost shape gives %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"generate"}, {"explain", "-model", "m", "-out", "o"}, {"generate", "-model", "m", "-out", "o", "more"},
		{"generate", "-colour"}, {"generate", "-model", "no-such-file", "-out", "o"}, {"reduce", "-model", "no-such-file.gz", "-out", "o"}} {
		if err := run(args, io.Discard); err == nil {
			t.Errorf("run(%q) accepts", args)
		}
	}
}

func TestFieldName(t *testing.T) {
	for wire, want := range map[string]string{"repositoryArn": "RepositoryARN", "imageIds": "ImageIDs", "referenceUrls": "ReferenceURLs",
		"kmsKey": "KMSKey", "ecrRepositoryPrefix": "ECRRepositoryPrefix", "Key": "Key", "scanOnPush": "ScanOnPush", "registryId": "RegistryID",
		"idle": "Idle", "awsEcrContainerImage": "AWSECRContainerImage"} {
		if got := fieldName(wire); got != want {
			t.Errorf("fieldName(%q) is %s, want %s", wire, got, want)
		}
	}
}

// TestModelIsReduced: the model in the repository holds facts only, in the order that reduce writes.
func TestModelIsReduced(t *testing.T) {
	path := filepath.Join(ecrDir, "model.json")
	m, err := loadModel(path)
	if err != nil {
		t.Fatal(err) // an unknown member: something other than the facts
	}
	text, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, read(t, path)) {
		t.Error("model.json was edited by hand: change overlay.json and run reduce")
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
