package findings

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A VEX is an OpenVEX document: who says of which vulnerabilities that they do
// not matter in which products.
//
// Source: OpenVEX specification v0.2.0 (https://github.com/openvex/spec).
type VEX struct {
	ID         string         `json:"@id"`
	Context    string         `json:"@context"`
	Author     string         `json:"author"`
	Statements []vexStatement `json:"statements"`
}

type vexStatement struct {
	Vulnerability   vexVulnerability `json:"vulnerability"`
	Products        []vexProduct     `json:"products"`
	Status          string           `json:"status"`
	Justification   string           `json:"justification"`
	ImpactStatement string           `json:"impact_statement"`
	StatusNotes     string           `json:"status_notes"`
}

type vexVulnerability struct {
	ID      string   `json:"@id"`
	Name    string   `json:"name"`
	Aliases []string `json:"aliases"`
}

type vexProduct struct {
	vexComponent
	Subcomponents []vexComponent `json:"subcomponents"`
}

type vexComponent struct {
	ID          string            `json:"@id"`
	Identifiers map[string]string `json:"identifiers"` // purl, cpe22, cpe23
	Hashes      map[string]string `json:"hashes"`      // by algorithm, such as sha-256
}

// Statuses of OpenVEX that say that a vulnerability does not matter, and the
// others ("Status Labels").
const (
	vexNotAffected = "not_affected"
	vexFixed       = "fixed"
)

// vexJustifications are the reasons that OpenVEX knows ("Status Justifications").
func vexJustifications() []string {
	return []string{"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
		"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist"}
}

// ParseVEX reads an OpenVEX document. It refuses what the specification does:
// above all a not_affected without any reason.
func ParseVEX(text []byte) (VEX, error) {
	var v VEX
	if err := json.Unmarshal(text, &v); err != nil {
		return v, fmt.Errorf("it is not JSON of OpenVEX: %w", err)
	}
	if !strings.HasPrefix(v.Context, "https://openvex.dev/ns") {
		return v, fmt.Errorf("its @context is %q and not that of OpenVEX, https://openvex.dev/ns/v0.2.0", v.Context)
	}
	for i, s := range v.Statements {
		where := fmt.Sprintf("statement %d", i+1)
		switch {
		case s.Vulnerability.Name == "" && s.Vulnerability.ID == "":
			return v, fmt.Errorf("%s names no vulnerability", where)
		case !slices.Contains([]string{vexNotAffected, vexFixed, "affected", "under_investigation"}, s.Status):
			return v, fmt.Errorf("%s has the status %q: use not_affected, affected, fixed or under_investigation", where, s.Status)
		case s.Justification != "" && !slices.Contains(vexJustifications(), s.Justification):
			return v, fmt.Errorf("%s has the justification %q: use one of %s", where, s.Justification, strings.Join(vexJustifications(), ", "))
		case s.Status == vexNotAffected && s.Justification == "" && s.ImpactStatement == "":
			return v, fmt.Errorf("%s says not_affected and not why: add a justification or an impact_statement", where)
		case len(s.Products) == 0:
			return v, fmt.Errorf("%s names no product", where)
		}
	}
	return v, nil
}

// Apply moves findings that a document says do not matter to the suppressed
// ones. The last statement about a finding counts, so a later "affected" brings
// one back within its document. name is that of the document, for the report.
func (r *Report) Apply(v VEX, name string) {
	var stay []Finding
	for _, f := range r.Findings {
		var last *vexStatement
		for i := range v.Statements {
			if s := &v.Statements[i]; s.Vulnerability.is(f) && s.about(r, f) {
				last = s
			}
		}
		if last == nil || last.Status != vexNotAffected && last.Status != vexFixed {
			stay = append(stay, f)
			continue
		}
		r.Suppressed = append(r.Suppressed, Suppressed{f, last.Status, last.reason(), v.source(name)})
	}
	r.Findings = stay
}

func (v VEX) source(name string) string {
	if v.Author == "" {
		return name
	}
	return v.Author + " in " + name
}

func (s *vexStatement) reason() string {
	var parts []string
	for _, p := range []string{s.Justification, s.ImpactStatement, s.StatusNotes} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return s.Status
	}
	return strings.Join(parts, ": ")
}

// is reports whether a finding is of the vulnerability that a statement names.
func (v vexVulnerability) is(f Finding) bool {
	for _, name := range append([]string{v.Name, v.ID[strings.LastIndexByte(v.ID, '/')+1:]}, v.Aliases...) {
		if name != "" && (name == f.ID || slices.Contains(f.Related, name)) {
			return true
		}
	}
	return false
}

// about reports whether a statement is about the package of a finding in this
// image: a product is the image, with the package among its subcomponents when
// there are any, or the package itself.
func (s *vexStatement) about(r *Report, f Finding) bool {
	return slices.ContainsFunc(s.Products, func(p vexProduct) bool {
		if p.isPackage(f) {
			return true
		}
		if !p.isImage(r) {
			return false
		}
		return len(p.Subcomponents) == 0 || slices.ContainsFunc(p.Subcomponents, func(c vexComponent) bool { return c.isPackage(f) })
	})
}

// isImage reports whether a component is the image of a report: by its digest,
// as pkg:oci/NAME@DIGEST, or by a reference as people write it, which holds for
// whatever the tag is on.
func (c vexComponent) isImage(r *Report) bool {
	hex := strings.TrimPrefix(r.Digest, "sha256:")
	if c.Hashes["sha-256"] == hex {
		return true
	}
	for _, name := range []string{c.ID, c.Identifiers["purl"]} {
		switch {
		case name == "":
		case strings.HasPrefix(name, "pkg:oci/"):
			p := parsePURL(name)
			if p.version == r.Digest {
				return true
			}
			if p.version == "" && p.name == r.Repository[strings.LastIndexByte(r.Repository, '/')+1:] {
				return true
			}
		default:
			for _, repo := range []string{r.Repository, r.Registry + "/" + r.Repository} {
				if name == repo || name == repo+"@"+r.Digest || r.Tag != "" && name == repo+":"+r.Tag {
					return true
				}
			}
		}
	}
	return false
}

// isPackage reports whether a component is the package of a finding. A package
// URL without a version is every version, one with a version only that one.
func (c vexComponent) isPackage(f Finding) bool {
	for _, name := range []string{c.ID, c.Identifiers["purl"]} {
		if !strings.HasPrefix(name, "pkg:") {
			continue
		}
		want := parsePURL(name)
		if f.PURL != "" {
			have := parsePURL(f.PURL)
			if want.kind == have.kind && want.namespace == have.namespace && want.name == have.name && (want.version == "" || want.version == have.version) {
				return true
			}
			continue
		}
		if want.kind != "oci" && (want.name == f.Package || want.namespace+"/"+want.name == f.Package || want.namespace+":"+want.name == f.Package) &&
			(want.version == "" || want.version == f.Version) {
			return true
		}
	}
	return false
}
