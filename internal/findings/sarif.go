package findings

import (
	"cmp"
	"fmt"
	"strings"
)

// The parts of SARIF 2.1.0 (OASIS sarif-v2.1.0-errata01) that code scanning
// services read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations,omitempty"`
		Results     []sarifResult     `json:"results"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name            string      `json:"name"`
		SemanticVersion string      `json:"semanticVersion,omitempty"`
		Rules           []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string          `json:"id"`
		ShortDescription sarifText       `json:"shortDescription"`
		FullDescription  *sarifText      `json:"fullDescription,omitempty"`
		HelpURI          string          `json:"helpUri,omitempty"`
		Properties       sarifProperties `json:"properties"`
	}
	sarifProperties struct {
		// Severity is a CVSS score from 0.0 to 10.0 as a text.
		Severity string   `json:"security-severity"`
		Tags     []string `json:"tags"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Suppressions []sarifSuppressed `json:"suppressions,omitempty"`
	}
	sarifSuppressed struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
)

// SARIF is the report as a log of one run. version is that of this program.
func (r *Report) SARIF(version string) any {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "berth", SemanticVersion: semantic(version), Rules: []sarifRule{}}}, Results: []sarifResult{}}
	rules := map[string]int{}
	add := func(f Finding, s []sarifSuppressed) {
		at, ok := rules[f.ID]
		if !ok {
			at = len(run.Tool.Driver.Rules)
			rules[f.ID] = at
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, ruleOf(f))
		}
		text := fmt.Sprintf("%s: %s %s is vulnerable", f.ID, f.Package, f.Version)
		if f.Fixed != "" {
			text += "; update it to " + f.Fixed
		}
		run.Results = append(run.Results, sarifResult{
			RuleID: f.ID, RuleIndex: at, Level: sarifLevel(f.Severity), Message: sarifText{text + "."},
			Locations:    []sarifLocation{{sarifPhysical{sarifArtifact{escapePath(cmp.Or(f.Path, r.Repository))}}}},
			Fingerprints: map[string]string{"finding/v1": strings.Join([]string{r.Repository, f.ID, f.Package, f.Path}, "|")}, Suppressions: s,
		})
	}
	if len(r.Warnings) > 0 {
		run.Invocations = []sarifInvocation{{Successful: true}}
	}
	for _, w := range r.Warnings {
		run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, sarifNotification{"warning", sarifText{w}})
	}
	for _, f := range r.Findings {
		add(f, nil)
	}
	for _, s := range r.Suppressed {
		add(s.Finding, []sarifSuppressed{{"external", s.Reason + " (" + s.Source + ")"}})
	}
	return sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}}
}

func ruleOf(f Finding) sarifRule {
	out := sarifRule{ID: f.ID, ShortDescription: sarifText{cmp.Or(f.Title, f.ID)}, HelpURI: f.URL,
		Properties: sarifProperties{fmt.Sprintf("%.1f", scoreOf(f)), []string{"security", "vulnerability"}}}
	if f.Description != "" {
		out.FullDescription = &sarifText{f.Description}
	}
	return out
}

// scoreOf is the score of a finding, or one in the middle of its severity.
func scoreOf(f Finding) float64 {
	if f.Score > 0 {
		return f.Score
	}
	return []float64{0, 0, 2, 5.5, 8, 9.5}[rank(f.Severity)]
}

func sarifLevel(severity string) string {
	switch rank(severity) {
	case 5, 4:
		return "error"
	case 3:
		return "warning"
	}
	return "note"
}

// semantic is a version by SemVer, or nothing.
func semantic(version string) string {
	v := strings.TrimPrefix(version, "v")
	if strings.Count(v, ".") < 2 || v[0] < '0' || v[0] > '9' {
		return ""
	}
	return v
}
