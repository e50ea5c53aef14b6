package ecrapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestAccountSettingsOfTheAPI(t *testing.T) {
	c := newClient(t)
	get := func(c *client, name string) string {
		out := c.call("GetAccountSetting", `{"name":"`+name+`"}`).ok()
		return fmt.Sprint(out["name"], " ", out["value"])
	}
	for name, value := range map[string]string{"BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE", "REGISTRY_POLICY_SCOPE": "V2", "BLOB_MOUNTING": "ENABLED"} {
		if got := get(c, name); got != name+" "+value {
			t.Errorf("the default is %s", got)
		}
		c.call("PutAccountSetting", `{"name":"`+name+`","value":"`+value+`"}`).ok()
		c.call("PutAccountSetting", `{"name":"`+name+`","value":"OTHER"}`).refused(400, "InvalidParameterException",
			"Invalid parameter at 'value' failed to satisfy constraint: 'Member must satisfy enum value set: [")
	}
	for _, operation := range []string{"GetAccountSetting", "PutAccountSetting"} {
		c.call(operation, `{"name":"blob_mounting","value":"ENABLED"}`).refused(400, "InvalidParameterException",
			"Invalid parameter at 'name' failed to satisfy constraint: 'Member must satisfy enum value set: [BASIC_SCAN_TYPE_VERSION, REGISTRY_POLICY_SCOPE, BLOB_MOUNTING]'")
	}
	out := c.call("PutAccountSetting", `{"name":"BLOB_MOUNTING","value":"DISABLED"}`).ok()
	if out["name"] != "BLOB_MOUNTING" || out["value"] != "DISABLED" || get(c, "BLOB_MOUNTING") != "BLOB_MOUNTING DISABLED" {
		t.Errorf("put %v, then there is %s", out, get(c, "BLOB_MOUNTING"))
	}
	if got := get(c.in("us-west-2"), "BLOB_MOUNTING"); got != "BLOB_MOUNTING ENABLED" {
		t.Errorf("another region has %s", got)
	}
}

// With BLOB_MOUNTING off a mount begins an ordinary upload.
func TestBlobMountingDecides(t *testing.T) {
	c := newClient(t)
	c.create("from", "to")
	const layer = "a layer"
	d := digest.FromString(layer)
	post := func(query, body string) int {
		req, err := http.NewRequest("POST", c.Endpoint+"/v2/"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(c.Login())
		return c.send(req).status
	}
	if got := post("from/blobs/uploads/?digest="+d.String(), layer); got != 201 {
		t.Fatalf("push a layer: %d", got)
	}
	for _, step := range []struct {
		value string
		want  int
	}{{"DISABLED", 202}, {"ENABLED", 201}} {
		c.call("PutAccountSetting", `{"name":"BLOB_MOUNTING","value":"`+step.value+`"}`).ok()
		for _, query := range []string{"&from=from", ""} {
			if got := post("to/blobs/uploads/?mount="+d.String()+query, ""); got != step.want {
				t.Errorf("%s: a mount%s answers %d, want %d", step.value, query, got, step.want)
			}
		}
	}
}

func TestScanningConfigurationOfTheAPI(t *testing.T) {
	c := newClient(t)
	const put, get = "PutRegistryScanningConfiguration", "GetRegistryScanningConfiguration"
	if got := c.call(get, `{}`).ok(); fmt.Sprint(got) != "map[registryId:000000000000 scanningConfiguration:map[rules:[] scanType:BASIC]]" {
		t.Errorf("the default is %v", got)
	}
	rule := func(frequency, filter string) string {
		return `{"scanFrequency":"` + frequency + `","repositoryFilters":[{"filter":"` + filter + `","filterType":"WILDCARD"}]}`
	}
	for body, want := range map[string]string{
		`{"scanType":"OTHER"}`: "scanType", `{"rules":[` + rule("SCAN_ON_PUSH", "A") + `]}`: "filter",
		`{"scanType":"BASIC","rules":[` + rule("CONTINUOUS_SCAN", "*") + `]}`:                              "Invalid parameter at 'scanFrequency' failed to satisfy constraint: 'The scan frequency CONTINUOUS_SCAN is not supported for the scan type BASIC'",
		`{"scanType":"ENHANCED","rules":[` + rule("MANUAL", "*") + `]}`:                                    "MANUAL is not supported for the scan type ENHANCED",
		`{"rules":[` + rule("SCAN_ON_PUSH", "a") + `,` + rule("SCAN_ON_PUSH", "b") + `]}`:                  "Only one rule is allowed for the scan frequency SCAN_ON_PUSH",
		`{"rules":[` + strings.Repeat(rule("SCAN_ON_PUSH", "a")+",", 2) + rule("SCAN_ON_PUSH", "b") + `]}`: "rules",
		`{"rules":[{"scanFrequency":"SCAN_ON_PUSH"}]}`:                                                     "repositoryFilters",
	} {
		c.call(put, body).refused(400, "InvalidParameterException", want)
	}
	body := `{"scanType":"ENHANCED","rules":[` + rule("CONTINUOUS_SCAN", "prod") + `,` + rule("SCAN_ON_PUSH", "*") + `]}`
	out := c.call(put, body).ok()["registryScanningConfiguration"]
	if got := c.call(get, `{}`).ok()["scanningConfiguration"]; fmt.Sprint(got) != fmt.Sprint(out) || !strings.Contains(fmt.Sprint(got), "[map[filter:prod filterType:WILDCARD]]") {
		t.Errorf("put %v, then there is %v", out, got)
	}
	if got := c.in("us-west-2").call(get, `{}`).ok()["scanningConfiguration"]; fmt.Sprint(got) != "map[rules:[] scanType:BASIC]" {
		t.Errorf("another region has %v", got)
	}

	c.create("app", "prod/app")
	batch := c.call("BatchGetRepositoryScanningConfiguration", `{"repositoryNames":["prod/app","none","app"]}`).ok()
	const arn = "repositoryArn:arn:aws:ecr:us-east-1:000000000000:repository/"
	if got := fmt.Sprint(batch); got != "map[failures:[map[failureCode:REPOSITORY_NOT_FOUND failureReason:REPOSITORY_NOT_FOUND repositoryName:none]] scanningConfigurations:["+
		"map[appliedScanFilters:[map[filter:prod filterType:WILDCARD]] "+arn+"prod/app repositoryName:prod/app scanFrequency:CONTINUOUS_SCAN scanOnPush:false] "+
		"map[appliedScanFilters:[map[filter:* filterType:WILDCARD]] "+arn+"app repositoryName:app scanFrequency:SCAN_ON_PUSH scanOnPush:true]]]" {
		t.Error(got)
	}
	c.call(put, `{}`).ok() // replaces all of it
	batch = c.call("BatchGetRepositoryScanningConfiguration", `{"repositoryNames":["app"]}`).ok()
	if got := fmt.Sprint(batch["scanningConfigurations"]); !strings.Contains(got, "appliedScanFilters:[]") || !strings.Contains(got, "scanFrequency:MANUAL scanOnPush:false") {
		t.Error(got)
	}
}

func TestReplicationConfigurationOfTheAPI(t *testing.T) {
	c := newClient(t)
	const own = "Invalid parameter at 'replicationConfiguration' failed to satisfy constraint: 'Replication destination cannot be the same as the source registry'"
	to := func(region, account string) string {
		return `{"region":"` + region + `","registryId":"` + account + `"}`
	}
	rules := func(list ...string) string {
		return `{"replicationConfiguration":{"rules":[` + strings.Join(list, ",") + `]}}`
	}
	rule := func(destinations ...string) string {
		return `{"destinations":[` + strings.Join(destinations, ",") + `]}`
	}
	there := func(c *client) string { return fmt.Sprint(c.call("DescribeRegistry", `{}`).ok()) }
	const none = "map[registryId:000000000000 replicationConfiguration:map[rules:[]]]"
	if got := there(c); got != none {
		t.Error(got)
	}
	put := func(body string) answer { return c.call("PutReplicationConfiguration", body) }
	put(rules(rule(to("us-west-2", "000000000000"), to("us-east-1", "000000000000")))).refused(400, "InvalidParameterException", own)
	put(`{"replicationConfiguration":{}}`).refused(400, "InvalidParameterException", "rules")
	put(rules(`{"destinations":[],"repositoryFilters":[]}`)).refused(400, "InvalidParameterException", "repositoryFilters")
	put(rules(strings.Split(strings.Repeat(rule()+"|", 11), "|")[:11]...)).refused(400, "InvalidParameterException", "rules")
	var many []string
	for i := range 26 {
		many = append(many, to("us-west-2", fmt.Sprintf("%012d", i+1)))
	}
	put(rules(rule(many[:13]...), rule(many[13:]...))).refused(400, "InvalidParameterException", "25 unique destinations")
	put(rules(rule(many[:25]...), rule(many[:25]...))).ok() // the same ones count once
	body := rules(`{"destinations":[`+to("us-east-1", "111122223333")+`],"repositoryFilters":[{"filter":"prod","filterType":"PREFIX_MATCH"}]}`, rule(to("us-west-2", "000000000000")))
	out := put(body).ok()["replicationConfiguration"]
	const want = "map[rules:[map[destinations:[map[region:us-east-1 registryId:111122223333]] repositoryFilters:[map[filter:prod filterType:PREFIX_MATCH]]] " +
		"map[destinations:[map[region:us-west-2 registryId:000000000000]]]]]"
	if got := fmt.Sprint(out); got != want {
		t.Error(got)
	}
	if got := there(c); got != "map[registryId:000000000000 replicationConfiguration:"+want+"]" {
		t.Error(got)
	}
	if got := there(c.in("us-west-2")); got != none {
		t.Errorf("another region has %s", got)
	}
	put(rules()).ok()
	if got := there(c); got != none {
		t.Errorf("after no rules: %s", got)
	}
}

func TestPullTimeExclusionsOfTheAPI(t *testing.T) {
	c := newClient(t)
	body := func(name string) string { return `{"principalArn":"arn:aws:iam::000000000000:` + name + `"}` }
	register := func(name string) answer { return c.call("RegisterPullTimeUpdateExclusion", body(name)) }
	deregister := func(name string) answer { return c.call("DeregisterPullTimeUpdateExclusion", body(name)) }
	list := func(c *client, more string) (names, next string) {
		out := c.call("ListPullTimeUpdateExclusions", `{`+more+`}`).ok()
		next, _ = out["nextToken"].(string)
		return strings.ReplaceAll(fmt.Sprint(out["pullTimeUpdateExclusions"]), "arn:aws:iam::000000000000:", ""), next
	}
	if got, _ := list(c, ""); got != "[]" {
		t.Error(got)
	}
	for _, bad := range []string{"root", "group/x", "role/", "user/" + strings.Repeat("x", 200)} {
		register(bad).refused(400, "InvalidParameterException", "principalArn")
	}
	for _, name := range []string{"user/b", "role/path/a", "role/c"} {
		out := register(name).ok()
		if at, ok := out["createdAt"].(float64); !ok || at < 1.6e9 || out["principalArn"] != "arn:aws:iam::000000000000:"+name {
			t.Error(out)
		}
	}
	register("user/b").refused(400, "ExclusionAlreadyExistsException", "arn:aws:iam::000000000000:user/b")
	if got, next := list(c, ""); got != "[role/c role/path/a user/b]" || next != "" {
		t.Error(got, next)
	}
	got, next := list(c, `"maxResults":2`)
	if got != "[role/c role/path/a]" || next == "" {
		t.Fatal(got, next)
	}
	deregister("role/path/a").ok() // the page goes on behind an item that is gone
	if got, next := list(c, `"maxResults":2,"nextToken":"`+next+`"`); got != "[user/b]" || next != "" {
		t.Error(got, next)
	}
	c.call("ListPullTimeUpdateExclusions", `{"nextToken":"x"}`).refused(400, "InvalidParameterException", "Invalid next token provided")
	deregister("role/path/a").refused(400, "ExclusionNotFoundException", "arn:aws:iam::000000000000:role/path/a")
	if got, _ := list(c.in("us-west-2"), ""); got != "[]" {
		t.Errorf("another region has %s", got)
	}
	for i := range 98 {
		register(fmt.Sprintf("user/%d", i)).ok()
	}
	register("user/one-more").refused(400, "LimitExceededException", "100")
}

func TestSigningConfigurationOfTheAPI(t *testing.T) {
	c := newClient(t)
	const none = "The signing configuration does not exist in the registry with id '000000000000'"
	c.call("GetSigningConfiguration", `{}`).refused(400, "SigningConfigurationNotFoundException", none)
	c.call("DeleteSigningConfiguration", `{}`).refused(400, "SigningConfigurationNotFoundException", none)
	const profile = `"signingProfileArn":"arn:aws:signer:us-east-1:111122223333:/signing-profiles/release"`
	put := func(rules string) answer {
		return c.call("PutSigningConfiguration", `{"signingConfiguration":{"rules":[`+rules+`]}}`)
	}
	for rules, want := range map[string]string{
		`{}`: "signingProfileArn", `{"signingProfileArn":"release"}`: "signingProfileArn",
		`{` + profile + `,"repositoryFilters":[]}`:                                             "repositoryFilters",
		`{` + profile + `,"repositoryFilters":[{"filter":"A","filterType":"WILDCARD_MATCH"}]}`: "filter",
		strings.Repeat(`{`+profile+`},`, 10) + `{` + profile + `}`:                             "rules",
		`{` + strings.Replace(profile, "us-east-1", "us-west-2", 1) + `}`:                      "Invalid parameter at 'signingProfileArn' failed to satisfy constraint: 'The signing profile must be in the region us-east-1 of the registry'",
	} {
		put(rules).refused(400, "InvalidParameterException", want)
	}
	c.call("GetSigningConfiguration", `{}`).refused(400, "SigningConfigurationNotFoundException", none)
	put(``).ok() // no rules are a configuration too
	if got := fmt.Sprint(c.call("GetSigningConfiguration", `{}`).ok()["signingConfiguration"]); got != "map[rules:[]]" {
		t.Error(got)
	}
	out := put(`{` + profile + `,"repositoryFilters":[{"filter":"prod/*","filterType":"WILDCARD_MATCH"}]},{` + profile + `}`).ok()
	const arn = "signingProfileArn:arn:aws:signer:us-east-1:111122223333:/signing-profiles/release"
	const want = "signingConfiguration:map[rules:[map[repositoryFilters:[map[filter:prod/* filterType:WILDCARD_MATCH]] " + arn + "] map[" + arn + "]]]]"
	if got := fmt.Sprint(out); got != "map["+want {
		t.Error(got)
	}
	c.in("us-west-2").call("GetSigningConfiguration", `{}`).refused(400, "SigningConfigurationNotFoundException", none)
	for _, operation := range []string{"GetSigningConfiguration", "DeleteSigningConfiguration"} {
		if got := fmt.Sprint(c.call(operation, `{}`).ok()); got != "map[registryId:000000000000 "+want {
			t.Errorf("%s: %s", operation, got)
		}
	}
	c.call("GetSigningConfiguration", `{}`).refused(400, "SigningConfigurationNotFoundException", none)
}

func TestReferrersOfTheAPI(t *testing.T) {
	c := newClient(t)
	c.create("app", "other")
	subject := push(c, "app", "v1")
	var digests []string
	for i := range 5 {
		body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","artifactType":"application/vnd.test.%d","manifests":[],`+
			`"subject":{"mediaType":"application/vnd.oci.image.index.v1+json","digest":%q,"size":%d},"annotations":{"n":"%d"}}`, i%3, subject, len(indexBody("v1")), i)
		c.call("PutImage", `{"repositoryName":"app","imageManifest":`+quote(body)+`}`).ok()
		digests = append(digests, digest.FromString(body).String())
	}
	list := func(more string) (string, string) {
		out := c.call("ListImageReferrers", `{"repositoryName":"app","subjectId":{"imageDigest":"`+subject+`"}`+more+`}`).ok()
		var got []string
		for _, r := range out["referrers"].([]any) {
			got = append(got, r.(map[string]any)["digest"].(string))
		}
		next, _ := out["nextToken"].(string)
		return strings.Join(got, " "), next
	}
	all := strings.Join(digests, " ")
	for filter, want := range map[string]string{
		``: all, `,"filter":{}`: all, `,"filter":{"artifactTypes":[]}`: all, `,"filter":{"artifactStatus":"ANY"}`: all,
		`,"filter":{"artifactStatus":"ARCHIVED"}`:                                             "",
		`,"filter":{"artifactTypes":["application/vnd.test.2"],"artifactStatus":"ACTIVE"}`:    digests[2],
		`,"filter":{"artifactTypes":["application/vnd.test.2","application/vnd.test.1","x"]}`: digests[1] + " " + digests[2] + " " + digests[4],
	} {
		if got, next := list(filter); got != want || next != "" {
			t.Errorf("%s: %s (next %s)\nwant %s", filter, got, next, want)
		}
	}
	var pages []string
	for next := "{}"; next != ""; {
		more := `,"maxResults":2`
		if next != "{}" {
			more += `,"nextToken":` + quote(next)
			c.call("ListImageReferrers", `{"repositoryName":"app","subjectId":{"imageDigest":"`+digests[0]+`"}`+more+`}`).refused(400, "InvalidParameterException", "Invalid next token provided")
			c.call("ListImageReferrers", `{"repositoryName":"other","subjectId":{"imageDigest":"`+subject+`"}`+more+`}`).refused(400, "InvalidParameterException", "Invalid next token provided")
		}
		var page string
		page, next = list(more)
		pages = append(pages, page)
	}
	if len(pages) != 3 || strings.Join(pages, " ") != all {
		t.Errorf("%q", pages)
	}
	out := c.call("ListImageReferrers", `{"repositoryName":"app","subjectId":{"imageDigest":"`+subject+`"},"maxResults":1}`).ok()
	if r := out["referrers"].([]any)[0].(map[string]any); r["mediaType"] != "application/vnd.oci.image.index.v1+json" || r["artifactType"] != "application/vnd.test.0" ||
		r["size"].(float64) < 100 || fmt.Sprint(r["annotations"]) != "map[n:0]" || r["artifactStatus"] != "ACTIVE" {
		t.Error(r)
	}
	c.call("ListImageReferrers", `{"repositoryName":"app","subjectId":{"imageDigest":"`+subject+`"},"maxResults":51}`).refused(400, "InvalidParameterException", "maxResults")
	if a := c.call("ListImageReferrers", `{"repositoryName":"other","subjectId":{"imageDigest":"`+subject+`"}}`); a.body != `{"referrers":[]}` {
		t.Error(a.body)
	}
}
