package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/manifest"
	"berth/internal/meta"
	"berth/internal/upload"
)

// PartSize is the part size that InitiateLayerUpload suggests, in bytes.
const PartSize = 10 << 20

// leaseRenewal is how old a lease may be before a probe renews it: probes are
// frequent and a lease lasts much longer, so most of them write nothing.
const leaseRenewal = 10 * time.Minute

// domain is what may share one copy of bytes with the repository: its account
// and encryption key.
func domain(repo meta.Repository) string { return repo.Scope.Account }

func target(repo meta.Repository) upload.Target {
	return upload.Target{RepositoryID: repo.ID, Domain: domain(repo)}
}

// A BlobInfo says what is known of a blob in a repository.
type BlobInfo struct {
	Digest    digest.Digest
	Size      int64
	MediaType string // as a manifest of the repository lists it, else empty
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
	u, err := r.uploads.Start(ctx, repo.ID, algorithm)
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
	res, err := r.uploads.Complete(ctx, target(repo.Repository), id, want)
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
	res, err := r.uploads.CompleteParts(ctx, target(repo.Repository), id, known...)
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
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return BlobInfo{}, err
	}
	res, err := r.uploads.Put(ctx, target(repo.Repository), want, body)
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
	return err
}

// CheckLayers says which layers the repository has. A layer reported as there
// is leased: garbage collection leaves it alone until a manifest can name it.
// One whose bytes are lost or damaged in length counts as missing, so that
// clients push it again, which repairs it.
func (r *Registry) CheckLayers(ctx context.Context, s meta.Scope, name string, digests []digest.Digest) (found []BlobInfo, missing []digest.Digest, err error) {
	var stale []string
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
			if now.Sub(m.LeasedAt) > leaseRenewal {
				stale = append(stale, m.Digest)
			}
			found, stored = append(found, BlobInfo{Digest: d, Size: m.Size, MediaType: mediaType}), append(stored, m.Blob)
		}
		return nil
	})
	if err == nil && len(stale) > 0 {
		err = r.db.Update(ctx, func(tx *meta.Tx) error {
			for _, d := range stale {
				if err := tx.RenewLease(repo.ID, d, now); err != nil {
					return err // gone since: the answer would not hold
				}
			}
			return nil
		})
	}
	if err != nil {
		return nil, nil, err
	}
	// Looked at after the lease, which keeps the bytes that are there now.
	whole := found[:0]
	for i, b := range found {
		if err := r.checkStored(ctx, repo, stored[i]); err != nil {
			r.log.Error("a blob is damaged; its next push repairs it", "err", err)
			missing = append(missing, b.Digest)
			continue
		}
		whole = append(whole, b)
	}
	return whole, missing, nil
}

// checkStored finds a blob whose bytes are not there, or not as many as its row says.
func (r *Registry) checkStored(ctx context.Context, repo meta.Repository, b meta.Blob) error {
	f, err := r.openStored(ctx, repo, b)
	if err != nil {
		return err
	}
	return f.Close()
}

// openStored opens the bytes of a row. A copy whose length is not what the row
// says is a fault of the server.
func (r *Registry) openStored(ctx context.Context, repo meta.Repository, b meta.Blob) (blob.Reader, error) {
	f, err := r.blobs.Open(ctx, blob.Key{Domain: b.Domain, Digest: digest.Digest(b.Digest)})
	if err != nil {
		return nil, fmt.Errorf("blob %s of repository %s has a row but cannot be opened: %w", b.Digest, repo.Name, err)
	}
	if f.Size() != b.Size {
		err := fmt.Errorf("blob %s of repository %s has %d bytes stored where its row says %d", b.Digest, repo.Name, f.Size(), b.Size)
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OpenBlob reads a blob of the repository. A copy whose length is not what its
// row says is a fault of the server, never a shorter answer.
func (r *Registry) OpenBlob(ctx context.Context, s meta.Scope, name string, d digest.Digest) (BlobInfo, blob.Reader, error) {
	var m meta.Member
	var repo meta.Repository
	err := r.view(ctx, s, name, func(tx *meta.Tx, rp meta.Repository) (err error) {
		repo = rp
		m, err = tx.Member(repo.ID, d.String())
		if errors.Is(err, meta.ErrNotFound) {
			return layerNotFound(s, name, d)
		}
		return err
	})
	if err != nil {
		return BlobInfo{}, nil, err
	}
	f, err := r.openStored(ctx, repo, m.Blob)
	if err != nil {
		return BlobInfo{}, nil, err
	}
	return BlobInfo{Digest: d, Size: m.Size}, f, nil
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
// source does not have it, or the two must not share bytes. The caller checks
// the right to read the source.
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
		if m.Domain != domain(repo) {
			return nil
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
		by, err := tx.ReferencedBy(repo.ID, meta.RefBlob, d.String(), 1)
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
	b, err := r.seal.OpenCursor(ticketPurpose, sealed)
	if err != nil {
		return false
	}
	var t ticket
	if err := json.Unmarshal(b, &t); err != nil {
		return false
	}
	return t.Scope == s && t.Name == name && t.Digest == d && r.now().Unix() < t.Expires
}
