package advisory

import (
	"strings"

	cvss20 "github.com/pandatix/go-cvss/20"
	cvss30 "github.com/pandatix/go-cvss/30"
	cvss31 "github.com/pandatix/go-cvss/31"
	cvss40 "github.com/pandatix/go-cvss/40"
)

// Levels of severity (API_ImageScanFinding, severity).
const (
	Critical      = "CRITICAL"
	High          = "HIGH"
	Medium        = "MEDIUM"
	Low           = "LOW"
	Informational = "INFORMATIONAL"
	Undefined     = "UNDEFINED"
)

// A Rating is how bad a vulnerability is.
type Rating struct {
	Level   string
	Vector  string  // the CVSS vector that decided; empty when there is none
	Version string  // of CVSS
	Score   float64 // 0 to 10
}

// Rate rates a record for an affected package: by the CVSS vector of the newest
// version of CVSS, of the package's own before those of the record; without
// one, by the word of the distribution or of the database.
//
// Source of the levels: FIRST, CVSS v3.1 specification, section 5, v4.0 section
// 6; NVD "Vulnerability metrics" for version 2, which has no CRITICAL.
func (r Record) Rate(a Affected) Rating {
	for _, list := range [][]Severity{a.Severity, r.Severity} {
		best := Rating{}
		for _, s := range list {
			if rated, ok := rateVector(s.Score); ok && rated.Version > best.Version {
				best = rated
			}
		}
		if best.Level != "" {
			return best
		}
	}
	words := []string{a.Ecosystem.Urgency, a.Ecosystem.Severity}
	for _, s := range append(a.Severity, r.Severity...) {
		words = append(words, s.Score)
	}
	for _, w := range append(words, r.Database.Severity) {
		if level := levelOfWord(w); level != "" {
			return Rating{Level: level}
		}
	}
	return Rating{Level: Undefined}
}

// rateVector scores a CVSS vector of any version.
func rateVector(vector string) (Rating, bool) {
	out := Rating{Vector: vector}
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		v, err := cvss40.ParseVector(vector)
		if err != nil {
			return out, false
		}
		out.Version, out.Score = "4.0", v.Score()
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		v, err := cvss31.ParseVector(vector)
		if err != nil {
			return out, false
		}
		out.Version, out.Score = "3.1", v.BaseScore()
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		v, err := cvss30.ParseVector(vector)
		if err != nil {
			return out, false
		}
		out.Version, out.Score = "3.0", v.BaseScore()
	default:
		v, err := cvss20.ParseVector(vector)
		if err != nil {
			return out, false
		}
		out.Version, out.Score = "2.0", v.BaseScore()
	}
	out.Level = levelOfScore(out.Score, out.Version)
	return out, true
}

func levelOfScore(score float64, version string) string {
	switch {
	case score >= 9 && version != "2.0":
		return Critical
	case score >= 7:
		return High
	case score >= 4:
		return Medium
	case score > 0:
		return Low
	}
	return Informational
}

// levelOfWord knows the words of Debian, Ubuntu, Red Hat and GitHub.
func levelOfWord(word string) string {
	switch strings.ToLower(strings.TrimRight(word, "*")) {
	case "critical":
		return Critical
	case "high", "important":
		return High
	case "medium", "moderate":
		return Medium
	case "low":
		return Low
	case "negligible", "unimportant":
		return Informational
	}
	return ""
}
