package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/scan/inventory"
	"berth/internal/scan/worker"
)

// Options are what a scanner is made of. All fields are required.
type Options struct {
	DB       *meta.DB
	Registry *registry.Registry
	Worker   worker.Options
	Parallel int // scans at the same time
	Log      *slog.Logger
}

// Scanner works on the queue of scans.
type Scanner struct {
	Options
	seen map[int64]bool // sets of advisories that Rematch is done with
}

// New makes a scanner.
func New(o Options) *Scanner { return &Scanner{Options: o, seen: map[int64]bool{}} }

const (
	pollInterval = time.Second
	maxAttempts  = 5
	// leaseMargin is what a scan may take beyond the time of its child.
	leaseMargin = time.Minute
	retryPause  = 30 * time.Second
)

// Run scans until ctx ends.
func (s *Scanner) Run(ctx context.Context) {
	if _, sole := s.DB.KeysVersion(); sole {
		// Nobody else can be at them: the server that was has ended.
		if err := s.DB.Update(ctx, func(tx *meta.Tx) error { return tx.ReleaseScans() }); err != nil {
			s.Log.Error("take up interrupted scans", "err", err)
		}
	}
	var all sync.WaitGroup
	for range max(s.Parallel, 1) {
		all.Go(func() { s.work(ctx) })
	}
	all.Go(func() { s.watchAdvisories(ctx) })
	all.Wait()
}

func (s *Scanner) work(ctx context.Context) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = s.Next(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("scan an image", "err", err)
				break
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Next does the scan that waits longest; false when none waits.
func (s *Scanner) Next(ctx context.Context) (bool, error) {
	job, ok, err := s.Registry.ClaimScan(ctx, s.Worker.Limits.Time+leaseMargin)
	if !ok {
		return false, err
	}
	var outcome registry.ScanOutcome
	if err == nil {
		outcome, err = s.scan(ctx, job)
	}
	if err == nil {
		err = s.Registry.FinishScan(ctx, job, outcome)
	}
	if err == nil {
		s.Log.Info("scanned an image", "repository", job.Repository.Name, "digest", job.Image.Digest, "status", outcome.Status, "findings", len(outcome.Findings))
		return true, nil
	}
	err = fmt.Errorf("image %s of repository %s: %w", job.Image.Digest, job.Repository.Name, err)
	undone := context.WithoutCancel(ctx)
	switch {
	case ctx.Err() != nil: // the next start takes it up
		return true, errors.Join(err, s.Registry.PostponeScan(undone, job, 0))
	case job.Scan.Attempts >= maxAttempts:
		failed := registry.ScanOutcome{Status: statusFailed, Description: "The image could not be read."}
		return true, errors.Join(err, s.Registry.FinishScan(undone, job, failed))
	}
	return true, errors.Join(err, s.Registry.PostponeScan(undone, job, retryPause))
}

// Statuses that a scan ends with (API_ImageScanStatus), and what ECR says then.
const (
	statusComplete    = "COMPLETE"
	statusActive      = "ACTIVE"
	statusFailed      = "FAILED"
	statusUnsupported = "UNSUPPORTED_IMAGE"

	saysComplete    = "The scan was completed successfully."
	saysActive      = "Continuous scan is selected for image."
	saysUnsupported = "UnsupportedImageError: The operating system and/or package manager are not supported."
)

// scan finds what is installed and what is known about it.
func (s *Scanner) scan(ctx context.Context, job registry.ScanJob) (registry.ScanOutcome, error) {
	inv, fresh, err := s.inventory(ctx, job)
	var failure *worker.Failure
	if errors.As(err, &failure) {
		return registry.ScanOutcome{Status: statusFailed, Description: failure.Reason + "."}, nil
	}
	if err != nil {
		return registry.ScanOutcome{}, err
	}
	basic := job.Scan.Type == registry.ScanBasic
	packages := inv.Packages
	if basic {
		packages = onlyOS(packages)
	}
	out := registry.ScanOutcome{Status: statusComplete, Description: saysComplete, Packages: packageKeys(inv.Packages)}
	if fresh {
		out.Inventory = inv
	}
	switch {
	case len(packages) == 0 && basic:
		out.Status, out.Description = statusFailed, saysUnsupported
		return out, nil
	case len(packages) == 0:
		out.Status, out.Description = statusUnsupported, saysUnsupported
		return out, nil
	}
	findings, known, err := s.match(ctx, packages)
	if err != nil {
		return out, err
	}
	out.Findings, out.SourceUpdatedAt, out.AdvisorySets = findings, known.updated, known.sets
	for i := range out.Findings {
		out.Findings[i].Platform = inv.Platform
	}
	out.Counts = count(out.Findings)
	frequency, err := s.Registry.ScanFrequencyOf(ctx, job.Repository)
	if frequency == registry.ScanContinuously && !basic {
		out.Status, out.Description = statusActive, saysActive
	}
	if len(known.missing) > 0 {
		out.Description += " No advisories were known of " + strings.Join(known.missing, ", ") + "."
	}
	return out, err
}

// inventory reads what is installed in an image; fresh when it was not known. A
// scan by hand looks into the layers again.
func (s *Scanner) inventory(ctx context.Context, job registry.ScanJob) (inv inventory.Inventory, fresh bool, err error) {
	if job.Scan.Reason != registry.ScanReasonManual {
		known, err := s.Registry.KnownInventory(ctx, job.Image.ID, &inv)
		if err != nil || known {
			return inv, false, err
		}
	}
	var layers []worker.Layer
	for _, l := range job.Layers {
		layers = append(layers, worker.Layer{Digest: l.Digest.String(), Size: l.Size, Open: func(ctx context.Context) (io.ReadCloser, error) {
			return s.Registry.OpenLayer(ctx, job, l.Digest)
		}})
	}
	inv, err = worker.Run(ctx, s.Worker, layers)
	return inv, true, err
}

func onlyOS(list []inventory.Package) (out []inventory.Package) {
	for _, p := range list {
		if p.IsOS() {
			out = append(out, p)
		}
	}
	return out
}

func count(list []registry.Finding) map[string]int32 {
	out := map[string]int32{}
	for _, f := range list {
		out[f.Severity]++
	}
	return out
}
