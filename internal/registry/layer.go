package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/manifest"
	"berth/internal/meta"
	"berth/internal/upload"
)

// PartSize is the part size that InitiateLayerUpload suggests, in bytes.
const PartSize = 10 << 20

// maxLeaseRenewal is how old a lease may be before a probe renews it: probes
// are frequent and a lease lasts much longer, so most of them write nothing. Of
// a short lease it is an eighth, so that a probe promises nearly all of it.
const maxLeaseRenewal = 10 * time.Minute

func leaseRenewal(lease time.Duration) time.Duration {
	if lease <= 0 {
		return maxLeaseRenewal
	}
	return min(maxLeaseRenewal, lease/8)
}

// A BlobInfo says what is known of a blob in a repository.
type BlobInfo struct {
	Digest    digest.Digest
	Size      int64
	MediaType string // as a manifest of the repository lists it, else empty
	Archived  bool   // only archived images list it; only CheckLayers looks
}

// StartUpload opens an upload session. An empty algorithm means sha256.
func (r *Registry) StartUpload(ctx context.Context, s meta.Scope, name string, algorithm digest.Algorithm) (meta.Upload, error) {
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return meta.Upload{}, err
	}
	if algorithm != "" && algorithm != digest.SHA256 && algorithm != digest.SHA512 {
		return meta.Upload{}, invalid("digest-algorithm", "Member must satisfy enum value set: [sha256, sha512]")
	}
	to, err := r.target(ctx, repo.Repository)
	if err != nil {
		return meta.Upload{}, err
	}
	u, err := r.uploads.Start(ctx, to, algorithm)
	return u, uploadError(err, repo.Repository, u.ID)
}

// UploadStatus reads the state of a session.
func (r *Registry) UploadStatus(ctx context.Context, s meta.Scope, name, id string) (meta.Upload, error) {
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return meta.Upload{}, err
	}
	u, err := r.uploads.Session(ctx, repo.ID, id)
	return u, uploadError(err, repo.Repository, id)
}

// AppendUpload adds bytes to a session. at is where they start, or
// upload.AnyOffset. On an error of the client's side, what came is kept.
func (r *Registry) AppendUpload(ctx context.Context, s meta.Scope, name, id string, at int64, body io.Reader) (meta.Upload, error) {
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return meta.Upload{}, err
	}
	u, err := r.uploads.Append(ctx, repo.ID, id, at, body)
	return u, uploadError(err, repo.Repository, id)
}

// AppendPart adds a part as UploadLayerPart does.
func (r *Registry) AppendPart(ctx context.Context, s meta.Scope, name, id string, at int64, body io.Reader) (meta.Upload, error) {
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return meta.Upload{}, err
	}
	u, err := r.uploads.AppendPart(ctx, repo.ID, id, at, body)
	return u, uploadError(err, repo.Repository, id)
}

// CompleteUpload ends a session; its bytes must have the digest.
func (r *Registry) CompleteUpload(ctx context.Context, s meta.Scope, name, id string, want digest.Digest) (BlobInfo, error) {
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return BlobInfo{}, err
	}
	to, err := r.target(ctx, repo.Repository)
	if err != nil {
		return BlobInfo{}, err
	}
	res, err := r.uploads.Complete(ctx, to, id, want)
	return BlobInfo{Digest: res.Digest, Size: res.Size}, uploadError(err, repo.Repository, id)
}

// CompleteParts ends a session of UploadLayerPart; its bytes must have one of
// the digests. LayerAlreadyExists: the repository had the layer before.
func (r *Registry) CompleteParts(ctx context.Context, s meta.Scope, name, id string, want []digest.Digest) (BlobInfo, error) {
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return BlobInfo{}, err
	}
	var known []digest.Digest
	for _, d := range want {
		if manifest.ValidateDigest(d) == nil {
			known = append(known, d)
		}
	}
	to, err := r.target(ctx, repo.Repository)
	if err != nil {
		return BlobInfo{}, err
	}
	res, err := r.uploads.CompleteParts(ctx, to, id, known...)
	if err != nil {
		return BlobInfo{}, uploadError(err, repo.Repository, id)
	}
	if res.Existed {
		return BlobInfo{}, refuse(LayerAlreadyExists, "The layer with digest '%s' already exists in the repository with name '%s' in the registry with id '%s'",
			res.Digest, name, s.Account)
	}
	return BlobInfo{Digest: res.Digest, Size: res.Size}, nil
}

// PutBlob stores a blob that comes in one request.
func (r *Registry) PutBlob(ctx context.Context, s meta.Scope, name string, want digest.Digest, body io.Reader) (BlobInfo, error) {
	return r.PutBlobVerified(ctx, s, name, want, body, func() {})
}

// PutBlobVerified is PutBlob, and calls verified when all bytes are here and have
// the digest, before they are kept.
func (r *Registry) PutBlobVerified(ctx context.Context, s meta.Scope, name string, want digest.Digest, body io.Reader, verified func()) (BlobInfo, error) {
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return BlobInfo{}, err
	}
	to, err := r.target(ctx, repo.Repository)
	if err != nil {
		return BlobInfo{}, err
	}
	res, err := r.uploads.PutVerified(ctx, to, want, body, verified)
	return BlobInfo{Digest: res.Digest, Size: res.Size}, uploadError(err, repo.Repository, "")
}

// CancelUpload ends a session and drops its bytes.
func (r *Registry) CancelUpload(ctx context.Context, s meta.Scope, name, id string) error {
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return err
	}
	return uploadError(r.uploads.Cancel(ctx, repo.ID, id), repo.Repository, id)
}

// uploadError puts the errors of uploads into ECR's words.
func uploadError(err error, repo meta.Repository, id string) error {
	var (
		offset   *upload.OffsetError
		mismatch *upload.DigestError
	)
	where := fmt.Sprintf("the repository with name '%s' in the registry with id '%s'", repo.Name, repo.Scope.Account)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch):
		return refuse(InvalidLayer, "None of the provided layer digests match the calculated layer digest: %s", mismatch.Computed)
	case errors.As(err, &offset):
		e := refuse(InvalidLayerPart, "The layer part of the upload with id '%s' to %s starts at byte %d, where byte %d is the next one", id, where, offset.Got, offset.Have)
		e.Extra = map[string]any{"registryId": repo.Scope.Account, "repositoryName": repo.Name, "uploadId": id, "lastValidByteReceived": offset.Have - 1}
		return e
	case errors.Is(err, upload.ErrNotFound):
		return refuse(UploadNotFound, "The upload with id '%s' could not be found in %s", id, where)
	case errors.Is(err, upload.ErrNoTarget):
		return repositoryNotFound(repo.Scope, repo.Name)
	case errors.Is(err, upload.ErrEmpty):
		return refuse(EmptyUpload, "The upload with id '%s' to %s does not contain any layer parts", id, where)
	case errors.Is(err, upload.ErrPartSize):
		return refuse(LayerPartTooSmall, "The upload with id '%s' to %s has layer parts of less than 5 MiB", id, where)
	case errors.Is(err, upload.ErrTooLarge):
		return refuse(LimitExceeded, "The layer uploaded to %s is larger than the limit of 52000 MiB", where)
	}
	return kmsRefusal(err)
}

// CheckLayers says which layers the repository has. A layer reported as there
// is leased: garbage collection leaves it alone until a manifest can name it.
// One whose bytes are lost or damaged in length counts as missing, so that
// clients push it again, which repairs it.
func (r *Registry) CheckLayers(ctx context.Context, s meta.Scope, name string, digests []digest.Digest) (found []BlobInfo, missing []digest.Digest, err error) {
	var stale, gone []string
	var repo meta.Repository
	var stored []meta.Blob // of found, one by one
	now := r.now()
	err = r.view(ctx, s, name, func(tx *meta.Tx, rp meta.Repository) error {
		repo = rp
		for _, d := range digests {
			m, err := tx.Member(repo.ID, d.String())
			if errors.Is(err, meta.ErrNotFound) {
				missing = append(missing, d)
				continue
			}
			if err != nil {
				return err
			}
			mediaType, err := tx.ReferenceMediaType(repo.ID, m.Digest)
			if err != nil && !errors.Is(err, meta.ErrNotFound) {
				return err
			}
			if now.Sub(m.LeasedAt) > r.renewal {
				stale = append(stale, m.Digest)
			}
			archived, err := tx.OnlyArchived(repo.ID, m.Digest)
			if err != nil {
				return err
			}
			found, stored = append(found, BlobInfo{Digest: d, Size: m.Size, MediaType: mediaType, Archived: archived}), append(stored, m.Blob)
		}
		return nil
	})
	if err == nil && len(stale) > 0 {
		gone, err = r.renewLeases(ctx, repo.ID, stale, now)
	}
	if err != nil {
		return nil, nil, err
	}
	// Looked at after the lease, which keeps the bytes that are there now.
	whole := found[:0]
	for i, b := range found {
		if slices.Contains(gone, b.Digest.String()) {
			missing = append(missing, b.Digest)
			continue
		}
		if err := r.checkStored(ctx, repo, stored[i]); err != nil {
			if !errors.Is(err, blob.ErrDamaged) && !errors.Is(err, blob.ErrNotFound) {
				return nil, nil, err // not known to be lost
			}
			missing = append(missing, b.Digest)
			continue
		}
		whole = append(whole, b)
	}
	return whole, missing, nil
}

// renewLeases gives the blobs that were collected, or whose repository was
// deleted, since they were seen: they are missing, which is no fault.
func (r *Registry) renewLeases(ctx context.Context, repositoryID int64, digests []string, now time.Time) (gone []string, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		gone = nil
		for _, d := range digests {
			err := tx.RenewLease(repositoryID, d, now)
			if errors.Is(err, meta.ErrNotFound) {
				gone = append(gone, d)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return gone, err
}

// checkStored finds a blob whose bytes are not there, or not as many as its row says.
func (r *Registry) checkStored(ctx context.Context, repo meta.Repository, b meta.Blob) error {
	f, err := r.openStored(ctx, repo, b)
	if err != nil {
		return err
	}
	return f.Close()
}

// A StoredBlob is a blob of a repository, ready to be read: as a stream, or at
// a URL.
type StoredBlob struct {
	BlobInfo
	Reader blob.Reader // nil when URL is set
	URL    string
}

// urlLifetime is how long a URL that a pull is redirected to is good for: long
// enough for a client to begin, and it may take as long as it likes then.
const urlLifetime = 15 * time.Minute

// OpenBlob reads a blob of the repository. Bytes that are not what was stored
// are a fault of the server, never a shorter or another answer.
func (r *Registry) OpenBlob(ctx context.Context, s meta.Scope, name string, d digest.Digest) (StoredBlob, error) {
	repo, m, err := r.member(ctx, s, name, d)
	if err != nil {
		return StoredBlob{}, err
	}
	out := StoredBlob{BlobInfo: BlobInfo{Digest: d, Size: m.Size}}
	if r.direct != nil && !m.Damaged && !upload.IsSmall(m.Blob) && !m.Moved() {
		if _, err := r.usable(ctx, repo); err != nil {
			return StoredBlob{}, err
		}
		out.URL, err = r.direct.URL(ctx, upload.CopyOf(m.Blob), urlLifetime)
		return out, err
	}
	out.Reader, err = r.openStored(ctx, repo, m.Blob)
	return out, err
}

// ProbeBlob says whether the repository has a blob, as CheckLayers does.
func (r *Registry) ProbeBlob(ctx context.Context, s meta.Scope, name string, d digest.Digest) (BlobInfo, error) {
	repo, m, err := r.member(ctx, s, name, d)
	if err != nil {
		return BlobInfo{}, err
	}
	if now := r.now(); now.Sub(m.LeasedAt) > r.renewal {
		err := r.db.Update(ctx, func(tx *meta.Tx) error { return tx.RenewLease(repo.ID, m.Digest, now) })
		if errors.Is(err, meta.ErrNotFound) { // gone since: the answer would not hold
			return BlobInfo{}, layerNotFound(s, name, d)
		}
		if err != nil {
			return BlobInfo{}, err
		}
	}
	if err := r.checkStored(ctx, repo, m.Blob); err != nil {
		if errors.Is(err, blob.ErrDamaged) || errors.Is(err, blob.ErrNotFound) {
			err = layerNotFound(s, name, d)
		}
		return BlobInfo{}, err
	}
	return BlobInfo{Digest: d, Size: m.Size}, nil
}

// member finds a blob of the repository in one statement.
func (r *Registry) member(ctx context.Context, s meta.Scope, name string, d digest.Digest) (repo meta.Repository, m meta.Member, err error) {
	repo = meta.Repository{Scope: s, Name: name}
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		var o meta.Owner
		o, m, err = tx.PullBlob(s, name, d.String())
		repo.ID, repo.Encryption, repo.KMSKey = o.ID, o.Encryption, o.KMSKey
		return err
	})
	switch {
	case errors.Is(err, meta.ErrNotFound):
		err = repositoryNotFound(s, name)
	case errors.Is(err, meta.ErrNoMember):
		err = layerNotFound(s, name, d)
	}
	return repo, m, err
}

func layerNotFound(s meta.Scope, name string, d digest.Digest) error {
	return refuse(LayerNotFound, "The layer with digest '%s' does not exist in the repository with name '%s' in the registry with id '%s'", d, name, s.Account)
}

// DeleteBlob takes a blob out of the repository. One that a manifest lists stays.
func (r *Registry) DeleteBlob(ctx context.Context, s meta.Scope, name string, d digest.Digest) error {
	return r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		by, err := tx.ReferencedBy(repo.ID, meta.RefBlob, d.String(), 1)
		if err != nil {
			return err
		}
		if len(by) > 0 {
			return refuse(ImageReferenced, "The layer with digest '%s' is referenced by the image with digest '%s'", d, by[0])
		}
		err = tx.RemoveMember(repo.ID, d.String())
		if errors.Is(err, meta.ErrNotFound) {
			return layerNotFound(s, name, d)
		}
		return err
	})
}

// MountBlob makes a blob of one repository part of another of the same
// registry without moving bytes. mounted is false when it cannot be: the
// source does not have it, the two must not share bytes, or the account setting
// BLOB_MOUNTING is DISABLED. The caller checks the right to read the source.
func (r *Registry) MountBlob(ctx context.Context, s meta.Scope, name, from string, d digest.Digest) (info BlobInfo, mounted bool, err error) {
	err = r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		info, mounted = BlobInfo{}, false
		source, err := tx.Repository(s, from)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := tx.Member(source.ID, d.String())
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Damaged || m.Domain != domain(repo).Name() {
			return nil
		}
		if on, err := readAccountSetting(tx, s, BlobMounting); err != nil || on != Enabled {
			return err
		}
		mounted, info = true, BlobInfo{Digest: d, Size: m.Size}
		return tx.AddMember(repo.ID, m.Blob, r.now())
	})
	return info, mounted && err == nil, err
}

// MountSources names up to limit repositories of the registry that hold a blob.
func (r *Registry) MountSources(ctx context.Context, s meta.Scope, d digest.Digest, limit int) (names []string, err error) {
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		names, err = tx.RepositoriesWith(s, d.String(), limit)
		return err
	})
	return names, err
}

// TicketLifetime is how long a download ticket is good for.
const TicketLifetime = time.Hour

type ticket struct {
	Scope   meta.Scope
	Name    string
	Digest  digest.Digest
	Expires int64 // Unix seconds
}

const ticketPurpose = "layer-download"

// LayerTicket makes a ticket that lets its bearer read one layer for
// [TicketLifetime], as the URLs of GetDownloadUrlForLayer do.
func (r *Registry) LayerTicket(ctx context.Context, s meta.Scope, name string, d digest.Digest) (string, error) {
	err := r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		if _, err := tx.Member(repo.ID, d.String()); errors.Is(err, meta.ErrNotFound) {
			return layerNotFound(s, name, d)
		} else if err != nil {
			return err
		}
		by, err := tx.ReferencedByActive(repo.ID, meta.RefBlob, d.String(), 1)
		if err == nil && len(by) == 0 {
			return refuse(LayerInaccessible, "The layer with digest '%s' is not referenced by any image in the repository with name '%s' in the registry with id '%s'", d, name, s.Account)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return r.sealCursor(ticketPurpose, ticket{s, name, d, r.now().Add(TicketLifetime).Unix()})
}

// CheckTicket reports whether a ticket lets its bearer read the layer now.
func (r *Registry) CheckTicket(sealed string, s meta.Scope, name string, d digest.Digest) bool {
	b, err := r.cursors.OpenCursor(ticketPurpose, sealed)
	if err != nil {
		return false
	}
	var t ticket
	if err := json.Unmarshal(b, &t); err != nil {
		return false
	}
	return t.Scope == s && t.Name == name && t.Digest == d && r.now().Unix() < t.Expires
}
