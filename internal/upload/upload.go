package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/meta"
)

// Limits of ECR ("Amazon ECR service quotas").
const (
	MaxLayerSize = 52_000 << 20 // bytes in a layer
	MinPartSize  = 5 << 20      // bytes in every part but the last
)

// Errors of this package. Faults of the stores come through as they are.
var (
	ErrNotFound = errors.New("no such upload session")
	ErrNoTarget = errors.New("the repository is gone")
	ErrTooLarge = errors.New("layer is larger than 52,000 MiB")
	ErrPartSize = errors.New("a part before the last is smaller than 5 MiB")
	ErrEmpty    = errors.New("upload has no parts")
)

// An OffsetError says that bytes were sent for another place than the end of
// what the session has.
type OffsetError struct{ Have, Got int64 }

func (e *OffsetError) Error() string {
	return fmt.Sprintf("upload has %d bytes, the bytes sent start at %d", e.Have, e.Got)
}

// A DigestError says that the bytes have none of the digests claimed.
type DigestError struct{ Computed digest.Digest }

func (e *DigestError) Error() string {
	return fmt.Sprintf("digest of the bytes received is %s", e.Computed)
}

// A ClientError is a failure to read what the client sends.
type ClientError struct{ Err error }

func (e *ClientError) Error() string { return "read the request body: " + e.Err.Error() }

// Unwrap gives the reader's error.
func (e *ClientError) Unwrap() error { return e.Err }

// A Target is where a blob goes: a repository and its domain of shared bytes.
type Target struct {
	RepositoryID int64
	Domain       string
}

// A Result is a stored blob.
type Result struct {
	Digest  digest.Digest
	Size    int64
	Existed bool // the repository had it before
}

// Receiver takes uploads.
type Receiver struct {
	db    *meta.DB
	blobs blob.Store
	now   func() time.Time
	locks keyedMutex
	bufs  sync.Pool
}

// bufferSize is how much is read, hashed and written at a time: large enough
// that system calls cost little, small enough to stay in a CPU cache.
const bufferSize = 256 << 10

// New makes a receiver.
func New(db *meta.DB, blobs blob.Store, now func() time.Time) *Receiver {
	return &Receiver{db: db, blobs: blobs, now: now, bufs: sync.Pool{New: func() any {
		b := make([]byte, bufferSize)
		return &b
	}}}
}

// Start opens a session. An empty algorithm means sha256.
func (r *Receiver) Start(ctx context.Context, repositoryID int64, algorithm digest.Algorithm) (meta.Upload, error) {
	if algorithm == "" {
		algorithm = digest.SHA256
	}
	state, err := newHash(algorithm).state()
	if err != nil {
		return meta.Upload{}, err
	}
	u := meta.Upload{
		ID: uuid.NewString(), RepositoryID: repositoryID, Algorithm: algorithm.String(),
		HashState: state, CreatedAt: r.now(), UpdatedAt: r.now(),
	}
	return u, r.db.Update(ctx, func(tx *meta.Tx) error {
		if err := checkTarget(tx, repositoryID); err != nil {
			return err
		}
		return tx.InsertUpload(u)
	})
}

// checkTarget finds out in time that a repository was deleted while bytes for
// it were on their way.
func checkTarget(tx *meta.Tx, repositoryID int64) error {
	err := tx.CheckRepository(repositoryID)
	if errors.Is(err, meta.ErrNotFound) {
		return ErrNoTarget
	}
	return err
}

// Session reads the state of a session.
func (r *Receiver) Session(ctx context.Context, repositoryID int64, id string) (u meta.Upload, err error) {
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		u, err = tx.Upload(repositoryID, id)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		err = ErrNotFound
	}
	return u, err
}

// AnyOffset lets Append start wherever the session ends.
const AnyOffset = -1

// Append adds the bytes of body to a session. at is the offset they are meant
// for, or AnyOffset. When body fails half way, what came before is kept, so
// that the client can continue from there; the error is a [ClientError].
func (r *Receiver) Append(ctx context.Context, repositoryID int64, id string, at int64, body io.Reader) (meta.Upload, error) {
	unlock, err := r.locks.lock(ctx, id)
	if err != nil {
		return meta.Upload{}, err
	}
	defer unlock()
	return r.append(ctx, repositoryID, id, at, body, func(*meta.Upload, int64) {})
}

// AppendPart is Append for the parts of UploadLayerPart, whose sizes matter.
func (r *Receiver) AppendPart(ctx context.Context, repositoryID int64, id string, at int64, body io.Reader) (meta.Upload, error) {
	unlock, err := r.locks.lock(ctx, id)
	if err != nil {
		return meta.Upload{}, err
	}
	defer unlock()
	return r.append(ctx, repositoryID, id, at, body, func(u *meta.Upload, n int64) {
		if u.LastPart != 0 && u.LastPart < MinPartSize {
			u.LastPart = tooSmall
		} else {
			u.LastPart = n
		}
	})
}

// tooSmall in meta.Upload.LastPart says that some part before the last was
// smaller than MinPartSize; it stays below MinPartSize for good.
const tooSmall = -1

func (r *Receiver) append(ctx context.Context, repositoryID int64, id string, at int64, body io.Reader, note func(*meta.Upload, int64)) (meta.Upload, error) {
	u, err := r.Session(ctx, repositoryID, id)
	if err != nil {
		return u, err
	}
	if at != AnyOffset && at != u.Size {
		return u, &OffsetError{Have: u.Size, Got: at}
	}
	h, err := restoreHash(digest.Algorithm(u.Algorithm), u.HashState)
	if err != nil {
		return u, err
	}
	n, err := r.write(ctx, id, u.Size, h, body)
	var client *ClientError
	if errors.Is(err, blob.ErrNotFound) {
		return u, r.lost(ctx, u, err)
	}
	if err != nil && !errors.As(err, &client) {
		return u, err
	}
	next := u
	next.Size += n
	next.UpdatedAt = r.now()
	note(&next, n)
	if next.HashState, err = h.state(); err != nil {
		return u, err
	}
	// The bytes are here whether or not the client still listens.
	err = r.db.Update(context.WithoutCancel(ctx), func(tx *meta.Tx) error { return saveProgress(tx, next, u.Size) })
	if errors.Is(err, meta.ErrNotFound) {
		return u, errors.Join(ErrNotFound, r.blobs.Discard(ctx, id))
	}
	if err != nil {
		return u, err
	}
	if client != nil {
		return next, client
	}
	return next, nil
}

// saveProgress stores how far a session got. The lock keeps requests to this
// server apart; the size in the row keeps other servers' apart.
func saveProgress(tx *meta.Tx, next meta.Upload, from int64) error {
	err := tx.SaveUpload(next, from)
	if !errors.Is(err, meta.ErrNotFound) {
		return err
	}
	now, err := tx.Upload(next.RepositoryID, next.ID)
	if err != nil {
		return err
	}
	return &OffsetError{Have: now.Size, Got: from}
}

// write stages body at offset and hashes it on the way.
func (r *Receiver) write(ctx context.Context, id string, offset int64, h *hasher, body io.Reader) (int64, error) {
	w, err := r.blobs.Append(ctx, id, offset)
	if err != nil {
		return 0, err
	}
	buf := r.bufs.Get().(*[]byte)
	defer r.bufs.Put(buf)
	n, err := copyHashed(w, h, body, *buf, MaxLayerSize-offset)
	if cerr := w.Close(); cerr != nil {
		// Also when the client failed: what it sent may not all be here.
		return 0, cerr
	}
	return n, err
}

// lost ends a session whose acknowledged bytes are not in the store any more
// (a power cut before they reached the disk, or damage). The client has to
// start anew, as after an expired session.
func (r *Receiver) lost(ctx context.Context, u meta.Upload, err error) error {
	return errors.Join(ErrNotFound, err, r.Cancel(context.WithoutCancel(ctx), u.RepositoryID, u.ID))
}

// copyHashed copies until the end of body. The hash never has bytes that the
// writer did not take.
func copyHashed(w io.Writer, h *hasher, body io.Reader, buf []byte, limit int64) (n int64, err error) {
	for {
		k, rerr := body.Read(buf)
		if k > 0 {
			if n+int64(k) > limit {
				return n, ErrTooLarge
			}
			if _, err := w.Write(buf[:k]); err != nil {
				return n, err
			}
			h.write(buf[:k])
			n += int64(k)
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, &ClientError{rerr}
		}
	}
}

// Complete ends a session: its bytes must have one of the digests wanted. On a
// [DigestError] the session is gone, since its bytes are of no use.
func (r *Receiver) Complete(ctx context.Context, to Target, id string, want ...digest.Digest) (Result, error) {
	unlock, err := r.locks.lock(ctx, id)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	return r.complete(ctx, to, id, want)
}

// CompleteParts is Complete for sessions fed by UploadLayerPart: there must be
// parts, and only the last may be smaller than [MinPartSize].
func (r *Receiver) CompleteParts(ctx context.Context, to Target, id string, want ...digest.Digest) (Result, error) {
	unlock, err := r.locks.lock(ctx, id)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	u, err := r.Session(ctx, to.RepositoryID, id)
	switch {
	case err != nil:
		return Result{}, err
	case u.Size == 0:
		return Result{}, ErrEmpty
	case u.LastPart == tooSmall:
		return Result{}, ErrPartSize
	}
	return r.complete(ctx, to, id, want)
}

func (r *Receiver) complete(ctx context.Context, to Target, id string, want []digest.Digest) (Result, error) {
	u, err := r.Session(ctx, to.RepositoryID, id)
	if err != nil {
		return Result{}, err
	}
	h, err := restoreHash(digest.Algorithm(u.Algorithm), u.HashState)
	if err != nil {
		return Result{}, err
	}
	// Bytes beyond the row were never acknowledged nor hashed. When nothing was
	// appended, this makes the bytes of the empty blob exist.
	_, err = r.write(ctx, id, u.Size, h, eof{})
	gone := errors.Is(err, blob.ErrNotFound)
	if err != nil && !gone {
		return Result{}, err
	}
	d, err := r.match(ctx, u, h, want)
	if err != nil {
		var mismatch *DigestError
		if errors.As(err, &mismatch) {
			err = errors.Join(err, r.Cancel(ctx, to.RepositoryID, id))
		}
		return Result{}, err
	}
	key := blob.Key{Domain: to.Domain, Digest: d}
	if gone {
		err = r.committed(ctx, u, key)
	} else {
		err = r.blobs.Commit(ctx, id, key)
	}
	if err != nil {
		return Result{}, err
	}
	return r.record(ctx, to, Result{Digest: d, Size: u.Size}, func(tx *meta.Tx) error { return tx.DeleteUpload(id) })
}

// committed finds the bytes of a session that was completed before, but whose
// rows could not be written then. Without them the session is lost.
func (r *Receiver) committed(ctx context.Context, u meta.Upload, key blob.Key) error {
	f, err := r.blobs.Open(ctx, key)
	if errors.Is(err, blob.ErrNotFound) {
		return r.lost(ctx, u, err)
	}
	if err != nil {
		return err
	}
	if f.Size() != u.Size {
		err = r.lost(ctx, u, fmt.Errorf("%s has %d bytes where the upload had %d", key.Digest, f.Size(), u.Size))
	}
	return errors.Join(err, f.Close())
}

// match finds the digest wanted that the bytes have.
func (r *Receiver) match(ctx context.Context, u meta.Upload, h *hasher, want []digest.Digest) (digest.Digest, error) {
	computed := map[digest.Algorithm]digest.Digest{h.algorithm: h.sum()}
	for _, d := range want {
		a := d.Algorithm()
		if computed[a] == "" {
			other, err := r.rehash(ctx, u.ID, a)
			if err != nil {
				return "", err
			}
			computed[a] = other
		}
		if computed[a] == d {
			return d, nil
		}
	}
	return "", &DigestError{Computed: computed[h.algorithm]}
}

// rehash reads the staged bytes for a digest of another algorithm than the
// session was opened with.
func (r *Receiver) rehash(ctx context.Context, id string, a digest.Algorithm) (d digest.Digest, err error) {
	f, err := r.blobs.OpenStaged(ctx, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return a.FromReader(f)
}

// Put stores a blob that comes whole. Nothing remains of one that fails.
func (r *Receiver) Put(ctx context.Context, to Target, want digest.Digest, body io.Reader) (Result, error) {
	id := uuid.NewString()
	h := newHash(want.Algorithm())
	n, err := r.write(ctx, id, 0, h, body)
	if err == nil && h.sum() != want {
		err = &DigestError{Computed: h.sum()}
	}
	if err == nil {
		err = r.blobs.Commit(ctx, id, blob.Key{Domain: to.Domain, Digest: want})
	}
	if err != nil {
		return Result{}, errors.Join(err, r.blobs.Discard(context.WithoutCancel(ctx), id))
	}
	return r.record(ctx, to, Result{Digest: want, Size: n}, func(*meta.Tx) error { return nil })
}

// record makes durable bytes a member of the repository.
func (r *Receiver) record(ctx context.Context, to Target, res Result, also func(*meta.Tx) error) (Result, error) {
	now := r.now()
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		if err := also(tx); err != nil { // first: it knows best what is gone
			return err
		}
		if err := checkTarget(tx, to.RepositoryID); err != nil {
			return err
		}
		_, err := tx.Member(to.RepositoryID, res.Digest.String())
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		res.Existed = err == nil
		b, err := tx.EnsureBlob(meta.Blob{Domain: to.Domain, Digest: res.Digest.String(), Size: res.Size, CreatedAt: now})
		if err != nil {
			return err
		}
		return tx.AddMember(to.RepositoryID, b, now)
	})
	if errors.Is(err, meta.ErrNotFound) {
		err = ErrNotFound
	}
	return res, err
}

// Cancel ends a session and drops its bytes.
func (r *Receiver) Cancel(ctx context.Context, repositoryID int64, id string) error {
	if _, err := r.Session(ctx, repositoryID, id); err != nil {
		return err
	}
	err := r.db.Update(ctx, func(tx *meta.Tx) error { return tx.DeleteUpload(id) })
	if err != nil && !errors.Is(err, meta.ErrNotFound) {
		return err
	}
	return r.blobs.Discard(ctx, id)
}

// Expire cancels the sessions without progress since before and returns how
// many there were. A session that is receiving bytes now stays, however long
// that takes.
func (r *Receiver) Expire(ctx context.Context, before time.Time) (int, error) {
	total := 0
	for {
		var stale []meta.Upload
		err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
			stale, err = tx.StaleUploads(before, 100)
			return err
		})
		if err != nil || len(stale) == 0 {
			return total, err
		}
		busy := 0
		for _, u := range stale {
			if r.locks.held(u.ID) {
				busy++
				continue
			}
			if err := r.Cancel(ctx, u.RepositoryID, u.ID); err != nil && !errors.Is(err, ErrNotFound) {
				return total, err
			}
			total++
		}
		if busy == len(stale) {
			return total, nil
		}
	}
}

// eof is a body without bytes.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
