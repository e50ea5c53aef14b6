package advisory

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/semantic"
)

// A Match is what a record says about a package that it affects.
type Match struct {
	Affected Affected // the part of the record that says so
	Fixed    string   // the first version without the vulnerability; empty when there is none
}

// Match decides whether a record affects a version of a package of an
// ecosystem, which may name a release ("Debian:12").
//
// Source: https://ossf.github.io/osv-schema/, "Evaluation".
func (r Record) Match(ecosystem, name, version string) (Match, bool) {
	v, err := semantic.Parse(version, ecosystem)
	if err != nil || version == "(devel)" {
		return Match{}, false
	}
	for _, a := range r.Affected {
		if a.Package.Name != name || !sameEcosystem(a.Package.Ecosystem, ecosystem) {
			continue
		}
		hit, fixed := slices.Contains(a.Versions, version), ""
		for _, rg := range a.Ranges {
			if rg.Type == "GIT" {
				continue
			}
			in, first := rg.contains(v, ecosystem)
			if in {
				hit = true
			}
			if first != "" && (fixed == "" || before(first, fixed, ecosystem)) {
				fixed = first
			}
		}
		if hit {
			return Match{a, fixed}, true
		}
	}
	return Match{}, false
}

// contains decides whether a version lies in a range, and gives the first fixed
// version after it.
func (rg Range) contains(v semantic.Version, ecosystem string) (in bool, fixed string) {
	type point struct {
		version string
		event   Event
	}
	var points []point
	limited, below := false, false
	for _, e := range rg.Events {
		if e.Limit != "" {
			limited = true
			below = below || e.Limit == "*" || compare(v, e.Limit) < 0
			continue
		}
		points = append(points, point{cmp.Or(e.Introduced, e.Fixed, e.LastAffected), e})
	}
	slices.SortStableFunc(points, func(a, b point) int {
		switch {
		case a.version == b.version:
			return 0
		case a.version == "0" || before(a.version, b.version, ecosystem):
			return -1
		}
		return 1
	})
	for _, p := range points {
		at := 1
		if p.version != "0" {
			at = compare(v, p.version)
		}
		switch {
		case p.event.Introduced != "" && at >= 0:
			in = true
		case p.event.Fixed != "" && at >= 0, p.event.LastAffected != "" && at > 0:
			in = false
		case p.event.Fixed != "" && at < 0 && fixed == "":
			fixed = p.version
		}
	}
	return in && (!limited || below), fixed
}

// compare orders a version and a text; a text that is no version is above all,
// so that it neither begins nor ends a range by mistake.
func compare(v semantic.Version, text string) int {
	c, err := v.CompareStr(text)
	if err != nil {
		return -1
	}
	return c
}

func before(a, b, ecosystem string) bool {
	v, err := semantic.Parse(a, ecosystem)
	return err == nil && compare(v, b) < 0
}

// sameEcosystem reports whether a record for one ecosystem is about packages of
// another: the releases must be the same when the record names one. Ubuntu's
// long-term releases are "Ubuntu:22.04:LTS" in records and "Ubuntu:22.04" in
// images, and Red Hat's records name the product within a release.
func sameEcosystem(record, image string) bool {
	if record == image || !strings.Contains(record, ":") && record == Ecosystem(image) {
		return true
	}
	switch Ecosystem(image) {
	case "Ubuntu":
		return record == image+":LTS"
	case "Red Hat":
		return strings.Contains(image, ":") && (strings.HasPrefix(record, image+":") || strings.HasPrefix(record, image+"."))
	}
	return false
}
