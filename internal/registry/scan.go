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

// pendingDescription says why a scan that waits does so.
const pendingDescription = "The scan waits for a scanner, which this version of Berth does not have."

// StartScan asks for a scan of an image, as StartImageScan does.
//
// There is no scanner yet. The request is kept in the queue from which the
// scanner will take it, with the time and the reason, and its status says that
// it waits: PENDING, not IN_PROGRESS as of ECR. Nothing claims that an image was
// scanned.
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
		return tx.PutScan(scan)
	})
	return explained(scan), err
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

// explained gives a scan that waits its description, which is not kept: it is
// about the program, not about the image.
func explained(s meta.Scan) meta.Scan {
	if s.Status == meta.ScanPending {
		s.Description = pendingDescription
	}
	return s
}

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

// Scan finds the last scan of an image by the type of scanning that the registry
// has now (changing the type hides the scans of the other one), and the image's
// digest. ScanNotFound: there was none.
//
// Source: API_DescribeImageScanFindings.
func (r *Registry) Scan(ctx context.Context, s meta.Scope, name string, ref ImageRef) (scan meta.Scan, digest string, err error) {
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		img, err := namedImage(tx, repo, ref)
		if err != nil {
			return err
		}
		c, err := readScanConfig(tx, s)
		if err != nil {
			return err
		}
		digest = img.Digest
		scan, err = tx.Scan(img.ID, c.Type)
		if errors.Is(err, meta.ErrNotFound) {
			return refuse(ScanNotFound, "Image scan does not exist for the image with '%s' in the repository with name '%s' in the registry with id '%s'", ref, name, s.Account)
		}
		return err
	})
	return explained(scan), digest, err
}
