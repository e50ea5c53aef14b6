package ecrapi

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"berth/internal/ecr"
)

// A remark says of an operation what its handler and the domain enforce beyond
// the constraints of the service model, and what differs from AWS.
type remark struct{ enforced, differs string }

// remarks has an entry for each route. They are sentences of a table cell.
func remarks() map[string]remark {
	const (
		noEngine = "no engine yet"
		arn      = "the ARN names a repository of the request's region"
	)
	return map[string]remark{
		"CreateRepository": {"the name's grammar and that it is free; mutability mode and filters; at most 50 tags; a KMS key that is usable, " +
			"and that the caller may use (`kms:DescribeKey`, `kms:CreateGrant`)", "`--create-kms-keys` makes a key that is named by its ARN and missing"},
		"DescribeRepositories":                    {"pages in the order of names; names and pages exclude each other", ""},
		"DeleteRepository":                        {"refused while there are images, but for `force`", ""},
		"PutImageTagMutability":                   {"five filters with two wildcards each; decides about every later push, by both APIs", ""},
		"PutImageScanningConfiguration":           {"scan on push; told by BatchGetRepositoryScanningConfiguration", ""},
		"TagResource":                             {arn + "; at most 50 tags, keys of 128 and values of 256 characters, none of `aws:`", ""},
		"UntagResource":                           {arn, ""},
		"ListTagsForResource":                     {arn, ""},
		"SetRepositoryPolicy":                     {"the grammar of policies; a policy that locks its author out only with `force`; decides from the next request", "principals are not looked up"},
		"GetRepositoryPolicy":                     {"", ""},
		"DeleteRepositoryPolicy":                  {"ends what the policy allowed with the next request", ""},
		"PutLifecyclePolicy":                      {"the grammar and every rule of lifecycle policies, with ECR's sentences; the rules run every hour", "AWS acts within 24 hours"},
		"GetLifecyclePolicy":                      {"", "`lastEvaluatedAt` is absent until rules ran"},
		"DeleteLifecyclePolicy":                   {"", "`lastEvaluatedAt` is absent until rules ran"},
		"StartLifecyclePolicyPreview":             {"the policy as PutLifecyclePolicy does; one preview at a time", "it is complete when the answer comes"},
		"GetLifecyclePolicyPreview":               {"filters; images and pages exclude each other; does not change while images do; `EXPIRED` after a day", "images that an index keeps are left out; what refers to an image is listed with it"},
		"PutImage":                                {"the media type; that layers and children are there; the digest, when one is given; immutable tags; KMS keys", "media types with parameters are accepted in artifacts"},
		"BatchGetImage":                           {"failures one by one, with ECR's codes; counts as a pull; imports what is missing of a cached repository", "manifests are never converted"},
		"BatchDeleteImage":                        {"an image that an index lists stays; the last tag takes the image along; all in one transaction", ""},
		"ListImages":                              {"one entry for each tag, in push order; filters", ""},
		"DescribeImages":                          {"one unknown image fails the call; filters; images and pages exclude each other", ""},
		"ListImageReferrers":                      {"in push order; filters by artifact type and status", ""},
		"InitiateLayerUpload":                     {"the KMS key of the repository", ""},
		"UploadLayerPart":                         {"consecutive parts, which survive a restart; at most 52000 MiB", ""},
		"CompleteLayerUpload":                     {"the digest; parts of 5 MiB at least, but for the last; durable before the answer", ""},
		"BatchCheckLayerAvailability":             {"membership of this repository; a layer that is there stays for a lease (`--gc-lease`)", "a layer whose bytes are lost counts as missing"},
		"GetDownloadUrlForLayer":                  {"only layers that an image lists", "a URL of the registry, good for an hour"},
		"GetAuthorizationToken":                   {"a password that is bound to the access key, for 12 hours", "one made with temporary credentials ends with them"},
		"GetAccountSetting":                       {"names that are known", ""},
		"PutAccountSetting":                       {"names and values; `BLOB_MOUNTING` decides about mounts", "`BLOB_MOUNTING` is on by default; no `CLAIR`, no `V1`"},
		"PutRegistryScanningConfiguration":        {"one rule for each frequency, frequencies of the scan type; which repositories are scanned, and when", ""},
		"GetRegistryScanningConfiguration":        {"", ""},
		"BatchGetRepositoryScanningConfiguration": {"what rules and repositories come to; failures one by one", ""},
		"RegisterPullTimeUpdateExclusion":         {"the pulls of the principal are not recorded", "principals are not looked up"},
		"DeregisterPullTimeUpdateExclusion":       {"", ""},
		"ListPullTimeUpdateExclusions":            {"pages in the order of ARNs", ""},
		"PutSigningConfiguration":                 {"ten rules; profiles of the registry's region", noEngine},
		"GetSigningConfiguration":                 {"", ""},
		"DeleteSigningConfiguration":              {"", ""},
		"PutReplicationConfiguration":             {"ten rules, 25 destinations, 100 filters for each; not to the registry itself", noEngine},
		"CreateRepositoryCreationTemplate": {"fifty templates; settings that a repository could have; a role where AWS needs one; " +
			"creates the repositories that pushes miss", "the role is not assumed"},
		"DescribeRepositoryCreationTemplates": {"pages in the order of prefixes; prefixes and pages exclude each other", ""},
		"UpdateRepositoryCreationTemplate":    {"what the request has is changed, the rest stays", "the role is not assumed"},
		"DeleteRepositoryCreationTemplate":    {"", ""},
		"UpdateImageStorageClass":             {"an archived image is not pulled, listed by default or scanned; indexes before their images", "a restoration takes seconds, and the time to move the bytes back"},
		"StartImageScan":                      {"one scan of an image in 24 hours; only container images that are active; not with enhanced scanning", "findings are as good as the advisories imported"},
		"DescribeImageScanFindings":           {"the last scan in the shape of its type, page by page", "findings are as good as the advisories imported"},
		"DescribeImageReplicationStatus":      {"that the image is there", noEngine + ": no statuses"},
		"DescribeImageSigningStatus":          {"that the image is there", noEngine + ": no statuses"},
		"StartReplicationBackfill":            {"a destination of the replication configuration; one under way to a region, ten in all", noEngine + ": it stays `PREPARING`"},
		"StopReplicationBackfill":             {"only one that is under way", "stopped at once"},
		"ListReplicationBackfills":            {"pages, the newest first; forgotten after 90 days", ""},
		"DescribeReplicationBackfillResults":  {"", "no results, and so no pages"},
		"ValidatePullThroughCacheRule":        {"logs in at the upstream with the rule's secret, or at a private registry of ECR with its role, over TLS at public addresses only", "a rule with a role is valid in the home account only"},
		"DescribeRegistry":                    {"no rules are an empty list", ""},
		"PutRegistryPolicy":                   {"the grammar of policies; decides from the next request, with scope `V2`", "principals are not looked up"},
		"GetRegistryPolicy":                   {"", ""},
		"DeleteRegistryPolicy":                {"ends what the policy allowed with the next request", ""},
		"CreatePullThroughCacheRule":          {"fifty rules; names of upstreams that are known; pulls fill its repositories from the next request", "any host, no secret demanded"},
		"DescribePullThroughCacheRules":       {"pages in the order of prefixes; prefixes and pages exclude each other", ""},
		"UpdatePullThroughCacheRule":          {"a secret or a role", "the secret is not looked up"},
		"DeletePullThroughCacheRule":          {"", ""},
	}
}

const (
	tableBegin = "<!-- written by: go test ./internal/ecrapi -run TestOperationsTable -update -->\n"
	tableEnd   = "<!-- end of the table -->\n"
	document   = "../../docs/compatibility.md"
)

// operationsTable is the table of docs/compatibility.md: the operations of the
// model, with what routes and remarks say of them.
func operationsTable() string {
	var b strings.Builder
	b.WriteString("\n| operation | policies name | enforced | differs from AWS |\n|---|---|---|---|\n")
	routes, remarks := routes(), remarks()
	for _, op := range ecr.Operations() {
		rt, ok := routes[op.Name]
		if !ok {
			fmt.Fprintf(&b, "| %s | | | not offered yet: `UnknownOperationException` |\n", op.Name)
			continue
		}
		action := op.Name
		if rt.action != "" {
			action = rt.action
		}
		fmt.Fprintf(&b, "| %s | `ecr:%s` | %s | %s |\n", op.Name, action, remarks[op.Name].enforced, remarks[op.Name].differs)
	}
	b.WriteString("\n")
	return b.String()
}

var update = flag.Bool("update", false, "write the table of operations into docs/compatibility.md")

// TestOperationsTable keeps the document's table what routes and remarks say.
func TestOperationsTable(t *testing.T) {
	for name := range routes() {
		if _, ok := remarks()[name]; !ok {
			t.Errorf("%s has no entry in remarks: say what it enforces and what differs from AWS", name)
		}
	}
	for name := range remarks() {
		if _, ok := routes()[name]; !ok {
			t.Errorf("remarks has %s, which is not offered", name)
		}
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), tableBegin)
	table, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		t.Fatalf("%s has lost the marks of its table", document)
	}
	if table == operationsTable() {
		return
	}
	if !*update {
		t.Fatalf("the table of %s is not current: run go test ./internal/ecrapi -run TestOperationsTable -update", document)
	}
	if err := os.WriteFile(document, []byte(before+tableBegin+operationsTable()+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
