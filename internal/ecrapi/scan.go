package ecrapi

import (
	"context"
	"strconv"

	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/registry"
)

// startImageScan asks for a scan (API_StartImageScan). See
// [registry.Registry.StartScan].
func startImageScan(d *Door, ctx context.Context, c call, in *ecr.StartImageScanInput) (any, error) {
	scan, err := d.Registry.StartScan(ctx, c.scope, in.RepositoryName, imageRef(in.ImageID))
	if err != nil {
		return nil, err
	}
	return &ecr.StartImageScanOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName, ImageID: in.ImageID, ImageScanStatus: wireScanStatus(scan),
	}, nil
}

// describeImageScanFindings tells the status of the last scan, and a page of
// what it found (API_DescribeImageScanFindings). The object of the findings is
// there also before a scan has any: the aws CLI fails without it.
func describeImageScanFindings(d *Door, ctx context.Context, c call, in *ecr.DescribeImageScanFindingsInput) (any, error) {
	ref := imageRef(in.ImageID)
	view, err := d.Registry.Scan(ctx, c.scope, in.RepositoryName, ref, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	found := &ecr.ImageScanFindings{
		ImageScanCompletedAt: ecr.At(view.CompletedAt), VulnerabilitySourceUpdatedAt: ecr.At(view.SourceUpdatedAt),
		FindingSeverityCounts: wireCounts(view.Scan),
	}
	for _, f := range view.Findings {
		if view.Type == registry.ScanEnhanced {
			found.EnhancedFindings = append(found.EnhancedFindings, wireEnhanced(c, in.RepositoryName, view, f))
		} else {
			found.Findings = append(found.Findings, wireBasic(f))
		}
	}
	return &ecr.DescribeImageScanFindingsOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName,
		ImageID: &ecr.ImageIdentifier{ImageDigest: view.Image.Digest, ImageTag: ref.Tag}, ImageScanStatus: wireScanStatus(view.Scan),
		ImageScanFindings: found, NextToken: view.Next,
	}, nil
}

// wireSummary is what DescribeImages tells of a scan that has ended.
func wireSummary(s meta.Scan) *ecr.ImageScanFindingsSummary {
	if s.CompletedAt.IsZero() {
		return nil
	}
	return &ecr.ImageScanFindingsSummary{
		ImageScanCompletedAt: ecr.At(s.CompletedAt), VulnerabilitySourceUpdatedAt: ecr.At(s.SourceUpdatedAt), FindingSeverityCounts: wireCounts(s),
	}
}

// severity is the word of a type of scanning for a severity: Inspector calls
// UNTRIAGED what basic scanning calls UNDEFINED.
func severity(scanType, level string) string {
	if scanType == registry.ScanEnhanced && level == string(ecr.FindingSeverityUndefined) {
		return "UNTRIAGED"
	}
	return level
}

func wireCounts(s meta.Scan) map[ecr.FindingSeverity]int32 {
	if s.CompletedAt.IsZero() {
		return nil
	}
	out := map[ecr.FindingSeverity]int32{}
	for level, n := range s.Counts {
		out[ecr.FindingSeverity(severity(s.Type, level))] = n
	}
	return out
}

// maxAttribute is the length of an attribute's value (API_Attribute).
const maxAttribute = 256

// wireBasic is a finding of basic scanning (API_ImageScanFinding).
func wireBasic(f registry.Finding) ecr.ImageScanFinding {
	out := ecr.ImageScanFinding{Name: f.Name, Description: f.Description, URI: f.URL, Severity: ecr.FindingSeverity(f.Severity)}
	add := func(key, value string) {
		if value != "" {
			out.Attributes = append(out.Attributes, ecr.Attribute{Key: key, Value: value[:min(len(value), maxAttribute)]})
		}
	}
	add("package_version", f.Version)
	add("package_name", f.Package)
	if f.Vector != "" {
		major := f.CVSSVersion[:1]
		add("CVSS"+major+"_VECTOR", f.Vector)
		add("CVSS"+major+"_SCORE", score(f.Score))
	}
	add("fixed_version", f.Fixed)
	if e := f.Exploit; e.Percentile > 0 {
		add("EPSS_SCORE", strconv.FormatFloat(e.Score, 'f', -1, 64))
		add("EPSS_PERCENTILE", strconv.FormatFloat(e.Percentile, 'f', -1, 64))
	}
	add("KEV_DATE_ADDED", f.Exploit.Exploited)
	return out
}

func score(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

func wireScanStatus(s meta.Scan) *ecr.ImageScanStatus {
	return &ecr.ImageScanStatus{Status: ecr.ScanStatus(s.Status), Description: s.Description}
}

// imageRef is the image of a request that is about one image.
func imageRef(id *ecr.ImageIdentifier) registry.ImageRef {
	return registry.ImageRef{Digest: id.ImageDigest, Tag: id.ImageTag}
}
