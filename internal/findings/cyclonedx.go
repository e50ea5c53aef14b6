package findings

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// CycloneDX writes the report as a CycloneDX 1.6 document (ECMA-424): every
// package as a component, and every finding as a vulnerability with what a VEX
// statement says about it. version is that of this program.
func (r *Report) CycloneDX(w io.Writer, version string) error {
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + r.documentID("cyclonedx")
	image := cdx.Component{BOMRef: r.imagePURL(), Type: cdx.ComponentTypeContainer, Name: r.Repository, Version: r.Digest, PackageURL: r.imagePURL()}
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.created(), Component: &image,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "berth", Version: version}}},
	}
	if len(r.Warnings) > 0 {
		properties := []cdx.Property{}
		for _, w := range r.Warnings {
			properties = append(properties, cdx.Property{Name: "berth:warning", Value: w})
		}
		bom.Metadata.Properties = &properties
	}
	refs := r.refs()
	components := []cdx.Component{}
	for i, p := range r.Packages {
		c := cdx.Component{BOMRef: refs.of[i], Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: p.PURL}
		properties := []cdx.Property{}
		for _, v := range [][2]string{{"berth:path", p.Path}, {"berth:layer", p.Layer}, {"berth:ecosystem", p.Ecosystem}, {"berth:arch", p.Arch}} {
			if v[1] != "" {
				properties = append(properties, cdx.Property{Name: v[0], Value: v[1]})
			}
		}
		c.Properties = &properties
		components = append(components, c)
	}
	bom.Components = &components
	vulnerabilities := []cdx.Vulnerability{}
	for _, f := range r.Findings {
		vulnerabilities = append(vulnerabilities, r.vulnerability(f, refs))
	}
	for _, s := range r.Suppressed {
		v := r.vulnerability(s.Finding, refs)
		v.Analysis = &cdx.VulnerabilityAnalysis{State: cdx.IASNotAffected, Detail: s.Reason + " (" + s.Source + ")"}
		if s.Status == vexFixed {
			v.Analysis.State = cdx.IASResolved
		}
		vulnerabilities = append(vulnerabilities, v)
	}
	bom.Vulnerabilities = &vulnerabilities
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
}

func (r *Report) vulnerability(f Finding, refs references) cdx.Vulnerability {
	rating := cdx.VulnerabilityRating{Severity: cdxSeverity(f.Severity)}
	if f.Score > 0 {
		rating.Score, rating.Vector, rating.Method = &f.Score, f.Vector, cdxMethod(f.Vector)
	}
	ref := cmp.Or(refs.find(f), r.imagePURL())
	out := cdx.Vulnerability{ID: f.ID, Description: f.Description, Ratings: &[]cdx.VulnerabilityRating{rating},
		BOMRef: strings.Join([]string{f.ID, ref}, "|"), Affects: &[]cdx.Affects{{Ref: ref}}}
	if f.URL != "" {
		out.Advisories = &[]cdx.Advisory{{URL: f.URL}}
	}
	if f.Fixed != "" {
		out.Recommendation = f.Package + " " + f.Fixed + " is without it."
	}
	return out
}

func cdxSeverity(s string) cdx.Severity {
	return []cdx.Severity{cdx.SeverityUnknown, cdx.SeverityInfo, cdx.SeverityLow, cdx.SeverityMedium, cdx.SeverityHigh, cdx.SeverityCritical}[rank(s)]
}

func cdxMethod(vector string) cdx.ScoringMethod {
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		return cdx.ScoringMethodCVSSv4
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		return cdx.ScoringMethodCVSSv31
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		return cdx.ScoringMethodCVSSv3
	case strings.HasPrefix(vector, "AV:"):
		return cdx.ScoringMethodCVSSv2
	}
	return cdx.ScoringMethodOther
}

// references name packages within a document.
type references struct {
	of []string // by index of the package
	by map[[3]string]string
}

// refs gives every package a name of its own.
func (r *Report) refs() references {
	out := references{by: map[[3]string]string{}}
	seen := map[string]int{}
	for _, p := range r.Packages {
		ref := cmp.Or(p.PURL, p.Name+"@"+p.Version)
		if p.Path != "" {
			ref += "#" + p.Path
		}
		if seen[ref]++; seen[ref] > 1 {
			ref = fmt.Sprintf("%s#%d", ref, seen[ref])
		}
		out.of = append(out.of, ref)
		out.by[[3]string{p.Name, p.Version, p.Path}] = ref
		out.by[[3]string{p.Name, p.Version, ""}] = ref
	}
	return out
}

func (r references) find(f Finding) string {
	return cmp.Or(r.by[[3]string{f.Package, f.Version, f.Path}], r.by[[3]string{f.Package, f.Version, ""}])
}

// documentID is the same for the same image, scan and format.
func (r *Report) documentID(format string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.Join([]string{format, r.imagePURL(), r.created()}, " "))).String()
}

func (r *Report) created() string { return r.Scanned.UTC().Truncate(time.Second).Format(time.RFC3339) }
