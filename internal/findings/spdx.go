package findings

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// noAssertion is what SPDX wants where nobody looked (SPDX 2.3, 7.7).
const noAssertion = "NOASSERTION"

// SPDX writes the packages of the report as an SPDX 2.3 document in JSON
// (ISO/IEC 5962). SPDX 2.3 has no place for vulnerabilities but references to
// them from packages, which is what findings become. version is that of this
// program.
func (r *Report) SPDX(w io.Writer, version string) error {
	digest := strings.TrimPrefix(r.Digest, "sha256:")
	image := &v2_3.Package{
		PackageName: r.Repository, PackageSPDXIdentifier: "Image", PackageVersion: cmp.Or(r.Tag, r.Digest), PrimaryPackagePurpose: "CONTAINER",
		PackageChecksums:          []common.Checksum{{Algorithm: common.SHA256, Value: digest}},
		PackageExternalReferences: []*v2_3.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: r.imagePURL()}},
	}
	doc := v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: r.Name(),
		DocumentNamespace: "https://spdx.org/spdxdocs/" + spdxID(r.Repository) + "-" + r.documentID("spdx"),
		CreationInfo: &v2_3.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: strings.TrimSuffix("berth-"+version, "-")}}, Created: r.created(),
			CreatorComment: strings.Join(r.Warnings, " "),
		},
		Packages: []*v2_3.Package{image}, Relationships: []*v2_3.Relationship{relation("DOCUMENT", "DESCRIBES", "Image")},
	}
	byRef := map[string]*v2_3.Package{}
	refs := r.refs()
	for i, p := range r.Packages {
		id := fmt.Sprintf("Package-%d-%s", i+1, spdxID(p.Name))
		pkg := &v2_3.Package{PackageName: p.Name, PackageSPDXIdentifier: common.ElementID(id), PackageVersion: p.Version}
		if p.Path != "" {
			pkg.PackageSourceInfo = "found in " + p.Path
		}
		if p.PURL != "" {
			pkg.PackageExternalReferences = []*v2_3.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: p.PURL}}
		}
		byRef[refs.of[i]] = pkg
		doc.Packages = append(doc.Packages, pkg)
		doc.Relationships = append(doc.Relationships, relation("Image", "CONTAINS", id))
	}
	for _, f := range r.Findings {
		if pkg := byRef[refs.find(f)]; pkg != nil && f.URL != "" {
			pkg.PackageExternalReferences = append(pkg.PackageExternalReferences, &v2_3.PackageExternalReference{
				Category: common.CategorySecurity, RefType: common.TypeSecurityAdvisory, Locator: f.URL, ExternalRefComment: f.ID + ", " + f.Severity,
			})
		}
	}
	for _, p := range doc.Packages {
		p.PackageDownloadLocation, p.PackageLicenseConcluded, p.PackageLicenseDeclared, p.PackageCopyrightText = noAssertion, noAssertion, noAssertion, noAssertion
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

func relation(a, kind, b string) *v2_3.Relationship {
	return &v2_3.Relationship{RefA: common.MakeDocElementID("", a), RefB: common.MakeDocElementID("", b), Relationship: kind}
}

// spdxID keeps what an SPDX identifier may have: letters, digits, . and -.
func spdxID(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
			return c
		}
		return '-'
	}, text)
}
