package findings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/internal/testkit"
)

// full is a report with everything that a document can have.
func full() *Report {
	r := report()
	r.Warnings = []string{"No advisories were known of PyPI."}
	r.Packages = []Package{
		{Ecosystem: "Debian:12", Name: "zlib1g", Version: "1", Arch: "amd64", Manager: "OS", Path: "var/lib/dpkg/status", Layer: "sha256:" + strings.Repeat("b", 64), PURL: "pkg:deb/debian/zlib1g@1?arch=amd64"},
		{Ecosystem: "npm", Name: "lodash", Version: "4.17.11", Manager: "NODEPKG", Path: "a b/package.json", PURL: "pkg:npm/lodash@4.17.11"},
	}
	r.Findings[0].Score, r.Findings[0].Vector, r.Findings[0].URL = 3.1, "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:L/I:N/A:N", "https://example.com/CVE-1"
	r.Findings[1].Score, r.Findings[1].Vector = 9.3, "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"
	r.Findings[1].Description, r.Findings[1].Title = "Bad things\nhappen.", "lodash is bad"
	r.Suppressed = []Suppressed{
		{Finding: Finding{ID: "CVE-3", Severity: "UNDEFINED", Package: "zlib1g", Version: "1"}, Status: "not_affected", Reason: "not there", Source: "ann in vex.json"},
		{Finding: Finding{ID: "CVE-4", Severity: "INFORMATIONAL", Package: "zlib1g", Version: "1"}, Status: vexFixed, Reason: "patched", Source: "ann in vex.json"},
	}
	return r
}

// A schema is what is checked of JSON Schema: what the schemas here use but for
// formats and uniqueness.
type schema struct {
	root map[string]any
	t    *testing.T
}

func (s schema) check(rule map[string]any, v any, at string) (wrong []string) {
	fail := func(format string, args ...any) { wrong = append(wrong, at+": "+fmt.Sprintf(format, args...)) }
	if ref, ok := rule["$ref"].(string); ok {
		name, local := strings.CutPrefix(ref, "#/definitions/")
		if !local {
			return nil // of another file: signatures and licence names, of which we have none
		}
		target, ok := s.root["definitions"].(map[string]any)[name].(map[string]any)
		if !ok {
			s.t.Fatalf("the schema has no definition %s", name)
		}
		return s.check(target, v, at)
	}
	if want, ok := rule["type"].(string); ok && !isType(want, v) {
		fail("is %T, not %s", v, want)
		return wrong
	}
	if list, ok := rule["enum"].([]any); ok && !slices.ContainsFunc(list, func(e any) bool { return reflect.DeepEqual(e, v) }) {
		fail("%v is none of %v", v, list)
	}
	for _, sub := range rules(rule["allOf"]) {
		wrong = append(wrong, s.check(sub, v, at)...)
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		if list := rules(rule[word]); len(list) > 0 && !slices.ContainsFunc(list, func(sub map[string]any) bool { return len(s.check(sub, v, at)) == 0 }) {
			fail("%v is none of %s", v, word)
		}
	}
	switch v := v.(type) {
	case string:
		if pattern, ok := rule["pattern"].(string); ok {
			if re, err := regexp.Compile(pattern); err == nil && !re.MatchString(v) {
				fail("%q does not match %s", v, pattern)
			}
		}
		if n, ok := rule["minLength"].(float64); ok && float64(len(v)) < n {
			fail("%q is too short", v)
		}
	case []any:
		if sub, ok := rule["items"].(map[string]any); ok {
			for i, e := range v {
				wrong = append(wrong, s.check(sub, e, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	case map[string]any:
		properties, _ := rule["properties"].(map[string]any)
		required, _ := rule["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				fail("lacks %s", name)
			}
		}
		for name, e := range v {
			sub, known := properties[name].(map[string]any)
			switch {
			case known:
				wrong = append(wrong, s.check(sub, e, at+"."+name)...)
			case rule["additionalProperties"] == false:
				fail("may not have %s", name)
			}
		}
	}
	return wrong
}

func rules(v any) (out []map[string]any) {
	list, _ := v.([]any)
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func isType(want string, v any) bool {
	switch v := v.(type) {
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case float64:
		return want == "number" || want == "integer" && v == float64(int64(v))
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return want == "null"
}

func decoded(t *testing.T, text []byte) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestCycloneDXFollowsItsSchema checks a document by the schema of CycloneDX 1.6,
// which lies beside the library.
func TestCycloneDXFollowsItsSchema(t *testing.T) {
	dir := strings.TrimSpace(testkit.Run(t, testkit.Tool(t, "go"), "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go"))
	text, err := os.ReadFile(filepath.Join(dir, "schema", "bom-1.6.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := schema{decoded(t, text), t}
	var out bytes.Buffer
	if err := full().CycloneDX(&out, "v1.0.0"); err != nil {
		t.Fatal(err)
	}
	doc := decoded(t, out.Bytes())
	for _, w := range s.check(s.root, doc, "bom") {
		t.Error(w)
	}
	doc["components"].([]any)[0].(map[string]any)["type"] = "thing"
	delete(doc["components"].([]any)[1].(map[string]any), "name")
	doc["more"] = true
	if wrong := s.check(s.root, doc, "bom"); len(wrong) != 3 {
		t.Errorf("of three mistakes these were found: %q", wrong)
	}
}

// TestSARIFHolds checks what the specification of SARIF 2.1.0 demands of what we
// write: sections 3.13, 3.14, 3.19, 3.20, 3.27, 3.28, 3.35, 3.49, 3.52 and 3.58.
func TestSARIFHolds(t *testing.T) {
	text, err := json.Marshal(full().SARIF("v1.0.0"))
	if err != nil {
		t.Fatal(err)
	}
	rule := decoded(t, []byte(`{
		"type":"object","additionalProperties":false,"required":["version","runs"],
		"properties":{"$schema":{"type":"string"},"version":{"enum":["2.1.0"]},"runs":{"type":"array","items":{"$ref":"#/definitions/run"}}},
		"definitions":{
			"text":{"type":"object","additionalProperties":false,"required":["text"],"properties":{"text":{"type":"string","minLength":1}}},
			"level":{"enum":["none","note","warning","error"]},
			"run":{"type":"object","additionalProperties":false,"required":["tool"],"properties":{
				"tool":{"type":"object","additionalProperties":false,"required":["driver"],"properties":{"driver":{"$ref":"#/definitions/driver"}}},
				"invocations":{"type":"array","items":{"type":"object","additionalProperties":false,"required":["executionSuccessful"],"properties":{
					"executionSuccessful":{"type":"boolean"},
					"toolExecutionNotifications":{"type":"array","items":{"type":"object","additionalProperties":false,"required":["message"],"properties":{
						"level":{"$ref":"#/definitions/level"},"message":{"$ref":"#/definitions/text"}}}}}}},
				"results":{"type":"array","items":{"$ref":"#/definitions/result"}}}},
			"driver":{"type":"object","additionalProperties":false,"required":["name"],"properties":{
				"name":{"type":"string","minLength":1},"semanticVersion":{"type":"string","pattern":"^[0-9]+\\.[0-9]+\\.[0-9]+"},
				"rules":{"type":"array","items":{"type":"object","additionalProperties":false,"required":["id"],"properties":{
					"id":{"type":"string","minLength":1},"shortDescription":{"$ref":"#/definitions/text"},"fullDescription":{"$ref":"#/definitions/text"},
					"helpUri":{"type":"string","pattern":"^https?://"},
					"properties":{"type":"object","required":["security-severity","tags"],"properties":{"security-severity":{"type":"string","pattern":"^[0-9]+\\.[0-9]$"}}}}}}}},
			"result":{"type":"object","additionalProperties":false,"required":["message","ruleId"],"properties":{
				"ruleId":{"type":"string"},"ruleIndex":{"type":"integer"},"level":{"$ref":"#/definitions/level"},"message":{"$ref":"#/definitions/text"},
				"locations":{"type":"array","items":{"type":"object","additionalProperties":false,"required":["physicalLocation"],"properties":{
					"physicalLocation":{"type":"object","additionalProperties":false,"required":["artifactLocation"],"properties":{
						"artifactLocation":{"type":"object","additionalProperties":false,"required":["uri"],"properties":{"uri":{"type":"string","pattern":"^[^ ]+$"}}}}}}}},
				"partialFingerprints":{"type":"object"},
				"suppressions":{"type":"array","items":{"type":"object","additionalProperties":false,"required":["kind"],"properties":{
					"kind":{"enum":["inSource","external"]},"justification":{"type":"string"}}}}}}}}`))
	s := schema{rule, t}
	doc := decoded(t, text)
	for _, w := range s.check(s.root, doc, "log") {
		t.Error(w)
	}
	run := doc["runs"].([]any)[0].(map[string]any)
	ids := run["tool"].(map[string]any)["driver"].(map[string]any)["rules"].([]any)
	for _, r := range run["results"].([]any) { // section 3.27.6
		r := r.(map[string]any)
		if at := int(r["ruleIndex"].(float64)); at >= len(ids) || ids[at].(map[string]any)["id"] != r["ruleId"] {
			t.Errorf("the result of %v points to rule %d", r["ruleId"], at)
		}
	}
	run["results"].([]any)[0].(map[string]any)["level"] = "bad"
	delete(run, "tool")
	if wrong := s.check(s.root, doc, "log"); len(wrong) != 2 {
		t.Errorf("of two mistakes these were found: %q", wrong)
	}
}

// TestSPDXHolds checks what SPDX 2.3 demands of what we write: chapters 6, 7 and 11.
func TestSPDXHolds(t *testing.T) {
	var out bytes.Buffer
	if err := full().SPDX(&out, "v1.0.0"); err != nil {
		t.Fatal(err)
	}
	rule := decoded(t, []byte(`{
		"type":"object","required":["spdxVersion","dataLicense","SPDXID","name","documentNamespace","creationInfo","packages","relationships"],
		"properties":{
			"spdxVersion":{"enum":["SPDX-2.3"]},"dataLicense":{"enum":["CC0-1.0"]},"SPDXID":{"enum":["SPDXRef-DOCUMENT"]},
			"documentNamespace":{"type":"string","pattern":"^https://[^#]+$"},
			"creationInfo":{"type":"object","additionalProperties":false,"required":["created","creators"],"properties":{
				"created":{"type":"string","pattern":"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"},"comment":{"type":"string"},
				"creators":{"type":"array","items":{"type":"string","pattern":"^(Tool|Person|Organization): .+"}}}},
			"packages":{"type":"array","items":{"type":"object","required":["name","SPDXID","downloadLocation"],"properties":{
				"SPDXID":{"$ref":"#/definitions/id"},"downloadLocation":{"enum":["NOASSERTION"]},
				"externalRefs":{"type":"array","items":{"type":"object","required":["referenceCategory","referenceType","referenceLocator"],"properties":{
					"referenceCategory":{"enum":["SECURITY","PACKAGE-MANAGER"]},"referenceType":{"enum":["purl","advisory"]},"referenceLocator":{"type":"string","minLength":1}}}},
				"checksums":{"type":"array","items":{"type":"object","required":["algorithm","checksumValue"],"properties":{
					"algorithm":{"enum":["SHA256"]},"checksumValue":{"type":"string","pattern":"^[0-9a-f]{64}$"}}}}}}},
			"relationships":{"type":"array","items":{"type":"object","required":["spdxElementId","relatedSpdxElement","relationshipType"],"properties":{
				"spdxElementId":{"$ref":"#/definitions/id"},"relatedSpdxElement":{"$ref":"#/definitions/id"},"relationshipType":{"enum":["DESCRIBES","CONTAINS"]}}}}},
		"definitions":{"id":{"type":"string","pattern":"^SPDXRef-[a-zA-Z0-9.-]+$"}}}`))
	s := schema{rule, t}
	doc := decoded(t, out.Bytes())
	for _, w := range s.check(s.root, doc, "document") {
		t.Error(w)
	}
	ids := map[any]bool{"SPDXRef-DOCUMENT": true}
	for _, p := range doc["packages"].([]any) {
		id := p.(map[string]any)["SPDXID"]
		if ids[id] {
			t.Errorf("two packages are called %v", id)
		}
		ids[id] = true
	}
	for _, r := range doc["relationships"].([]any) {
		r := r.(map[string]any)
		if !ids[r["spdxElementId"]] || !ids[r["relatedSpdxElement"]] {
			t.Errorf("the relationship %v is between things that are not there", r)
		}
	}
}
