package ecrapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// part is a request of BerthImportAdvisories.
func part(t *testing.T, state any, last bool, records ...string) string {
	t.Helper()
	list := []map[string]string{}
	for i, text := range records {
		list = append(list, map[string]string{"name": fmt.Sprint("record ", i), "text": text})
	}
	in := map[string]any{"last": last}
	for name, v := range map[string]any{"state": state, "records": list} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		in[name] = text
	}
	out, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func record(id, ecosystem, pkg string) string {
	return fmt.Sprintf(`{"id":%q,"modified":"2026-11-01T00:00:00Z","affected":[{"package":{"ecosystem":%q,"name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]}]}`, id, ecosystem, pkg)
}

// TestImportAdvisories imports in parts, of which only the last changes what is
// known; a state that is not one of an import under way is refused.
func TestImportAdvisories(t *testing.T) {
	c := newClient(t)
	sets := func() string { return fmt.Sprint(c.call("BerthDescribeAdvisories", `{}`).ok()["sets"]) }
	if got := sets(); got != "[]" {
		t.Errorf("known at first: %s", got)
	}
	first := c.call("BerthImportAdvisories", part(t, map[string]any{"source": "tests"}, false, record("D-1", "Debian:12", "zlib"), "no record", record("N-1", "npm", "lodash"))).ok()
	if got := sets(); got != "[]" {
		t.Errorf("known before the last part: %s", got)
	}
	if report := fmt.Sprint(first["report"]); !strings.Contains(report, "records:2") || !strings.Contains(report, "skipped:1") || !strings.Contains(report, "record 1: ") {
		t.Errorf("report %s", report)
	}
	c.call("BerthImportAdvisories", part(t, first["state"], true, record("D-2", "Debian:12", "openssl"))).ok()
	got := sets()
	for _, want := range []string{"ecosystem:Debian", "records:2", "ecosystem:npm", "records:1", "source:tests"} {
		if !strings.Contains(got, want) {
			t.Errorf("known after the last part: %s; lacks %s", got, want)
		}
	}
	c.call("BerthImportAdvisories", part(t, first["state"], true, record("D-3", "Debian:12", "bash"))).refused(400, "InvalidParameterException", "begin it again")
	if sets() != got {
		t.Errorf("a finished import was changed: %s", sets())
	}
	none := base64.StdEncoding.EncodeToString([]byte("none"))
	c.call("BerthImportAdvisories", `{"state":"`+none+`"}`).refused(400, "InvalidParameterException", "'state'")
	c.call("BerthImportAdvisories", `{"state":"e30=","records":"`+none+`"}`).refused(400, "InvalidParameterException", "'records'")
	c.call("BerthImportAdvisories", `{}`).refused(400, "InvalidParameterException", "'state'")
}

// TestDescribeExploits is allowed to whoever may see findings of the repository.
func TestDescribeExploits(t *testing.T) {
	c := newClient(t)
	list := []map[string]string{{"name": "kev", "feed": "KEV", "text": `{"catalogVersion":"1","dateReleased":"2026-11-20T00:00:00Z","vulnerabilities":[{"cveID":"CVE-2020-1","dateAdded":"2026-11-03"}]}`}}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	c.call("BerthImportAdvisories", `{"state":"e30=","last":true,"records":"`+base64.StdEncoding.EncodeToString(text)+`"}`).ok()
	const ask = `{"repositoryName":"app","names":["CVE-2020-1","CVE-2020-2"]}`
	if got := fmt.Sprint(c.call("BerthDescribeExploits", ask).ok()); got != "map[exploits:[map[cve:CVE-2020-1 exploited:2026-11-03]]]" {
		t.Errorf("known: %s", got)
	}
	c.call("BerthDescribeExploits", `{"repositoryName":"app","names":[]}`).refused(400, "InvalidParameterException", "'names'")
	c.IAM("CreateUser", "UserName", "bob")
	bob := c.with(c.IAM("CreateAccessKey", "UserName", "bob"))
	bob.call("BerthDescribeExploits", ask).refused(400, "AccessDeniedException", "ecr:DescribeImageScanFindings")
}

// TestImportAdvisoriesIsAdministration lets in whom a policy of the home account
// lets in, and no other account, whatever its own policies say.
func TestImportAdvisoriesIsAdministration(t *testing.T) {
	c := newClient(t)
	c.IAM("CreateUser", "UserName", "ann")
	ann := c.with(c.IAM("CreateAccessKey", "UserName", "ann"))
	c.IAM("PutUserPolicy", "UserName", "ann", "PolicyName", "p", "PolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:BerthDescribeAdvisories","Resource":"*"}]}`)
	ann.call("BerthDescribeAdvisories", `{}`).ok()
	ann.call("BerthImportAdvisories", part(t, struct{}{}, true)).refused(400, "AccessDeniedException", "is not authorized to perform: ecr:BerthImportAdvisories on resource: *")
	other := c.with(c.IAM("BerthCreateAccount", "AccountId", "111122223333"))
	for _, op := range []string{"BerthDescribeAdvisories", "BerthImportAdvisories"} {
		other.call(op, part(t, struct{}{}, true)).refused(400, "AccessDeniedException", "arn:aws:iam::111122223333:root is not authorized")
	}
}

// with is the client with the access key of an answer of IAM.
func (c *client) with(answer string) *client {
	c.t.Helper()
	is := func(name string) string {
		m := regexp.MustCompile("<" + name + ">([^<]+)<").FindStringSubmatch(answer)
		if m == nil {
			c.t.Fatalf("no %s in %s", name, answer)
		}
		return m[1]
	}
	d := *c
	d.id, d.secret = is("AccessKeyId"), is("SecretAccessKey")
	return &d
}
