package ecrapi

import (
	"fmt"
	"strings"

	"berth/internal/ecr"
	"berth/internal/registry"
)

// wireEnhanced is a finding of enhanced scanning
// (API_EnhancedImageScanFinding, Amazon Inspector API_Finding).
func wireEnhanced(c call, repository string, view registry.ScanView, f registry.Finding) ecr.EnhancedImageScanFinding {
	out := ecr.EnhancedImageScanFinding{
		AWSAccountID: c.scope.Account, Description: f.Description, FindingARN: registry.FindingARN(c.scope, repository, view.Image.Digest, f),
		FirstObservedAt: ecr.At(f.FirstSeen), LastObservedAt: ecr.At(view.CompletedAt), UpdatedAt: ecr.At(view.CompletedAt),
		Severity: severity(registry.ScanEnhanced, f.Severity), Status: "ACTIVE", Title: f.Name + " - " + f.Package,
		Type: "PACKAGE_VULNERABILITY", FixAvailable: "NO",
		Remediation: &ecr.Remediation{Recommendation: &ecr.Recommendation{Text: "None Provided"}},
	}
	switch { // Inspector knows more sources of exploits than the list of CISA
	case f.Exploit.Exploited != "":
		out.ExploitAvailable = "YES"
	case view.ExploitsListed:
		out.ExploitAvailable = "NO"
	}
	fixed := "NotAvailable"
	if f.Fixed != "" {
		fixed, out.FixAvailable = f.Fixed, "YES"
		out.Remediation.Recommendation.Text = strings.Join([]string{"Update", f.Package, "to", f.Fixed}, " ")
	}
	details := &ecr.PackageVulnerabilityDetails{
		VulnerabilityID: f.Name, Source: vulnerabilitySource(f), SourceURL: f.URL, VendorSeverity: f.VendorWord,
		VendorCreatedAt: ecr.At(f.Published), VendorUpdatedAt: ecr.At(f.Modified),
		ReferenceURLs: f.References, RelatedVulnerabilities: f.Related,
		VulnerablePackages: []ecr.VulnerablePackage{vulnerablePackage(f, fixed)},
	}
	if f.Vector != "" {
		out.Score = &f.Score
		out.ScoreDetails = &ecr.ScoreDetails{Cvss: &ecr.CvssScoreDetails{
			Score: &f.Score, ScoreSource: details.Source, ScoringVector: f.Vector, Version: f.CVSSVersion,
		}}
		details.Cvss = []ecr.CvssScore{{BaseScore: &f.Score, ScoringVector: f.Vector, Source: details.Source, Version: f.CVSSVersion}}
	}
	out.PackageVulnerabilityDetails = details
	out.Resources = []ecr.Resource{{
		ID: view.ARN + "/" + view.Image.Digest, Type: "AWS_ECR_CONTAINER_IMAGE",
		Details: &ecr.ResourceDetails{AWSECRContainerImage: &ecr.AwsEcrContainerImageDetails{
			ImageHash: view.Image.Digest, ImageTags: view.Image.Tags, PushedAt: ecr.At(view.Image.PushedAt),
			Registry: c.scope.Account, RepositoryName: repository, Platform: f.Platform,
		}},
	}}
	return out
}

// vulnerabilitySource is the database that the record of a finding comes from.
func vulnerabilitySource(f registry.Finding) string {
	base, _, _ := strings.Cut(f.Ecosystem, ":")
	if strings.HasPrefix(f.Advisory, "GHSA-") {
		return "GITHUB"
	}
	return strings.ToUpper(strings.ReplaceAll(base, " ", "_"))
}

// vulnerablePackage splits versions of RPM and Debian packages as Inspector
// does.
func vulnerablePackage(f registry.Finding, fixed string) ecr.VulnerablePackage {
	out := ecr.VulnerablePackage{
		Name: f.Package, Version: f.Version, Arch: f.Arch, PackageManager: f.Manager, FilePath: f.Path,
		SourceLayerHash: f.Layer, FixedInVersion: fixed,
	}
	if f.Manager != "OS" {
		return out
	}
	out.FilePath = "" // Inspector gives none for what distributions install
	epoch, version, release := f.SplitVersion()
	var n int32
	if _, err := fmt.Sscan(epoch, &n); err == nil {
		out.Epoch = &n
	}
	out.Version, out.Release = version, release
	return out
}
