package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/blob/cold"
	"berth/internal/meta"
	"berth/internal/seal"
)

// sealedSetting says that nothing of version 1 is left to be sealed.
const sealedSetting = "sealed-at-rest"

// An Adopter finds or makes the keys that repositories of version 1 name.
type Adopter interface {
	Adopt(ctx context.Context, s meta.Scope, name string) (arn string, made bool, err error)
}

// upgrade is one run of SealOld.
type upgrade struct {
	*Auditor
	keys                   Adopter
	data                   string // data directory
	blobs, manifests, left int
}

// SealOld seals what schema version 1 kept as it came: the files below
// <data>/blobs/<account>/<algorithm> and the manifests. It may be stopped at
// any point and goes on where it was. An old file goes only when the row of its
// sealed copy is committed. It costs one read when there is nothing to do.
func (a *Auditor) SealOld(ctx context.Context, keys Adopter, data string) error {
	done := false
	err := a.DB.View(ctx, func(tx *meta.Tx) error {
		_, err := tx.Setting(sealedSetting)
		done = err == nil
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil || done {
		return err
	}
	u := &upgrade{Auditor: a, keys: keys, data: data}
	err = a.underClaim(ctx, sealClaim, u.run)
	if err != nil {
		return fmt.Errorf("seal what an older version stored in %s: %w", data, err)
	}
	return nil
}

func (u *upgrade) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{u.repositories, u.oldBlobs, u.oldManifests, u.leftovers} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if u.blobs+u.manifests > 0 {
		u.Log.Info("everything that an older version stored is sealed now", "blobs", u.blobs, "manifests", u.manifests)
	}
	if u.left > 0 {
		u.Log.Error("some of what an older version stored is damaged and was left as it is: push those images again", "count", u.left)
		return nil // and look again at the next start
	}
	return u.DB.Update(ctx, func(tx *meta.Tx) error {
		_, err := tx.EnsureSetting(sealedSetting, []byte("1"))
		return err
	})
}

// repositories makes sure that every domain has a data key. Version 1 took any
// name of a KMS key; there was none to ask.
func (u *upgrade) repositories(ctx context.Context) error {
	var after int64
	return pages(ctx, u.DB, func(tx *meta.Tx) ([]meta.Repository, error) { return tx.AllRepositories(after, pageSize) }, func(r meta.Repository) error {
		after = r.ID
		sealed := false
		err := u.DB.View(ctx, func(tx *meta.Tx) error {
			_, err := tx.CurrentDataKey(domainOf(r).Name())
			sealed = err == nil
			if errors.Is(err, meta.ErrNotFound) {
				return nil
			}
			return err
		})
		if err != nil || sealed {
			return err
		}
		if r.Encryption != "AES256" {
			arn, made, err := u.keys.Adopt(ctx, r.Scope, r.KMSKey)
			if err != nil {
				return fmt.Errorf("find the KMS key %s of the repository %s: %w", r.KMSKey, r.Name, err)
			}
			if made {
				u.Log.Warn("made the KMS key that a repository names", "repository", r.Name, "key", arn)
			}
			if arn != r.KMSKey {
				if err := u.DB.Update(ctx, func(tx *meta.Tx) error { return tx.SetKMSKey(r.ID, arn) }); err != nil && !errors.Is(err, meta.ErrNotFound) {
					return err
				}
				r.KMSKey = arn
			}
		}
		return u.Ring.Ensure(ctx, domainOf(r))
	}, func(int) {})
}

func (u *upgrade) oldBlobs(ctx context.Context) error {
	var after int64
	return pages(ctx, u.DB, func(tx *meta.Tx) ([]meta.Blob, error) { return tx.OldBlobs(after, pageSize) }, func(b meta.Blob) error {
		after = b.ID
		err := u.blob(ctx, b)
		if isWrong(err) {
			u.left++
			u.Log.Error("a blob of an older version is damaged; its next push repairs it", "digest", b.Digest, "file", u.path(b), "err", err)
			return u.mark(ctx, b, true)
		}
		if err != nil {
			return fmt.Errorf("seal the blob %s: %w", b.Digest, err)
		}
		return nil
	}, func(n int) {
		u.Log.Info("sealing what an older version stored", "blobs", u.blobs)
	})
}

// path is where version 1 kept a blob.
func (u *upgrade) path(b meta.Blob) string {
	d := digest.Digest(b.Digest)
	hex := d.Encoded()
	return filepath.Join(u.data, "blobs", b.Domain, d.Algorithm().String(), hex[:2], hex)
}

// blob seals one blob for every domain in which a repository holds it: version
// 1 knew only the account.
func (u *upgrade) blob(ctx context.Context, b meta.Blob) error {
	if err := digest.Digest(b.Digest).Validate(); err != nil {
		return err
	}
	for {
		var owners []meta.Repository
		err := u.DB.View(ctx, func(tx *meta.Tx) (err error) {
			owners, err = tx.Owners(b.ID)
			return err
		})
		if err != nil {
			return err
		}
		home := false
		moves := map[string][]meta.Repository{}
		for _, r := range owners {
			if d := domainOf(r).Name(); d == b.Domain {
				home = true
			} else {
				moves[d] = append(moves[d], r)
			}
		}
		for domain, repos := range moves {
			if err := u.move(ctx, b, domain, repos); err != nil {
				return err
			}
		}
		if home {
			err = u.replace(ctx, b)
		} else {
			err = u.DB.Update(ctx, func(tx *meta.Tx) error { return tx.ForgetOldBlob(b) })
		}
		if errors.Is(err, meta.ErrNotFound) {
			var now meta.Blob
			err = u.DB.View(ctx, func(tx *meta.Tx) (err error) {
				now, err = tx.BlobByID(b.ID)
				return err
			})
			if err == nil && now.Location == b.Location {
				continue // another repository got it meanwhile
			}
			if errors.Is(err, meta.ErrNotFound) {
				err = nil
			}
		}
		if err != nil {
			return err
		}
		u.blobs++
		return u.removeOld(u.path(b))
	}
}

// replace gives the row of an old blob a sealed copy.
func (u *upgrade) replace(ctx context.Context, b meta.Blob) error {
	c, err := u.store(ctx, b, b.Domain)
	if err != nil {
		return err
	}
	sealed := b
	sealed.Location, sealed.DataKey, sealed.VerifiedAt = c.ID, c.DataKey, u.Now()
	err = u.DB.Update(ctx, func(tx *meta.Tx) error { return tx.SealBlob(b, sealed) })
	if errors.Is(err, meta.ErrNotFound) {
		return errors.Join(err, u.Blobs.Delete(ctx, c)) // no row ever named it
	}
	return err
}

// move gives repositories of another domain a blob of their own.
func (u *upgrade) move(ctx context.Context, b meta.Blob, domain string, repos []meta.Repository) error {
	c, err := u.store(ctx, b, domain)
	if err != nil {
		return err
	}
	return u.DB.Update(ctx, func(tx *meta.Tx) error {
		to, err := tx.EnsureBlob(meta.Blob{
			Domain: domain, Digest: b.Digest, Size: b.Size, Location: c.ID, DataKey: c.DataKey, CreatedAt: b.CreatedAt, VerifiedAt: u.Now(),
		})
		if err != nil {
			return err
		}
		for _, r := range repos {
			if err := tx.MoveMember(r.ID, b, to); err != nil && !errors.Is(err, meta.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// store seals the bytes of an old file in a domain.
func (u *upgrade) store(ctx context.Context, b meta.Blob, domain string) (_ blob.Copy, err error) {
	if _, err := os.Stat(u.path(b)); errors.Is(err, fs.ErrNotExist) {
		return blob.Copy{}, fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	}
	f, err := os.Open(u.path(b))
	if err != nil {
		return blob.Copy{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return u.seal(ctx, b, domain, f)
}

// seal stores the bytes of a blob in a new copy, provided that they are right:
// where the row says, and compressed when its copy is.
func (a *Auditor) seal(ctx context.Context, b meta.Blob, domain string, from io.Reader) (blob.Copy, error) {
	return a.copyOf(ctx, cold.Spec{Domain: domain, Digest: digest.Digest(b.Digest), Size: b.Size, Pack: b.Packed > 0, Cold: b.Cold}, from)
}

// onlyWriter keeps io.Copy to the buffer that it was given.
type onlyWriter struct{ io.Writer }

func (u *upgrade) oldManifests(ctx context.Context) error {
	var after int64
	return pages(ctx, u.DB, func(tx *meta.Tx) ([]meta.Manifest, error) { return tx.Manifests(after, manifestPage) }, func(m meta.Manifest) error {
		after = m.ImageID
		if _, ok := seal.KeyOf(m.Sealed); ok {
			return nil
		}
		d := digest.Digest(m.Digest)
		if err := d.Validate(); err != nil || d.Algorithm().FromBytes(m.Sealed) != d {
			u.left++
			u.Log.Error("a manifest of an older version is damaged: delete the image and push it again", "repository", m.Repository.Name, "digest", m.Digest)
			return nil
		}
		sealed, err := u.Ring.Seal(ctx, domainOf(m.Repository).Name(), seal.ManifestPurpose(m.Digest), m.Sealed)
		if err != nil {
			return fmt.Errorf("seal the manifest %s: %w", m.Digest, err)
		}
		err = u.DB.Update(ctx, func(tx *meta.Tx) error { return tx.ReplaceManifest(m.ImageID, m.Sealed, sealed) })
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		u.manifests++
		return err
	}, func(int) {})
}

// leftovers removes what version 1 leaves in the file system: sessions that
// cannot go on, files of rows that are gone, and empty directories.
func (u *upgrade) leftovers(ctx context.Context) error {
	if err := os.RemoveAll(filepath.Join(u.data, "uploads")); err != nil {
		return err
	}
	for _, algorithm := range []string{"sha256", "sha384", "sha512"} {
		dirs, err := filepath.Glob(filepath.Join(u.data, "blobs", "*", algorithm))
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := u.sweep(ctx, dir, filepath.Base(filepath.Dir(dir)), algorithm); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u *upgrade) sweep(ctx context.Context, dir, domain, algorithm string) error {
	shards, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		below := filepath.Join(dir, shard.Name())
		files, err := os.ReadDir(below)
		if err != nil {
			return err
		}
		for _, f := range files {
			waits := false
			err := u.DB.View(ctx, func(tx *meta.Tx) error {
				b, err := tx.Blob(domain, algorithm+":"+f.Name())
				waits = err == nil && b.DataKey == 0
				if errors.Is(err, meta.ErrNotFound) {
					return nil
				}
				return err
			})
			if err == nil && !waits {
				err = u.removeOld(filepath.Join(below, f.Name()))
			}
			if err != nil {
				return err
			}
		}
		removeEmpty(below)
	}
	removeEmpty(dir)
	return nil
}

// removeOld removes an old file and makes that last. One that is gone is no error.
func (u *upgrade) removeOld(path string) error {
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// removeEmpty removes a directory if nothing is in it; it is no harm if it stays.
func removeEmpty(dir string) { _ = os.Remove(dir) }

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
