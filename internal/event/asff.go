package event

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"

	"berth/internal/meta"
	"berth/internal/registry"
)

// asff makes findings of Security Hub for one image.
//
// Source: Security Hub User Guide, "AWS Security Finding Format (ASFF)",
// "Required top-level attributes" and "AwsEcrContainerImage".
type asff struct {
	account string // whose Security Hub it is
	region  string // of Security Hub
	event   meta.Event
	now     time.Time
}

// Limits of texts and lists (API_AwsSecurityFinding, API_Vulnerability).
const (
	maxTitle       = 256
	maxDescription = 1024
	maxReferences  = 10
	asffTime       = "2006-01-02T15:04:05.000Z"
)

// A reported finding is what Security Hub knows of one, so that it can be told
// that it is over when nothing else is left.
type reported struct {
	ID          string `json:"id"`
	Hash        string `json:"hash"` // of what was sent
	CreatedAt   string `json:"created"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Severity    string `json:"severity"` // label
}

// plan compares what is with what Security Hub was told: which findings to
// import, and what it knows when it took them. nil findings: the image is gone,
// archived, or without findings.
func (a asff) plan(view registry.ScanView, found []registry.Finding, before []reported) (imports []types.AwsSecurityFinding, after []reported) {
	known := map[string]reported{}
	for _, r := range before {
		known[r.ID] = r
	}
	for _, f := range found {
		full := a.finding(view, f)
		r := reported{*full.Id, hashOf(full), *full.CreatedAt, *full.Title, clipTo(*full.Description, 200), string(full.Severity.Label)}
		old, told := known[r.ID]
		delete(known, r.ID)
		if told {
			r.CreatedAt = old.CreatedAt // that of the first time, for good
			full.CreatedAt = &r.CreatedAt
			r.Hash = hashOf(full)
		}
		after = append(after, r)
		switch {
		case !told:
			full.Workflow = &types.Workflow{Status: types.WorkflowStatusNew}
		case r.Hash == old.Hash:
			continue
		}
		full.Resources[0].Details.AwsEcrContainerImage.ImageTags = view.Image.Tags
		full.UpdatedAt, full.LastObservedAt = a.at(a.now), a.at(view.CompletedAt)
		imports = append(imports, full)
	}
	for _, r := range before {
		if _, over := known[r.ID]; over {
			imports = append(imports, a.resolved(r))
		}
	}
	return imports, after
}

// hashOf is a hash of a finding without what changes by itself.
func hashOf(f types.AwsSecurityFinding) string {
	b, err := json.Marshal(f)
	if err != nil { // it has no type that JSON lacks
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func (a asff) at(t time.Time) *string { return aws.String(t.UTC().Format(asffTime)) }

// base is what all findings of the image have.
func (a asff) base(id, title, description, label string) types.AwsSecurityFinding {
	s := a.event.Scope
	arn := registry.ARN(s, a.event.Repository)
	partition := strings.Split(arn, ":")[1]
	kinds := []string{"Software and Configuration Checks/Vulnerabilities/CVE"}
	severity := types.SeverityLabel(label)
	return types.AwsSecurityFinding{
		SchemaVersion: aws.String("2018-10-08"), Id: &id, AwsAccountId: &a.account, GeneratorId: aws.String("berth"),
		ProductArn:  aws.String(fmt.Sprintf("arn:%s:securityhub:%s:%s:product/%s/default", partition, a.region, a.account, a.account)),
		ProductName: aws.String("Berth"), CompanyName: aws.String("Berth"),
		Title: &title, Description: &description, Types: kinds, RecordState: types.RecordStateActive,
		Severity:              &types.Severity{Label: severity, Normalized: aws.Int32(normalized[label])},
		FindingProviderFields: &types.FindingProviderFields{Severity: &types.FindingProviderSeverity{Label: severity}, Types: kinds},
		Resources: []types.Resource{{
			Type: aws.String("AwsEcrContainerImage"), Id: aws.String(arn + "/" + a.event.Digest), Partition: types.Partition(partition), Region: &s.Region,
			Details: &types.ResourceDetails{AwsEcrContainerImage: &types.AwsEcrContainerImageDetails{
				RegistryId: &s.Account, RepositoryName: &a.event.Repository, ImageDigest: &a.event.Digest,
			}},
		}},
	}
}

// normalized are the severities as numbers (Security Hub User Guide, "Severity").
var normalized = map[string]int32{"INFORMATIONAL": 0, "LOW": 1, "MEDIUM": 40, "HIGH": 70, "CRITICAL": 90}

// label is a severity in Security Hub's words, which has none for what nobody
// judged.
func label(severity string) string {
	if _, ok := normalized[severity]; ok {
		return severity
	}
	return "INFORMATIONAL"
}

// finding is a finding in full, without times that change by themselves.
func (a asff) finding(view registry.ScanView, f registry.Finding) types.AwsSecurityFinding {
	id := registry.FindingARN(a.event.Scope, a.event.Repository, a.event.Digest, f)
	title := clipTo(f.Name+" - "+f.Package, maxTitle)
	out := a.base(id, title, clipTo(cmp.Or(f.Description, f.Title, title), maxDescription), label(f.Severity))
	out.Severity.Original = aws.String(cmp.Or(f.VendorWord, f.Severity))
	out.FindingProviderFields.Severity.Original = out.Severity.Original
	out.CreatedAt, out.FirstObservedAt = a.at(f.FirstSeen), a.at(f.FirstSeen)
	out.Resources[0].Details.AwsEcrContainerImage.ImagePublishedAt = a.at(view.Image.PushedAt)
	if f.URL != "" {
		out.SourceUrl = &f.URL
	}
	advice := "None Provided"
	v := types.Vulnerability{
		Id: &f.Name, FixAvailable: types.VulnerabilityFixAvailableNo, RelatedVulnerabilities: firstOf(f.Related), ReferenceUrls: firstOf(f.References),
	}
	p := types.SoftwarePackage{Name: &f.Package, PackageManager: &f.Manager, SourceLayerHash: &f.Layer, FixedInVersion: aws.String("NotAvailable")}
	epoch, version, release := f.SplitVersion()
	p.Version, p.Epoch, p.Release = &version, some(epoch), some(release)
	p.Architecture, p.FilePath = some(f.Arch), some(f.Path)
	if f.Fixed != "" {
		v.FixAvailable, p.FixedInVersion = types.VulnerabilityFixAvailableYes, &f.Fixed
		advice = strings.Join([]string{"Update", f.Package, "to", f.Fixed}, " ")
		p.Remediation = &advice
	}
	v.VulnerablePackages = []types.SoftwarePackage{p}
	if f.Vector != "" {
		v.Cvss = []types.Cvss{{Version: &f.CVSSVersion, BaseScore: &f.Score, BaseVector: &f.Vector}}
	}
	if f.Ecosystem != "" {
		v.Vendor = &types.VulnerabilityVendor{Name: &f.Ecosystem, Url: some(f.URL), VendorSeverity: some(f.VendorWord)}
		if !f.Published.IsZero() {
			v.Vendor.VendorCreatedAt = a.at(f.Published)
		}
		if !f.Modified.IsZero() {
			v.Vendor.VendorUpdatedAt = a.at(f.Modified)
		}
	}
	out.Vulnerabilities = []types.Vulnerability{v}
	out.Remediation = &types.Remediation{Recommendation: &types.Recommendation{Text: &advice}}
	return out
}

// resolved is a finding that is over: it was fixed, or the image is gone.
func (a asff) resolved(r reported) types.AwsSecurityFinding {
	out := a.base(r.ID, r.Title, r.Description, r.Severity)
	out.CreatedAt, out.UpdatedAt = &r.CreatedAt, a.at(a.now)
	out.RecordState = types.RecordStateArchived
	out.Workflow = &types.Workflow{Status: types.WorkflowStatusResolved}
	return out
}

// some is a text, or nil when there is none.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// firstOf are the first texts of a list.
func firstOf(list []string) []string { return slices.Clone(list[:min(len(list), maxReferences)]) }

// clipTo cuts a text to so many characters.
func clipTo(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}
