package registry

import (
	"context"
	"errors"
	"fmt"

	"berth/internal/blob"
	"berth/internal/kms"
	"berth/internal/meta"
	"berth/internal/seal"
	"berth/internal/upload"
)

// A Sealer keeps manifests and the keys of domains (internal/seal).
type Sealer interface {
	// Ensure makes sure that the domain's key can be used now.
	Ensure(ctx context.Context, d seal.Domain) error
	upload.Sealer
}

// domain is what may share one copy of bytes with the repository: its account
// and encryption settings.
func domain(repo meta.Repository) seal.Domain {
	return seal.Domain{Account: repo.Scope.Account, KMSKey: repo.KMSKey, Dual: repo.Encryption == EncryptionDual}
}

// usable is the name of the repository's domain, provided that its key can be
// used now: every push and pull asks, so that a KMS key that is disabled stops
// them whatever the bytes lie in.
func (r *Registry) usable(ctx context.Context, repo meta.Repository) (string, error) {
	d := domain(repo)
	return d.Name(), kmsRefusal(r.seal.Ensure(ctx, d))
}

func (r *Registry) target(ctx context.Context, repo meta.Repository) (upload.Target, error) {
	name, err := r.usable(ctx, repo)
	return upload.Target{RepositoryID: repo.ID, Domain: name}, err
}

// kmsRefusal puts a refusal by the key's place into ECR's words. Other errors
// come through as they are.
func kmsRefusal(err error) error {
	var refused *kms.Error
	if !errors.As(err, &refused) {
		return err
	}
	return &Error{Code: KMSFailure, Message: refused.Message, Extra: map[string]any{"kmsError": refused.Code}, Err: err}
}

func (r *Registry) sealManifest(ctx context.Context, domain, digest string, body []byte) ([]byte, error) {
	sealed, err := r.seal.Seal(ctx, domain, seal.ManifestPurpose(digest), body)
	return sealed, kmsRefusal(err)
}

// openManifest replaces the sealed bytes of a row by the manifest. Bytes that
// do not open are a fault of the server, never an answer.
func (r *Registry) openManifest(ctx context.Context, repo meta.Repository, m *meta.StoredManifest) error {
	name, err := r.usable(ctx, repo)
	if err != nil {
		return err
	}
	m.Bytes, err = r.seal.Open(ctx, name, seal.ManifestPurpose(m.Digest), m.Bytes)
	if err != nil {
		return kmsRefusal(fmt.Errorf("manifest %s of repository %s has a row but does not open: %w", m.Digest, repo.Name, err))
	}
	return nil
}

// openStored opens the bytes of a row.
func (r *Registry) openStored(ctx context.Context, repo meta.Repository, b meta.Blob) (blob.Reader, error) {
	if _, err := r.usable(ctx, repo); err != nil {
		return nil, err
	}
	if b.Damaged {
		return nil, fmt.Errorf("blob %s of repository %s: %w and waits to be pushed again", b.Digest, repo.Name, blob.ErrDamaged)
	}
	var f blob.Reader
	var err error
	if upload.IsSmall(b) {
		f, err = upload.OpenSmall(ctx, r.seal, b)
		if errors.Is(err, seal.ErrAltered) {
			err = fmt.Errorf("%w: %w", blob.ErrDamaged, err)
		}
	} else {
		f, err = r.blobs.Open(ctx, upload.CopyOf(b))
	}
	if err != nil {
		r.noteDamage(ctx, b, err)
		return nil, kmsRefusal(fmt.Errorf("blob %s of repository %s has a row but cannot be opened: %w", b.Digest, repo.Name, err))
	}
	return &checkedReader{Reader: f, damaged: func(err error) { r.noteDamage(ctx, b, err) }}, nil
}

// A checkedReader reports damage that shows while bytes are read.
type checkedReader struct {
	blob.Reader
	damaged func(error)
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && errors.Is(err, blob.ErrDamaged) {
		c.damaged(err)
	}
	return n, err
}

// noteDamage raises the alarm when stored bytes are lost or changed: in the
// log, and in the row, so that the next push replaces them.
func (r *Registry) noteDamage(ctx context.Context, b meta.Blob, cause error) {
	if !errors.Is(cause, blob.ErrDamaged) && !errors.Is(cause, blob.ErrNotFound) {
		return
	}
	r.log.Error("a blob is damaged; its next push repairs it", "digest", b.Digest, "location", b.Location, "err", cause)
	err := r.db.Update(context.WithoutCancel(ctx), func(tx *meta.Tx) error { return tx.MarkVerified(b, r.now(), true) })
	if err != nil {
		r.log.Error("note a damaged blob", "digest", b.Digest, "err", err)
	}
}
