package registry

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"berth/internal/meta"
)

// scanDetail is the detail of the events of scans: ECR's (ECR User Guide, "Sample
// events from Amazon ECR") and Inspector's, whose repository-name is an ARN and
// whose counts have a TOTAL, and ours, which lists what changed.
type scanDetail struct {
	Status      string           `json:"scan-status,omitempty"`
	Repository  string           `json:"repository-name"`
	Counts      map[string]int32 `json:"finding-severity-counts"`
	Digest      string           `json:"image-digest"`
	Tags        []string         `json:"image-tags"`
	NewFindings []string         `json:"new-findings,omitempty"`
	Closed      []string         `json:"closed-findings,omitempty"`
}

// maxNamed bounds how many findings an event names; their number is in the counts.
const maxNamed = 100

// emitScan tells how a scan ended. Basic scanning tells of each, enhanced scanning
// of the first, and of later ones when they find something else: Inspector sends
// an event for each finding then, Berth one for the image.
func emitScan(tx *meta.Tx, job ScanJob, scan meta.Scan, found []Finding, now time.Time) error {
	tags, err := tx.TagsOf(job.Image.ID)
	if err != nil {
		return err
	}
	arn := ARN(job.Repository.Scope, job.Repository.Name)
	e := meta.Event{Scope: job.Repository.Scope, Source: sourceECR, Type: eventImageScan, Repository: job.Repository.Name, Digest: job.Image.Digest, At: now}
	d := scanDetail{Repository: job.Repository.Name, Counts: map[string]int32{}, Digest: job.Image.Digest, Tags: tags}
	maps.Copy(d.Counts, scan.Counts)
	if d.Tags == nil {
		d.Tags = []string{}
	}
	if scan.Type == ScanBasic {
		d.Status = "COMPLETE"
		if scan.Status != d.Status {
			d.Status = "FAILED"
		}
		return emit(tx, e, d, arn)
	}
	if scan.Status != "ACTIVE" && scan.Status != "COMPLETE" {
		return nil
	}
	if n, ok := d.Counts["UNDEFINED"]; ok { // which Inspector calls otherwise
		delete(d.Counts, "UNDEFINED")
		d.Counts["UNTRIAGED"] = n
	}
	d.Counts["TOTAL"] = int32(len(found))
	before, err := tx.Findings(job.Image.ID, scan.Type)
	if errors.Is(err, meta.ErrNotFound) {
		e.Source, e.Type, d.Status, d.Repository = sourceInspector, eventInspectorScan, "INITIAL_SCAN_COMPLETE", arn
		return emit(tx, e, d, arn)
	}
	if err != nil {
		return err
	}
	known, err := unpackFindings(before)
	if err != nil {
		return err
	}
	d.NewFindings, d.Closed = notIn(found, known), notIn(known, found)
	if len(d.NewFindings)+len(d.Closed) == 0 {
		return nil
	}
	e.Source, e.Type = sourceBerth, eventFindingsChange
	return emit(tx, e, d, arn)
}

// notIn names what is in one list of findings and not in the other, as
// "CVE-2024-1 in openssl", and no more than maxNamed.
func notIn(list, other []Finding) (names []string) {
	known := map[string]bool{}
	for _, f := range other {
		known[f.Name+" in "+f.Package] = true
	}
	for _, f := range list {
		if name := f.Name + " in " + f.Package; !known[name] {
			known[name] = true
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(len(names), maxNamed)]
}

// A scanChange is a repository that is scanned otherwise than before.
type scanChange struct {
	Name     string `json:"repository-name"`
	ARN      string `json:"repository-arn"`
	Now      string `json:"scan-frequency"`
	Previous string `json:"previous-scan-frequency"`
}

// changesPerEvent bounds the repositories in one event.
const changesPerEvent = 100

// emitScanChange tells which repositories are scanned otherwise by a new
// configuration of enhanced scanning.
func emitScanChange(tx *meta.Tx, s meta.Scope, before, after ScanConfig, now time.Time) error {
	if after.Type != ScanEnhanced {
		return nil
	}
	var list []scanChange
	tell := func() error {
		if len(list) == 0 {
			return nil
		}
		detail := struct {
			Action       string       `json:"action-type"`
			Repositories []scanChange `json:"repositories"`
			Resource     string       `json:"resource-type"`
			ScanType     string       `json:"scan-type"`
		}{"SCAN_FREQUENCY_CHANGE", list, "REPOSITORY", ScanEnhanced}
		list = nil
		return emit(tx, meta.Event{Scope: s, Source: sourceECR, Type: eventScanChange, At: now}, detail)
	}
	for last := ""; ; {
		page, err := tx.Repositories(s, last, emptyingPage)
		if err != nil {
			return err
		}
		for _, repo := range page {
			last = repo.Name
			c := scanChange{
				repo.Name, ARN(s, repo.Name),
				after.effective(repo.Name, repo.ScanOnPush).Frequency, before.effective(repo.Name, repo.ScanOnPush).Frequency,
			}
			if c.Now == c.Previous {
				continue
			}
			if list = append(list, c); len(list) == changesPerEvent {
				if err := tell(); err != nil {
					return err
				}
			}
		}
		if len(page) < emptyingPage {
			return tell()
		}
	}
}

// cacheDetail is the detail of an event of a pull-through cache.
type cacheDetail struct {
	RuleVersion string `json:"rule-version"`
	Status      string `json:"sync-status"`
	Prefix      string `json:"ecr-repository-prefix"`
	Repository  string `json:"repository-name"`
	Upstream    string `json:"upstream-registry-url"`
	Tag         string `json:"image-tag,omitempty"`
	Digest      string `json:"image-digest,omitempty"`
	FailureCode string `json:"failure-code,omitempty"`
	Reason      string `json:"failure-reason,omitempty"`
}

// emitCached tells that an image of an upstream arrived, or why it did not.
func emitCached(tx *meta.Tx, s meta.Scope, name string, up *Upstream, d cacheDetail, now time.Time) error {
	d.RuleVersion, d.Repository, d.Prefix, d.Upstream = "1", name, up.Rule.Prefix, up.Rule.UpstreamURL
	return emit(tx, meta.Event{Scope: s, Source: sourceECR, Type: eventCacheAction, Repository: name, Digest: d.Digest, At: now}, d, ARN(s, name))
}

// maxReason bounds the text of an event that says why something failed, in bytes.
const maxReason = 500

// SyncFailed tells in an event that an image of an upstream did not arrive.
func (r *Registry) SyncFailed(ctx context.Context, s meta.Scope, name, tag, digest, reason string) error {
	up, err := r.Upstream(ctx, s, name)
	if err != nil || up == nil {
		return err
	}
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		return emitCached(tx, s, name, up, cacheDetail{Status: "FAILED", Tag: tag, Digest: digest, FailureCode: "UpstreamSyncFailed", Reason: reason}, r.now())
	})
}
