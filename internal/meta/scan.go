package meta

import "time"

// A Scan is the last scan of an image by one type of scanning. One whose Status
// is ScanPending waits for a scanner.
type Scan struct {
	ImageID     int64
	Type        string // BASIC or ENHANCED
	Status      string // ScanStatus of the ECR API
	Description string // of the status, for people
	Reason      string // why it was asked for: MANUAL or ON_PUSH
	RequestedAt time.Time
}

// ScanPending is the status of a scan that no scanner has begun (API_ImageScanStatus).
const ScanPending = "PENDING"

const scanColumns = `image_id, scan_type, status, description, reason, requested_at`

func scanScan(s scanner) (Scan, error) {
	var (
		v  Scan
		at int64
	)
	err := s.Scan(&v.ImageID, &v.Type, &v.Status, &v.Description, &v.Reason, &at)
	v.RequestedAt = fromMicros(at)
	return v, err
}

// PutScan writes a scan in place of the one before.
func (tx *Tx) PutScan(v Scan) error {
	return tx.exec(`INSERT INTO image_scans (`+scanColumns+`) VALUES (`+placeholders(1, 6)+`)
		ON CONFLICT (image_id, scan_type) DO UPDATE SET status = excluded.status, description = excluded.description,
		reason = excluded.reason, requested_at = excluded.requested_at`,
		v.ImageID, v.Type, v.Status, v.Description, v.Reason, micros(v.RequestedAt))
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

// DeleteScans removes the scans of an image; having none is no error.
func (tx *Tx) DeleteScans(imageID int64) error {
	return tx.exec(`DELETE FROM image_scans WHERE image_id = $1`, imageID)
}
