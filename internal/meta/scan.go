package meta

import (
	"encoding/json"
	"time"
)

// A Scan is the last scan of an image by one type of scanning. One whose Status
// is ScanPending waits for a scanner, one that is ScanInProgress has one.
type Scan struct {
	ImageID     int64
	Type        string // BASIC or ENHANCED
	Status      string // ScanStatus of the ECR API
	Description string // of the status, for people
	Reason      string // why it was asked for: MANUAL, ON_PUSH or NEW_ADVISORIES
	RequestedAt time.Time
	CompletedAt time.Time // zero while it waits or runs
	// SourceUpdatedAt is when the newest advisory was changed that the scan
	// knew; zero when it knew none.
	SourceUpdatedAt time.Time
	Counts          map[string]int32 // findings by severity, without zeros
	Attempts        int              // how often a scanner began
	ClaimedUntil    time.Time        // by when a scanner must have ended
}

// Statuses of a scan that has not ended (API_ImageScanStatus).
const (
	ScanPending    = "PENDING"
	ScanInProgress = "IN_PROGRESS"
)

const scanColumns = `image_id, scan_type, status, description, reason, requested_at, completed_at, source_updated_at, counts, attempts, claimed_until`

func scanScan(s scanner) (Scan, error) {
	var (
		v                              Scan
		at, completed, source, claimed int64
		counts                         string
	)
	err := s.Scan(&v.ImageID, &v.Type, &v.Status, &v.Description, &v.Reason, &at, &completed, &source, &counts, &v.Attempts, &claimed)
	v.RequestedAt, v.CompletedAt, v.SourceUpdatedAt, v.ClaimedUntil = fromMicros(at), fromMicros(completed), fromMicros(source), fromMicros(claimed)
	if err == nil && counts != "" {
		err = json.Unmarshal([]byte(counts), &v.Counts)
	}
	return v, err
}

// PutScan writes a scan in place of the one before.
func (tx *Tx) PutScan(v Scan) error {
	counts := ""
	if len(v.Counts) > 0 {
		b, err := json.Marshal(v.Counts)
		if err != nil {
			return err
		}
		counts = string(b)
	}
	return tx.exec(`INSERT INTO image_scans (`+scanColumns+`) VALUES (`+placeholders(1, 11)+`)
		ON CONFLICT (image_id, scan_type) DO UPDATE SET status = excluded.status, description = excluded.description,
		reason = excluded.reason, requested_at = excluded.requested_at, completed_at = excluded.completed_at,
		source_updated_at = excluded.source_updated_at, counts = excluded.counts, attempts = excluded.attempts,
		claimed_until = excluded.claimed_until`,
		v.ImageID, v.Type, v.Status, v.Description, v.Reason, micros(v.RequestedAt), micros(v.CompletedAt),
		micros(v.SourceUpdatedAt), counts, v.Attempts, micros(v.ClaimedUntil))
}

// Scan finds the last scan of an image by a type of scanning.
func (tx *Tx) Scan(imageID int64, scanType string) (Scan, error) {
	return get(tx, scanScan, `SELECT `+scanColumns+` FROM image_scans WHERE image_id = $1 AND scan_type = $2`, imageID, scanType)
}

// PendingScans lists up to limit scans that wait, the oldest first.
func (tx *Tx) PendingScans(limit int) ([]Scan, error) {
	return list(tx, scanScan, `SELECT `+scanColumns+` FROM image_scans WHERE status = 'PENDING'
		ORDER BY requested_at, image_id LIMIT $1`, limit)
}

// ClaimScan gives the oldest scan that waits, or that a scanner began and did
// not end in its time, and marks it as in progress until a time. None is
// ErrNotFound.
func (tx *Tx) ClaimScan(now, until time.Time) (Scan, error) {
	v, err := get(tx, scanScan, `SELECT `+scanColumns+` FROM image_scans
		WHERE status = 'PENDING' AND claimed_until <= $1 OR status = 'IN_PROGRESS' AND claimed_until <= $1
		ORDER BY requested_at, image_id LIMIT 1`, micros(now))
	if err != nil {
		return v, err
	}
	v.Status, v.ClaimedUntil = ScanInProgress, until
	v.Attempts++
	return v, tx.PutScan(v)
}

// ReleaseScans gives back what a server that ended was at.
func (tx *Tx) ReleaseScans() error {
	return tx.exec(`UPDATE image_scans SET status = 'PENDING', claimed_until = 0 WHERE status = 'IN_PROGRESS'`)
}

// DeleteScans removes the scans of an image with what they found; having none is
// no error.
func (tx *Tx) DeleteScans(imageID int64) error {
	if err := tx.exec(`DELETE FROM image_scan_findings WHERE image_id = $1`, imageID); err != nil {
		return err
	}
	return tx.exec(`DELETE FROM image_scans WHERE image_id = $1`, imageID)
}

func scanBytes(s scanner) ([]byte, error) {
	var v []byte
	err := s.Scan(&v)
	return v, err
}

// PutFindings keeps what a scan found, as a document of its own form.
func (tx *Tx) PutFindings(imageID int64, scanType string, findings []byte) error {
	return tx.exec(`INSERT INTO image_scan_findings (image_id, scan_type, findings) VALUES ($1, $2, $3)
		ON CONFLICT (image_id, scan_type) DO UPDATE SET findings = excluded.findings`, imageID, scanType, findings)
}

// Findings reads what the last scan found that ended.
func (tx *Tx) Findings(imageID int64, scanType string) ([]byte, error) {
	return get(tx, scanBytes, `SELECT findings FROM image_scan_findings WHERE image_id = $1 AND scan_type = $2`, imageID, scanType)
}

// A PackageKey is a package of an ecosystem of OSV, without the release.
type PackageKey struct{ Ecosystem, Package string }

// PutInventory keeps what is installed in an image, and which packages that are.
func (tx *Tx) PutInventory(imageID int64, inventory []byte, keys []PackageKey, now time.Time) error {
	err := tx.exec(`INSERT INTO image_inventories (image_id, inventory, read_at) VALUES ($1, $2, $3)
		ON CONFLICT (image_id) DO UPDATE SET inventory = excluded.inventory, read_at = excluded.read_at`, imageID, inventory, micros(now))
	if err == nil {
		err = tx.exec(`DELETE FROM image_packages WHERE image_id = $1`, imageID)
	}
	for _, k := range keys {
		if err == nil {
			err = tx.exec(`INSERT INTO image_packages (ecosystem, package, image_id) VALUES ($1, $2, $3)
				ON CONFLICT (ecosystem, package, image_id) DO NOTHING`, k.Ecosystem, k.Package, imageID)
		}
	}
	return err
}

// Inventory reads what is installed in an image.
func (tx *Tx) Inventory(imageID int64) ([]byte, error) {
	return get(tx, scanBytes, `SELECT inventory FROM image_inventories WHERE image_id = $1`, imageID)
}

// InstalledPackages lists up to limit packages, after one, that a set of advisories
// is about and that are installed in some image.
func (tx *Tx) InstalledPackages(set AdvisorySet, after string, limit int) ([]string, error) {
	return list(tx, scanString, `SELECT DISTINCT a.package FROM advisories a WHERE a.set_id = $1 AND a.package > $2 AND EXISTS (
			SELECT 1 FROM image_packages p WHERE p.ecosystem = $3 AND p.package = a.package)
		ORDER BY a.package LIMIT $4`, set.ID, after, set.Ecosystem, limit)
}

// staleImages reads one range of the index of packages: with all packages of a set
// in one statement, PostgreSQL goes through the set for every image. CROSS JOIN
// keeps SQLite from beginning with all scans that have the status.
const staleImages = `SELECT p.image_id FROM image_packages p CROSS JOIN image_scans s
	WHERE s.image_id = p.image_id AND s.scan_type = $1 AND p.ecosystem = $2 AND p.package = $3 AND p.image_id > $4 AND s.status = $5 AND s.completed_at < $6
	ORDER BY p.image_id LIMIT $7`

// StaleImages lists up to limit images, after one, in which a package is installed
// and whose last scan of a type has a status and ended before a set of
// advisories was loaded.
func (tx *Tx) StaleImages(set AdvisorySet, pkg, scanType, status string, after int64, limit int) ([]int64, error) {
	return list(tx, scanID, staleImages, scanType, set.Ecosystem, pkg, after, status, micros(set.LoadedAt), limit)
}

// RequeueScans makes scans of a type wait again, of those images given whose scan
// has a status and ended before a time.
func (tx *Tx) RequeueScans(images []int64, scanType, status string, endedBefore time.Time) error {
	if len(images) == 0 {
		return nil
	}
	args := []any{scanType, status, micros(endedBefore)}
	for _, id := range images {
		args = append(args, id)
	}
	return tx.exec(`UPDATE image_scans SET status = 'PENDING', attempts = 0, claimed_until = 0, reason = 'NEW_ADVISORIES'
		WHERE scan_type = $1 AND status = $2 AND completed_at < $3 AND image_id IN (`+placeholders(4, len(images))+`)`, args...)
}

func scanID(s scanner) (int64, error) {
	var v int64
	err := s.Scan(&v)
	return v, err
}
