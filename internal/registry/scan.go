package registry

import (
	"context"
	"errors"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/manifest"
	"berth/internal/meta"
)

// Why a scan was asked for.
const (
	ScanReasonManual = "MANUAL"
	ScanReasonPush   = "ON_PUSH"
)

// scanQuota is how long after a scan of an image the next one may be asked for
// ("Amazon ECR service quotas": one scan per image in 24 hours, that on push
// among them).
const scanQuota = 24 * time.Hour

// StartScan asks for a scan of an image, as StartImageScan does.
//
// The request is kept in the queue from which package scan takes it; it is
// IN_PROGRESS from then on, as in ECR, and outlives the server.
//
// Source: API_StartImageScan. With enhanced scanning there are no scans by hand.
func (r *Registry) StartScan(ctx context.Context, s meta.Scope, name string, ref ImageRef) (scan meta.Scan, err error) {
	err = r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		if err := checkBasicScanning(tx, s); err != nil {
			return err
		}
		img, err := namedImage(tx, repo, ref)
		if err != nil {
			return err
		}
		switch {
		case img.Status != meta.ImageActive:
			return refuse(ImageArchived, "The image with digest '%s' in the repository with name '%s' in the registry with id '%s' is archived and cannot be scanned",
				img.Digest, name, s.Account)
		case !scannable(img):
			return refuse(UnsupportedImageType, "The image with digest '%s' in the repository with name '%s' in the registry with id '%s' cannot be scanned, because it is no container image",
				img.Digest, name, s.Account)
		}
		last, err := tx.Scan(img.ID, ScanBasic)
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		now := r.now()
		if err == nil && now.Sub(last.RequestedAt) < scanQuota {
			return refuse(LimitExceeded, "The scan quota per image has been exceeded. Wait and try again.")
		}
		scan = pendingScan(img, ScanBasic, ScanReasonManual, now)
		scan.Counts = last.Counts // what is known until it ends
		return tx.PutScan(scan)
	})
	return shown(scan, r.now()), err
}

// checkBasicScanning refuses what enhanced scanning does not have.
func checkBasicScanning(tx *meta.Tx, s meta.Scope) error {
	c, err := readScanConfig(tx, s)
	if err == nil && c.Type == ScanEnhanced {
		err = refuse(FeatureDisabled, "This feature is disabled")
	}
	return err
}

// scannable reports whether an image has a file system that a scanner could look
// into: it is no index and no artifact.
func scannable(img meta.Image) bool {
	configs := []string{ocispec.MediaTypeImageConfig, manifest.MediaTypeDockerConfig}
	return img.Subject == "" && slices.Contains(configs, img.ArtifactType)
}

func pendingScan(img meta.Image, kind, reason string, now time.Time) meta.Scan {
	return meta.Scan{ImageID: img.ID, Type: kind, Status: meta.ScanPending, Reason: reason, RequestedAt: now}
}

// AdvisoriesStaleAfter is the age from which on advisories are said to be stale.
// Those of every ecosystem with many packages change daily.
const AdvisoriesStaleAfter = 7 * 24 * time.Hour

// shown is a scan as clients see it: basic scanning has no status for one that
// waits, and enhanced scanning none for one that runs. One that ended says when
// it knew only old advisories: a continuous one as of now, which it claims to
// be about, another one as of when it ended.
func shown(s meta.Scan, now time.Time) meta.Scan {
	at := s.CompletedAt
	switch s.Status {
	case meta.ScanPending, meta.ScanInProgress:
		s.Status, s.Description = meta.ScanInProgress, ""
		if s.Type == ScanEnhanced {
			s.Status = meta.ScanPending
		}
		return s
	case scanActive:
		at = now
	}
	if !s.SourceUpdatedAt.IsZero() && at.Sub(s.SourceUpdatedAt) >= AdvisoriesStaleAfter {
		s.Description += " Its advisories are stale: the newest is of " + s.SourceUpdatedAt.UTC().Format(time.DateOnly) + "."
	}
	return s
}

// Statuses of a scan that found out something (API_ImageScanStatus): of an image
// that is scanned continuously, and of another one.
const (
	scanActive   = "ACTIVE"
	scanComplete = "COMPLETE"
)

// scanPushed puts a pushed or restored image into the queue when its repository
// is scanned on push or continuously.
func scanPushed(tx *meta.Tx, repo meta.Repository, img meta.Image, now time.Time) error {
	if !scannable(img) {
		return nil
	}
	c, err := readScanConfig(tx, repo.Scope)
	if err != nil || c.effective(repo.Name, repo.ScanOnPush).Frequency == ScanManual {
		return err
	}
	return tx.PutScan(pendingScan(img, c.Type, ScanReasonPush, now))
}
