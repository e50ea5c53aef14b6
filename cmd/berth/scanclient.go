package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/findings"
)

// scanClient asks a registry about scans, over the API of ECR alone but for the list of packages.
type scanClient struct {
	ecr      *ecr.Client
	platform string // of the image that an index is taken for
}

// An imageName is an image as people write it.
type imageName struct{ host, repository, tag, digest string }

// parseImage reads REPOSITORY:TAG or REPOSITORY@DIGEST, with or without the host of the registry.
func parseImage(text string) (n imageName, err error) {
	rest := text
	if first, after, ok := strings.Cut(text, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		n.host, rest = first, after
	}
	name, digest, byDigest := strings.Cut(rest, "@")
	repository, tag, byTag := strings.Cut(name, ":")
	n.repository, n.tag, n.digest = repository, tag, digest
	if repository == "" || !byDigest && !byTag || byTag && tag == "" || byDigest && !strings.HasPrefix(digest, "sha256:") {
		return n, fmt.Errorf("%q is no image: write REPOSITORY:TAG or REPOSITORY@sha256:…", text)
	}
	return n, nil
}

func (n imageName) id() *types.ImageIdentifier {
	if n.digest != "" {
		return &types.ImageIdentifier{ImageDigest: &n.digest}
	}
	return &types.ImageIdentifier{ImageTag: &n.tag}
}

// report reads the findings of an image, when its scan has ended.
func (s *scanClient) report(ctx context.Context, n imageName) (*findings.Report, error) {
	n, err := s.resolve(ctx, n)
	if err != nil {
		return nil, err
	}
	id := &types.ImageIdentifier{ImageDigest: &n.digest}
	first, err := s.ended(ctx, n.repository, id)
	if err != nil {
		return nil, err
	}
	r := &findings.Report{Registry: n.host, Repository: n.repository, Tag: n.tag, Digest: n.digest, Findings: []findings.Finding{}, Suppressed: []findings.Suppressed{}}
	r.Warnings = warningsOf(aws.ToString(first.ImageScanStatus.Description))
	for page := first; ; {
		if f := page.ImageScanFindings; f != nil {
			r.Scanned, r.Advisories = aws.ToTime(f.ImageScanCompletedAt), aws.ToTime(f.VulnerabilitySourceUpdatedAt)
			for _, v := range f.Findings {
				r.ScanType = string(types.ScanTypeBasic)
				r.Findings = append(r.Findings, basicFinding(v))
			}
			for _, v := range f.EnhancedFindings {
				r.ScanType = string(types.ScanTypeEnhanced)
				r.Findings = append(r.Findings, enhancedFindings(v)...)
			}
		}
		if aws.ToString(page.NextToken) == "" {
			break
		}
		page, err = s.ecr.DescribeImageScanFindings(ctx, &ecr.DescribeImageScanFindingsInput{RepositoryName: &n.repository, ImageId: id, NextToken: page.NextToken})
		if err != nil {
			return nil, err
		}
	}
	if r.ScanType == "" { // nothing was found
		r.ScanType = string(types.ScanTypeBasic)
		if first.ImageScanStatus.Status == types.ScanStatusActive {
			r.ScanType = string(types.ScanTypeEnhanced)
		}
	}
	return r, s.addExploits(ctx, r)
}

// warningsOf are the sentences of the description of a scan that ended well beyond that which Amazon ECR says then.
func warningsOf(description string) (out []string) {
	for _, said := range []string{"The scan was completed successfully.", "Continuous scan is selected for image."} {
		if rest, ok := strings.CutPrefix(description, said); ok && rest != "" {
			for _, w := range strings.SplitAfter(strings.TrimSpace(rest), ". ") {
				out = append(out, strings.TrimSpace(w))
			}
		}
	}
	return out
}

// addExploits tells what is known of the exploitation of what was found, where the registry is a berth.
func (s *scanClient) addExploits(ctx context.Context, r *findings.Report) error {
	const page = 1000
	at := map[string][]int{}
	for i, f := range r.Findings {
		at[f.ID] = append(at[f.ID], i)
	}
	for names := range slices.Chunk(slices.Sorted(maps.Keys(at)), page) {
		var out struct {
			Exploits []struct {
				CVE               string
				Score, Percentile float64
				Exploited         string
			}
		}
		err := callOwn(ctx, s.ecr, "BerthDescribeExploits", map[string]any{"repositoryName": r.Repository, "names": names}, &out)
		if errors.Is(err, errNotBerth) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range out.Exploits {
			for _, i := range at[e.CVE] {
				r.Findings[i].EPSS, r.Findings[i].Percentile, r.Findings[i].Exploited = e.Score, e.Percentile, e.Exploited
			}
		}
	}
	return nil
}

// resolve finds the digest of the image, of one platform when the name is of an index.
func (s *scanClient) resolve(ctx context.Context, n imageName) (imageName, error) {
	out, err := s.ecr.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: &n.repository, ImageIds: []types.ImageIdentifier{*n.id()}})
	if err != nil {
		return n, err
	}
	if len(out.ImageDetails) != 1 {
		return n, errors.New("the registry does not describe the image")
	}
	d := out.ImageDetails[0]
	n.digest = aws.ToString(d.ImageDigest)
	switch aws.ToString(d.ImageManifestMediaType) {
	case v1.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.list.v2+json":
	default:
		return n, nil
	}
	got, err := s.ecr.BatchGetImage(ctx, &ecr.BatchGetImageInput{
		RepositoryName: &n.repository, ImageIds: []types.ImageIdentifier{{ImageDigest: d.ImageDigest}}, AcceptedMediaTypes: []string{*d.ImageManifestMediaType},
	})
	if err != nil {
		return n, fmt.Errorf("read the index: %w", err)
	}
	if len(got.Images) != 1 {
		return n, errors.New("the registry does not give the index")
	}
	var index v1.Index
	if err := json.Unmarshal([]byte(aws.ToString(got.Images[0].ImageManifest)), &index); err != nil {
		return n, fmt.Errorf("read the index: %w", err)
	}
	var offered []string
	for _, m := range index.Manifests {
		if m.Platform == nil {
			continue
		}
		name := m.Platform.OS + "/" + m.Platform.Architecture
		full := name
		if m.Platform.Variant != "" {
			full += "/" + m.Platform.Variant
		}
		if s.platform == name || s.platform == full {
			n.digest = m.Digest.String()
			return n, nil
		}
		offered = append(offered, full)
	}
	return n, fmt.Errorf("the index has no image for %s: pass --platform with one of %s", s.platform, strings.Join(offered, ", "))
}

// pollScan is the time between two questions whether a scan has ended.
const pollScan = time.Second

// ended waits until the scan of an image has ended, and asks for one when there was none.
func (s *scanClient) ended(ctx context.Context, repository string, id *types.ImageIdentifier) (*ecr.DescribeImageScanFindingsOutput, error) {
	for started := false; ; {
		out, err := s.ecr.DescribeImageScanFindings(ctx, &ecr.DescribeImageScanFindingsInput{RepositoryName: &repository, ImageId: id})
		var none *types.ScanNotFoundException
		switch {
		case errors.As(err, &none) && !started:
			if _, err := s.ecr.StartImageScan(ctx, &ecr.StartImageScanInput{RepositoryName: &repository, ImageId: id}); err != nil {
				return nil, fmt.Errorf("it was never scanned, and no scan can be started: %w", err)
			}
			started = true
			continue
		case err != nil:
			return nil, err
		case out.ImageScanStatus == nil:
			return nil, errors.New("the registry gives no status of the scan")
		}
		switch status := out.ImageScanStatus; status.Status {
		case types.ScanStatusComplete, types.ScanStatusActive:
			return out, nil
		case types.ScanStatusInProgress, types.ScanStatusPending:
		default:
			return nil, fmt.Errorf("the scan ended as %s: %s", status.Status, aws.ToString(status.Description))
		}
		select {
		case <-time.After(pollScan):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func severityOf(text string) string {
	if s, err := findings.ParseSeverity(text); err == nil {
		return s
	}
	return "UNDEFINED"
}

// basicFinding reads API_ImageScanFinding.
func basicFinding(v types.ImageScanFinding) findings.Finding {
	f := findings.Finding{ID: aws.ToString(v.Name), Severity: severityOf(string(v.Severity)), Description: aws.ToString(v.Description), URL: aws.ToString(v.Uri)}
	for _, a := range v.Attributes {
		value := aws.ToString(a.Value)
		switch key := aws.ToString(a.Key); {
		case key == "package_name":
			f.Package = value
		case key == "package_version":
			f.Version = value
		case key == "fixed_version":
			f.Fixed = value
		case strings.HasPrefix(key, "CVSS") && strings.HasSuffix(key, "_VECTOR"):
			f.Vector = value
		case strings.HasPrefix(key, "CVSS") && strings.HasSuffix(key, "_SCORE"):
			if score, err := strconv.ParseFloat(value, 64); err == nil {
				f.Score = score
			}
		}
	}
	return f
}

// enhancedFindings reads API_EnhancedImageScanFinding: one finding for each package.
func enhancedFindings(v types.EnhancedImageScanFinding) (out []findings.Finding) {
	d := v.PackageVulnerabilityDetails
	if d == nil {
		return nil
	}
	for _, p := range d.VulnerablePackages {
		f := findings.Finding{
			ID: aws.ToString(d.VulnerabilityId), Related: d.RelatedVulnerabilities, Severity: severityOf(aws.ToString(v.Severity)), Score: v.Score,
			Package: aws.ToString(p.Name), Version: aws.ToString(p.Version), Path: aws.ToString(p.FilePath), Title: aws.ToString(v.Title),
			Description: aws.ToString(v.Description), URL: aws.ToString(d.SourceUrl),
		}
		if p.Release != nil && *p.Release != "" {
			f.Version += "-" + *p.Release
		}
		if p.Epoch != nil {
			f.Version = strconv.Itoa(int(*p.Epoch)) + ":" + f.Version
		}
		if fixed := aws.ToString(p.FixedInVersion); fixed != "NotAvailable" {
			f.Fixed = fixed
		}
		if len(d.Cvss) > 0 {
			f.Vector = aws.ToString(d.Cvss[0].ScoringVector)
		}
		out = append(out, f)
	}
	return out
}

// errNoPackages says that a registry does not list packages.
var errNoPackages = errors.New("the registry does not list what is installed in images, as Amazon ECR does not: bills of materials need Berth")

// addPackages reads what is installed in the image of a report (BerthListImagePackages).
func (s *scanClient) addPackages(ctx context.Context, r *findings.Report) error {
	for token := ""; ; {
		in := map[string]any{"repositoryName": r.Repository, "imageId": map[string]string{"imageDigest": r.Digest}, "maxResults": 1000}
		if token != "" {
			in["nextToken"] = token
		}
		var page struct {
			Packages []struct {
				Ecosystem, Name, Version, Installed, Arch, Manager, Path, Layer, PURL string
			}
			NextToken string
		}
		if err := callOwn(ctx, s.ecr, "BerthListImagePackages", in, &page); errors.Is(err, errNotBerth) {
			return errNoPackages
		} else if err != nil {
			return err
		}
		for _, p := range page.Packages {
			name := p.Installed
			if name == "" {
				name = p.Name
			}
			r.Packages = append(r.Packages, findings.Package{Ecosystem: p.Ecosystem, Name: name, Version: p.Version, Arch: p.Arch, Manager: p.Manager, Path: p.Path, Layer: p.Layer, PURL: p.PURL})
		}
		if token = page.NextToken; token == "" {
			return nil
		}
	}
}
