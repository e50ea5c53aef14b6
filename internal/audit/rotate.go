package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"

	"berth/internal/kms"
	"berth/internal/kms/keyring"
	"berth/internal/meta"
	"berth/internal/seal"
	"berth/internal/upload"
)

// Settle is how long a new key waits, by default, until nobody uses the one
// before it any more: servers remember the youngest data key for ten seconds.
const Settle = 15 * time.Second

// Keys are the master keys, and what they wrap besides data keys.
type Keys struct {
	Master *keyring.Keyring
	// Rewrap wraps under the current master key what an older one wrapped, and
	// says how many there were.
	Rewrap []func(context.Context) (int, error)
	// Uses lists the ids of the master keys that wrap something else than data keys.
	Uses func(context.Context) ([]string, error)
}

// RotateOptions say what to renew. What an interrupted rotation left to be
// wrapped anew is wrapped in any case.
type RotateOptions struct {
	Master    bool          // make a new master key
	RetireOld bool          // forget master keys that wrap nothing
	DataKeys  bool          // give every domain a new data key
	Reencrypt bool          // seal everything anew that an older data key sealed
	Settle    time.Duration // 0: the default
	Progress  func(step string, done int)
}

// A RotateReport says what a rotation did.
type RotateReport struct {
	MasterKey string   `json:"masterKey"` // id of the current one
	Rewrapped int      `json:"rewrapped"` // data keys, keys of the built-in KMS and proofs
	Retired   []string `json:"retired"`   // ids of master keys
	DataKeys  int      `json:"dataKeys"`  // new ones
	Blobs     int      `json:"blobs"`     // sealed anew
	Bytes     int64    `json:"bytes"`
	Manifests int      `json:"manifests"`
	Dropped   int      `json:"dropped"` // old data keys
	Kept      int      `json:"kept"`    // old data keys that something still needs
	Skipped   []string `json:"skipped"` // domains whose KMS key cannot be used now
	Damaged   int      `json:"damaged"` // blobs that cannot be sealed anew, and were marked
}

// rotation is one run.
type rotation struct {
	*Auditor
	Keys
	RotateOptions
	RotateReport
}

// Rotate renews keys while servers work. ErrBusy: somebody else does.
func (a *Auditor) Rotate(ctx context.Context, k Keys, o RotateOptions) (RotateReport, error) {
	if o.Settle == 0 {
		o.Settle = Settle
	}
	if o.Progress == nil {
		o.Progress = func(string, int) {}
	}
	r := &rotation{Auditor: a, Keys: k, RotateOptions: o}
	r.Retired, r.Skipped = []string{}, []string{}
	err := a.underClaim(ctx, keysClaim, r.run)
	r.MasterKey = k.Master.Current()
	return r.RotateReport, err
}

func (r *rotation) run(ctx context.Context) error {
	if err := r.Keys.Master.Reload(); err != nil {
		return err
	}
	if r.RotateOptions.Master {
		if _, err := r.Keys.Master.Rotate(); err != nil {
			return err
		}
	}
	if err := r.rewrap(ctx); err != nil {
		return err
	}
	if r.RotateOptions.DataKeys {
		if err := r.renew(ctx); err != nil {
			return err
		}
	}
	if r.Reencrypt {
		if err := r.reencrypt(ctx); err != nil {
			return err
		}
	}
	if r.RetireOld {
		return r.retire(ctx)
	}
	return nil
}

// rewrap wraps everything under the current master key.
func (r *rotation) rewrap(ctx context.Context) error {
	for _, rewrap := range r.Keys.Rewrap {
		n, err := rewrap(ctx)
		r.Rewrapped += n
		if err != nil {
			return err
		}
	}
	var after int64
	return pages(ctx, r.DB, func(tx *meta.Tx) ([]meta.DataKey, error) { return tx.DataKeys(after, pageSize) }, func(k meta.DataKey) error {
		after = k.ID
		if k.KMSKey != "" || !r.Keys.Master.Stale(k.Wrapped) {
			return nil
		}
		err := r.Ring.Rewrap(ctx, k)
		if errors.Is(err, meta.ErrNotFound) {
			return nil // dropped since
		}
		if err == nil {
			r.Rewrapped++
		}
		return err
	}, func(n int) { r.Progress("data keys", r.Rewrapped) })
}

// retire forgets the master keys that wrap nothing. A server that read the
// keyring before it was rotated may have wrapped with an old key since, so it
// waits and looks again.
func (r *rotation) retire(ctx context.Context) error {
	if err := r.wait(ctx, r.Keys.Master.Created(r.Keys.Master.Current())); err != nil {
		return err
	}
	if err := r.rewrap(ctx); err != nil {
		return err
	}
	used, err := r.Uses(ctx)
	if err != nil {
		return err
	}
	var after int64
	err = pages(ctx, r.DB, func(tx *meta.Tx) ([]meta.DataKey, error) { return tx.DataKeys(after, pageSize) }, func(k meta.DataKey) error {
		after = k.ID
		if k.KMSKey != "" {
			return nil
		}
		id, err := r.Keys.Master.KeyID(k.Wrapped)
		used = append(used, id)
		return err
	}, func(int) {})
	if err != nil {
		return err
	}
	used = append(used, r.Keys.Master.Current())
	idle := slices.DeleteFunc(r.Keys.Master.IDs(), func(id string) bool { return slices.Contains(used, id) })
	if len(idle) == 0 {
		return nil
	}
	if err := r.Keys.Master.Retire(idle); err != nil {
		return err
	}
	r.Retired = idle
	return nil
}

// wait returns when a key has been there for the time to settle.
func (r *rotation) wait(ctx context.Context, since time.Time) error {
	timer := time.NewTimer(r.Settle - r.Now().Sub(since))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// generations are the data keys of all domains.
type generations struct {
	youngest map[string]meta.DataKey
	old      []meta.DataKey // by age
}

func (a *Auditor) generations(ctx context.Context) (generations, error) {
	g := generations{youngest: map[string]meta.DataKey{}}
	var after int64
	err := pages(ctx, a.DB, func(tx *meta.Tx) ([]meta.DataKey, error) { return tx.DataKeys(after, pageSize) }, func(k meta.DataKey) error {
		after = k.ID
		if before, ok := g.youngest[k.Domain]; ok {
			g.old = append(g.old, before)
		}
		g.youngest[k.Domain] = k
		return nil
	}, func(int) {})
	return g, err
}

// renew gives every domain a new data key. A domain whose KMS key cannot be
// used now is skipped and keeps its own.
func (r *rotation) renew(ctx context.Context) error {
	g, err := r.generations(ctx)
	if err != nil {
		return err
	}
	for domain, k := range g.youngest {
		err := r.Ring.Renew(ctx, seal.DomainOf(k))
		var refused *kms.Error
		if errors.As(err, &refused) {
			r.Log.Warn("a domain keeps its data key, since its KMS key cannot be used now", "domain", domain, "err", err)
			r.Skipped = append(r.Skipped, domain)
			continue
		}
		if err != nil {
			return err
		}
		r.RotateReport.DataKeys++
	}
	slices.Sort(r.Skipped)
	return nil
}

func (r *rotation) reencrypt(ctx context.Context) error {
	g, err := r.generations(ctx)
	if err != nil || len(g.old) == 0 {
		return err
	}
	for _, k := range g.old {
		if err := r.wait(ctx, g.youngest[k.Domain].CreatedAt); err != nil {
			return err
		}
	}
	for _, k := range g.old {
		if err := r.resealBlobs(ctx, k); err != nil {
			return err
		}
	}
	if err := r.resealManifests(ctx, g); err != nil {
		return err
	}
	dropped, kept, err := r.DropOldKeys(ctx, r.Settle)
	r.Dropped, r.Kept = dropped, kept
	return err
}

func (r *rotation) resealBlobs(ctx context.Context, k meta.DataKey) error {
	var after int64
	return pages(ctx, r.DB, func(tx *meta.Tx) ([]meta.Blob, error) { return tx.BlobsSealedBy(k.ID, after, pageSize) }, func(b meta.Blob) error {
		after = b.ID
		if b.Damaged {
			return nil
		}
		err := r.resealBlob(ctx, b)
		var refused *kms.Error
		switch {
		case err == nil:
			r.Blobs++
			r.Bytes += b.Size
			r.Progress("blobs", r.Blobs)
			return nil
		case errors.Is(err, meta.ErrNotFound):
			return nil // it is gone, or has another copy by now
		case errors.As(err, &refused):
			r.skip(b.Domain)
			return nil
		case isWrong(err):
			same, serr := r.same(ctx, b)
			if serr != nil || !same {
				return serr
			}
			r.Damaged++
			r.Log.Error("a blob is damaged; its next push repairs it", "digest", b.Digest, "location", b.Location, "err", err)
			return r.mark(ctx, b, true)
		}
		return fmt.Errorf("seal the blob %s anew: %w", b.Digest, err)
	}, func(int) {})
}

func (r *rotation) skip(domain string) {
	if !slices.Contains(r.Skipped, domain) {
		r.Skipped = append(r.Skipped, domain)
	}
}

// resealBlob gives a row a copy under the youngest key. A stop before the row
// leaves a copy that nothing refers to, which the next audit removes.
func (r *rotation) resealBlob(ctx context.Context, b meta.Blob) error {
	from, err := r.open(ctx, b)
	if err != nil {
		return err
	}
	fresh, err := r.again(ctx, b, from)
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	err = r.DB.Update(ctx, func(tx *meta.Tx) error {
		// The old copy is trash from the switch on, however long the copying took.
		fresh.CreatedAt, fresh.VerifiedAt = r.Now(), r.Now()
		if err := tx.CheckDataKey(fresh.DataKey); err != nil {
			return err
		}
		return tx.ReplaceBlob(b, fresh)
	})
	if errors.Is(err, meta.ErrNotFound) && !upload.IsSmall(fresh) {
		err = errors.Join(err, r.Auditor.Blobs.Delete(ctx, upload.CopyOf(fresh))) // no row ever named it
	}
	return err
}

// again seals the bytes of a row under the youngest key, where and as they lay
// before: in the row, in the blob store, in the second one, or compressed.
func (r *rotation) again(ctx context.Context, b meta.Blob, from io.Reader) (meta.Blob, error) {
	if !upload.IsSmall(b) {
		c, err := r.seal(ctx, b, b.Domain, from)
		b.Location, b.DataKey, b.Packed = c.ID, c.DataKey, c.Packed
		return b, err
	}
	text, err := io.ReadAll(from)
	if err != nil {
		return b, err
	}
	if digest.Digest(b.Digest).Algorithm().FromBytes(text) != digest.Digest(b.Digest) {
		return b, errMismatch
	}
	b.Location = uuid.NewString()
	return upload.SealSmall(ctx, r.Ring, b, text)
}

func (r *rotation) resealManifests(ctx context.Context, g generations) error {
	var after int64
	return pages(ctx, r.DB, func(tx *meta.Tx) ([]meta.Manifest, error) { return tx.Manifests(after, manifestPage) }, func(m meta.Manifest) error {
		after = m.ImageID
		domain := domainOf(m.Repository).Name()
		if key, ok := seal.KeyOf(m.Sealed); !ok || key == g.youngest[domain].ID {
			return nil
		}
		purpose := seal.ManifestPurpose(m.Digest)
		text, err := r.Ring.Open(ctx, domain, purpose, m.Sealed)
		var sealed []byte
		if err == nil {
			sealed, err = r.Ring.Seal(ctx, domain, purpose, text)
		}
		var refused *kms.Error
		switch {
		case errors.As(err, &refused):
			r.skip(domain)
			return nil
		case errors.Is(err, seal.ErrAltered), errors.Is(err, seal.ErrUnknownKey):
			r.Damaged++
			r.Log.Error("a manifest does not open: delete the image and push it again", "repository", m.Repository.Name, "digest", m.Digest, "err", err)
			return nil
		case err != nil:
			return err
		}
		err = r.DB.Update(ctx, func(tx *meta.Tx) error {
			if key, ok := seal.KeyOf(sealed); ok {
				if err := tx.CheckDataKey(key); err != nil {
					return err
				}
			}
			return tx.ReplaceManifest(m.ImageID, m.Sealed, sealed)
		})
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err == nil {
			r.Manifests++
			r.Progress("manifests", r.Manifests)
		}
		return err
	}, func(int) {})
}

// DropOldKeys forgets the data keys that sealed nothing that is still there
// and that have had a successor for the time to settle. kept are those that
// something needs: copies in the trash, running uploads, damaged blobs.
func (a *Auditor) DropOldKeys(ctx context.Context, settle time.Duration) (dropped, kept int, err error) {
	g, err := a.generations(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, k := range g.old {
		settled := g.youngest[k.Domain].CreatedAt.Add(settle)
		if a.Now().Before(settled) {
			kept++
			continue
		}
		err := a.DB.Update(ctx, func(tx *meta.Tx) error { return tx.DropDataKey(k, seal.KeyHeader(k.ID), settled) })
		switch {
		case err == nil:
			dropped++
		case errors.Is(err, meta.ErrNotFound):
			kept++
		default:
			return dropped, kept, fmt.Errorf("drop the data key %d: %w", k.ID, err)
		}
	}
	return dropped, kept, nil
}
