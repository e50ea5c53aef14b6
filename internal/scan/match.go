package scan

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/scan/advisory"
	"berth/internal/scan/inventory"
)

// packageKeys are the packages that advisories may be about, each once.
func packageKeys(list []inventory.Package) []meta.PackageKey {
	seen := map[meta.PackageKey]bool{}
	var out []meta.PackageKey
	for _, p := range list {
		k := keyOf(p)
		if !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

func keyOf(p inventory.Package) meta.PackageKey {
	return meta.PackageKey{Ecosystem: advisory.Ecosystem(p.Ecosystem), Package: p.Name}
}

// A knowledge is what a scan had to go by.
type knowledge struct {
	// updated is when the newest advisory was changed of the ecosystem in the
	// image whose advisories are the oldest; zero when none are known.
	updated time.Time
	missing []string // ecosystems in the image of which no advisory is known
	sets    []int64  // all that were active
}

// match finds what the advisories in the database say about packages, the worst
// first.
func (s *Scanner) match(ctx context.Context, packages []inventory.Package) (out []registry.Finding, known knowledge, err error) {
	byKey := map[meta.PackageKey][]inventory.Package{}
	ecosystems := map[string]bool{}
	for _, p := range packages {
		byKey[keyOf(p)] = append(byKey[keyOf(p)], p)
		ecosystems[keyOf(p).Ecosystem] = true
	}
	type same struct{ name, pkg, version, path string }
	at := map[same]int{}
	err = s.DB.View(ctx, func(tx *meta.Tx) error {
		sets, err := tx.AdvisorySets(meta.AdvisoriesActive)
		if err != nil {
			return err
		}
		known.sets = meta.AdvisorySetIDs(sets)
		missing := maps.Clone(ecosystems)
		for _, set := range sets {
			if missing[set.Ecosystem] && (known.updated.IsZero() || set.UpdatedAt.Before(known.updated)) {
				known.updated = set.UpdatedAt
			}
			delete(missing, set.Ecosystem)
		}
		known.missing = slices.Sorted(maps.Keys(missing))
		for _, k := range packageKeys(packages) {
			bodies, err := tx.Advisories(k)
			if err != nil {
				return err
			}
			for _, body := range bodies {
				var r advisory.Record
				if err := json.Unmarshal(body, &r); err != nil {
					return fmt.Errorf("read an advisory about %s of %s: %w", k.Package, k.Ecosystem, err)
				}
				for _, p := range byKey[k] {
					for _, f := range findings(r, p) {
						// Several records may be about one vulnerability: the one that rates it counts.
						id := same{f.Name, f.Package, f.Version, f.Path}
						if i, ok := at[id]; ok {
							out[i] = better(out[i], f)
							continue
						}
						at[id] = len(out)
						out = append(out, f)
					}
				}
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b registry.Finding) int {
		return cmp.Or(rank(b.Severity)-rank(a.Severity), cmp.Compare(b.Score, a.Score), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Package, b.Package), strings.Compare(a.Path, b.Path))
	})
	return out, known, err
}

// better merges two records about one vulnerability of one package.
func better(a, b registry.Finding) registry.Finding {
	if a.Score == 0 && (b.Score > 0 || rank(b.Severity) > rank(a.Severity)) {
		a, b = b, a
	}
	a.Fixed = cmp.Or(a.Fixed, b.Fixed)
	a.Description = cmp.Or(a.Description, b.Description)
	return a
}

// rank orders severities.
func rank(severity string) int {
	return slices.Index([]string{advisory.Undefined, advisory.Informational, advisory.Low, advisory.Medium, advisory.High, advisory.Critical}, severity)
}

// findings are what a record says about a package, one for each name of the
// vulnerability.
func findings(r advisory.Record, p inventory.Package) (out []registry.Finding) {
	m, ok := r.Match(p.Ecosystem, p.Name, p.Version)
	if !ok {
		return nil
	}
	rating := r.Rate(m.Affected)
	for _, name := range r.Names() {
		f := registry.Finding{
			Name: name, Advisory: r.ID, Severity: rating.Level, Title: cmp.Or(r.Summary, name+" - "+cmp.Or(p.Installed, p.Name)),
			Description: cmp.Or(r.Details, r.Summary), URL: link(r, name), Vector: rating.Vector, CVSSVersion: rating.Version, Score: rating.Score,
			VendorWord: cmp.Or(m.Affected.Ecosystem.Urgency, m.Affected.Ecosystem.Severity, r.Database.Severity),
			Published:  r.Published, Modified: r.Modified,
			Ecosystem: p.Ecosystem, Package: cmp.Or(p.Installed, p.Name), Version: p.Version, Fixed: m.Fixed,
			Arch: p.Arch, Manager: p.Manager, Path: p.Path, Layer: p.Layer,
		}
		for _, ref := range r.References {
			f.References = append(f.References, ref.URL)
		}
		for _, other := range slices.Concat([]string{r.ID}, r.Aliases, r.Upstream) {
			if other != name && !slices.Contains(f.Related, other) {
				f.Related = append(f.Related, other)
			}
		}
		out = append(out, f)
	}
	return out
}

// link is where a vulnerability is described: by the distribution, if it has a
// page for each.
func link(r advisory.Record, name string) string {
	for _, ref := range r.References {
		if ref.Type == "ADVISORY" {
			return ref.URL
		}
	}
	if strings.HasPrefix(name, "CVE-") {
		return "https://nvd.nist.gov/vuln/detail/" + name
	}
	return "https://osv.dev/vulnerability/" + r.ID
}
