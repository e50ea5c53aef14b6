package registry

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"berth/internal/meta"
)

// Sources and types of events (ECR User Guide, "Amazon ECR events and
// EventBridge"; Amazon Inspector User Guide, "EventBridge events"). The last is
// our own: Inspector tells of each finding instead.
const (
	sourceECR       = "aws.ecr"
	sourceInspector = "aws.inspector2"
	sourceBerth     = "berth"

	eventImageAction    = "ECR Image Action"
	eventReferrerAction = "ECR Referrer Action"
	eventImageScan      = "ECR Image Scan"
	eventInspectorScan  = "Inspector2 Scan"
	eventScanChange     = "ECR Scan Resource Change"
	eventCacheAction    = "ECR Pull Through Cache Action"
	eventFindingsChange = "Berth Image Findings Change"
)

// Action types of events.
const (
	actionPush         = "PUSH"
	actionDelete       = "DELETE"
	actionStorageClass = "UPDATE_STORAGE_CLASS"
)

// An Envelope is an event as EventBridge delivers it (EventBridge User Guide,
// "Events in Amazon EventBridge").
type Envelope struct {
	Version    string          `json:"version"`
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Time       time.Time       `json:"time"` // of whole seconds, as theirs
	Region     string          `json:"region"`
	Resources  json.RawMessage `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
}

// EnvelopeOf is an event of the outbox as it is delivered.
func EnvelopeOf(e meta.Event) Envelope {
	return Envelope{
		Version: "0", ID: e.UUID, DetailType: e.Type, Source: e.Source, Account: e.Scope.Account, Time: e.At.UTC().Truncate(time.Second),
		Region: e.Scope.Region, Resources: json.RawMessage(e.Resources), Detail: json.RawMessage(e.Detail),
	}
}

// emit writes an event into the outbox, in the transaction that it tells of:
// there is an event when, and only when, that is committed.
func emit(tx *meta.Tx, e meta.Event, detail any, resources ...string) error {
	e.UUID, e.Resources = uuid.NewString(), "[]"
	if len(resources) > 0 {
		b, err := json.Marshal(resources)
		if err != nil {
			return err
		}
		e.Resources = string(b)
	}
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	e.Detail = string(b)
	if err := tx.InsertEvent(e); err != nil {
		return fmt.Errorf("write an event into the outbox: %w", err)
	}
	return nil
}

// imageAction is the detail of events about what was done with an image.
type imageAction struct {
	Result             string  `json:"result"`
	RepositoryName     string  `json:"repository-name"`
	ImageDigest        string  `json:"image-digest"`
	ActionType         string  `json:"action-type"`
	ImageTag           *string `json:"image-tag,omitempty"` // "" of an image without one; absent where the action is about no tag
	ManifestMediaType  string  `json:"manifest-media-type,omitempty"`
	ArtifactMediaType  string  `json:"artifact-media-type,omitempty"`
	TargetStorageClass string  `json:"target-storage-class,omitempty"`
	LastActivatedAt    string  `json:"last-activated-at,omitempty"`
}

// emitAction tells of an action on an image. What refers to another image has a
// type of its own.
func emitAction(tx *meta.Tx, repo meta.Repository, img meta.Image, now time.Time, a imageAction) error {
	e := meta.Event{Scope: repo.Scope, Source: sourceECR, Type: eventImageAction, Repository: repo.Name, Digest: img.Digest, At: now}
	if img.Subject != "" {
		e.Type = eventReferrerAction
	}
	a.Result, a.RepositoryName, a.ImageDigest = "SUCCESS", repo.Name, img.Digest
	a.ManifestMediaType, a.ArtifactMediaType = img.MediaType, img.ArtifactType
	return emit(tx, e, a)
}

// emitTags tells of an action on an image under each of some tags; under none,
// it tells of it once.
func emitTags(tx *meta.Tx, repo meta.Repository, img meta.Image, now time.Time, action string, tags []string) error {
	if len(tags) == 0 {
		tags = []string{""}
	}
	for _, tag := range tags {
		if err := emitAction(tx, repo, img, now, imageAction{ActionType: action, ImageTag: &tag}); err != nil {
			return err
		}
	}
	return nil
}

// emitStorage tells that an image was archived or is restored.
func emitStorage(tx *meta.Tx, repo meta.Repository, img meta.Image, now time.Time) error {
	a := imageAction{ActionType: actionStorageClass, TargetStorageClass: StorageArchive}
	if img.Status == meta.ImageActive {
		a.TargetStorageClass, a.LastActivatedAt = StorageStandard, img.ActivatedAt.UTC().Format(time.RFC3339)
	}
	return emitAction(tx, repo, img, now, a)
}

// emptyingPage bounds how many images of a repository that goes are looked at in
// one statement.
const emptyingPage = 500

// emitEmptied tells that every image of a repository goes with it.
func emitEmptied(tx *meta.Tx, repo meta.Repository, now time.Time) error {
	for after := int64(0); ; {
		page, err := tx.Images(repo.ID, meta.ImageFilter{}, after, emptyingPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, img := range page {
			tags, err := tx.TagsOf(img.ID)
			if err == nil {
				err = emitTags(tx, repo, img, now, actionDelete, tags)
			}
			if err != nil {
				return err
			}
		}
		after = page[len(page)-1].ID
	}
}
