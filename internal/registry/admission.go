package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/access/policy"
	"berth/internal/manifest"
	"berth/internal/meta"
)

// Admission says which images may be pulled by those alone who are exempt. ECR
// has no such rule.
type Admission struct {
	// DenyAt is the severity from which on a finding keeps an image from being
	// pulled; empty: none does.
	DenyAt string
	// DenyUnscanned does so for images of which no scan by the registry's type of
	// scanning has found out anything.
	DenyUnscanned bool
}

// PullVulnerable is the action by which principals are exempt from [Admission],
// on the repository.
const PullVulnerable = policy.PullVulnerableImage

// severities are those of findings, the mildest first (API_ImageScanFinding).
func severities() []string {
	return []string{"UNDEFINED", "INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"}
}

// Validate refuses a severity that is none.
func (a Admission) Validate() error {
	if a.DenyAt != "" && !slices.Contains(severities(), a.DenyAt) {
		return fmt.Errorf("%q is no severity: use one of %s", a.DenyAt, strings.Join(severities(), ", "))
	}
	return nil
}

// Admit decides whether an image may be pulled whose manifest was found, and
// fails with ImageBarred if not. exempt is asked when the image itself may not.
// Both doors call it, for every manifest that they are about to give.
//
// Indexes and artifacts are admitted: of an index, each image is judged when it
// is pulled itself. A scan that is under way counts with what the one before it
// found.
func (r *Registry) Admit(ctx context.Context, s meta.Scope, name string, ref ImageRef, img meta.Image, exempt func() (bool, error)) error {
	if r.admission == (Admission{}) || !judged(img) {
		return nil
	}
	scan, err := r.lastScan(ctx, s, img)
	if err != nil {
		return err
	}
	reason := r.admission.against(scan)
	if reason == "" {
		return nil
	}
	if free, err := exempt(); err != nil || free {
		return err
	}
	tag := ""
	if ref.Tag != "" {
		tag = " and tag '" + ref.Tag + "'"
	}
	return refuse(ImageBarred, "The image with digest '%s'%s in the repository with name '%s' may not be pulled, because %s; ask for the right ecr:%s on the repository if it must be",
		img.Digest, tag, name, reason, PullVulnerable)
}

// against is why a scan, nil for none, keeps an image from being pulled; empty
// when it does not.
func (a Admission) against(scan *meta.Scan) string {
	if scan == nil || len(scan.Counts) == 0 && (scan.Status != scanActive && scan.Status != scanComplete) {
		if a.DenyUnscanned {
			return "no scan has found out what is in it: scan it first"
		}
		return ""
	}
	if a.DenyAt == "" {
		return ""
	}
	worst := -1
	for severity, n := range scan.Counts {
		if n > 0 {
			worst = max(worst, slices.Index(severities(), severity))
		}
	}
	if worst < slices.Index(severities(), a.DenyAt) {
		return ""
	}
	worse := ""
	if a.DenyAt != "CRITICAL" {
		worse = " or worse"
	}
	return fmt.Sprintf("it has findings of severity %s, and this registry denies pulls at %s%s: see them with DescribeImageScanFindings or berth scan, and pull an image without them",
		severities()[worst], a.DenyAt, worse)
}

// judged reports whether an image is one that scans are about. Of one that is
// still on its way from an upstream only the media type is known.
func judged(img meta.Image) bool {
	if img.ID == 0 {
		return img.MediaType != v1.MediaTypeImageIndex && img.MediaType != manifest.MediaTypeDockerList
	}
	return scannable(img)
}

// lastScan is the last scan of an image by the type of scanning that its registry
// has; nil when there was none.
func (r *Registry) lastScan(ctx context.Context, s meta.Scope, img meta.Image) (out *meta.Scan, err error) {
	if img.ID == 0 {
		return nil, nil
	}
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		c, err := readScanConfig(tx, s)
		if err != nil {
			return err
		}
		scan, err := tx.Scan(img.ID, c.Type)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		out = &scan
		return err
	})
	return out, err
}
