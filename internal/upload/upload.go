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

// A Sealer seals what a session needs to go on, which has bytes of the blob in it.
type Sealer interface {
	Seal(ctx context.Context, domain, purpose string, text []byte) ([]byte, error)
	// SealUnder is Seal that tells the number of the data key too.
	SealUnder(ctx context.Context, domain, purpose string, text []byte) (sealed []byte, dataKey int64, err error)
	Open(ctx context.Context, domain, purpose string, sealed []byte) ([]byte, error)
}

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
	// MaxSmall is [MaxSmall] unless it is changed before the receiver is used;
	// when it is negative, all bytes go to the blob store.
	MaxSmall int

	db    *meta.DB
	blobs blob.Store
	seal  Sealer
	now   func() time.Time
	locks keyedMutex
	bufs  sync.Pool
}

// bufferSize is how much is read, hashed and written at a time: large enough
// that system calls cost little, small enough to stay in a CPU cache.
const bufferSize = 256 << 10

// New makes a receiver.
func New(db *meta.DB, blobs blob.Store, seal Sealer, now func() time.Time) *Receiver {
	return &Receiver{MaxSmall: MaxSmall, db: db, blobs: blobs, seal: seal, now: now, bufs: sync.Pool{New: func() any {
		b := make([]byte, bufferSize)
		return &b
	}}}
}

// Start opens a session. An empty algorithm means sha256.
func (r *Receiver) Start(ctx context.Context, to Target, algorithm digest.Algorithm) (meta.Upload, error) {
	if algorithm == "" {
		algorithm = digest.SHA256
	}
	u := meta.Upload{
		ID: uuid.NewString(), RepositoryID: to.RepositoryID, Domain: to.Domain, Algorithm: algorithm.String(),
		CreatedAt: r.now(), UpdatedAt: r.now(),
	}
	var err error
	if u.State, err = r.encode(ctx, u, &session{hash: newHash(algorithm)}); err != nil {
		return meta.Upload{}, err
	}
	// Relaxed: a session is worth nothing without its bytes, which are not
	// flushed before they are a blob. After a power cut the client starts anew.
	return u, r.db.UpdateRelaxed(ctx, func(tx *meta.Tx) error {
		if err := checkTarget(tx, to.RepositoryID); err != nil {
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
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
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
	s, err := r.decode(ctx, u)
	if err != nil {
		return u, err
	}
	err = r.write(ctx, s, body)
	var client *ClientError
	if errors.Is(err, blob.ErrNotFound) {
		return u, r.lost(ctx, u, err)
	}
	if err != nil && !errors.As(err, &client) {
		return u, err
	}
	next := u
	next.Size = s.size()
	next.UpdatedAt = r.now()
	note(&next, next.Size-u.Size)
	// The bytes are here whether or not the client still listens.
	ctx = context.WithoutCancel(ctx)
	if next.State, err = r.encode(ctx, next, s); err != nil {
		return u, err
	}
	err = r.db.UpdateRelaxed(ctx, func(tx *meta.Tx) error { return saveProgress(tx, next, u.Size) })
	if errors.Is(err, meta.ErrNotFound) {
		return u, ErrNotFound // whoever ended the session saw to its bytes; an audit finds what came since
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

// lost ends a session whose acknowledged bytes are not in the store any more
// (a power cut before they reached the disk, or damage). The client has to
// start anew, as after an expired session.
func (r *Receiver) lost(ctx context.Context, u meta.Upload, err error) error {
	return errors.Join(ErrNotFound, err, r.end(context.WithoutCancel(ctx), u))
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
		if rerr != nil {
			return n, clientError(rerr)
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
	s, err := r.decode(ctx, u)
	if err != nil {
		return Result{}, err
	}
	d, err := r.match(ctx, s, want)
	if err != nil {
		var mismatch *DigestError
		if errors.As(err, &mismatch) {
			err = errors.Join(err, r.end(context.WithoutCancel(ctx), u))
		}
		return Result{}, err
	}
	b, err := r.keep(ctx, s, d)
	if errors.Is(err, blob.ErrNotFound) {
		return Result{}, r.lost(ctx, u, err)
	}
	if err != nil {
		return Result{}, err
	}
	return r.record(ctx, to, b, func(tx *meta.Tx) error { return tx.DeleteUpload(id) })
}

// match finds the digest wanted that the bytes have.
func (r *Receiver) match(ctx context.Context, s *session, want []digest.Digest) (digest.Digest, error) {
	computed := map[digest.Algorithm]digest.Digest{s.hash.algorithm: s.hash.sum()}
	for _, d := range want {
		a := d.Algorithm()
		if computed[a] == "" {
			other, err := r.rehash(ctx, s, a)
			if err != nil {
				return "", err
			}
			computed[a] = other
		}
		if computed[a] == d {
			return d, nil
		}
	}
	return "", &DigestError{Computed: computed[s.hash.algorithm]}
}

// rehash reads the bytes for a digest of another algorithm than the
// session was opened with.
func (r *Receiver) rehash(ctx context.Context, s *session, a digest.Algorithm) (d digest.Digest, err error) {
	f, err := r.open(ctx, s)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return a.FromReader(f)
}

// Put stores a blob that comes whole. Nothing remains of one that fails.
func (r *Receiver) Put(ctx context.Context, to Target, want digest.Digest, body io.Reader) (Result, error) {
	return r.PutVerified(ctx, to, want, body, func() {})
}

// PutVerified is Put, and calls verified when all bytes are here and have the
// digest, before they are durable and a blob: for those to whom they matter
// whether or not they are kept.
func (r *Receiver) PutVerified(ctx context.Context, to Target, want digest.Digest, body io.Reader, verified func()) (Result, error) {
	s := &session{hash: newHash(want.Algorithm()), stage: blob.Stage{ID: uuid.NewString(), Domain: to.Domain}}
	err := r.write(ctx, s, body)
	if err == nil && s.hash.sum() != want {
		err = &DigestError{Computed: s.hash.sum()}
	}
	var b meta.Blob
	if err == nil {
		verified()
		b, err = r.keep(ctx, s, want)
	}
	if err != nil {
		return Result{}, errors.Join(err, r.discard(ctx, s))
	}
	return r.record(ctx, to, b, func(*meta.Tx) error { return nil })
}

// keep gives the row of a blob: with its bytes, when they are few, else with the
// copy that they are by now, durably.
func (r *Receiver) keep(ctx context.Context, s *session, d digest.Digest) (meta.Blob, error) {
	now := r.now()
	b := meta.Blob{Domain: s.stage.Domain, Digest: d.String(), Size: s.size(), Location: s.stage.ID, CreatedAt: now, VerifiedAt: now}
	if !s.staged() {
		return SealSmall(ctx, r.seal, b, s.small)
	}
	c, err := r.blobs.Commit(ctx, s.stage)
	b.Location, b.DataKey, b.Size = c.ID, c.DataKey, c.Size
	return b, err
}

// record makes durable bytes a member of the repository. When it fails, the
// bytes stay where they are: the rows may have been kept nevertheless, and if
// not, an audit finds them.
func (r *Receiver) record(ctx context.Context, to Target, b meta.Blob, also func(*meta.Tx) error) (Result, error) {
	res := Result{Digest: digest.Digest(b.Digest), Size: b.Size}
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		if err := also(tx); err != nil { // first: it knows best what is gone
			return err
		}
		if err := checkTarget(tx, to.RepositoryID); err != nil {
			return err
		}
		// The key may have been retired while the bytes came.
		if err := tx.CheckDataKey(b.DataKey); err != nil {
			return err
		}
		_, err := tx.Member(to.RepositoryID, b.Digest)
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		res.Existed = err == nil
		kept, err := tx.EnsureBlob(b)
		if err != nil {
			return err
		}
		return tx.AddMember(to.RepositoryID, kept, b.CreatedAt)
	})
	if errors.Is(err, meta.ErrNotFound) {
		err = ErrNotFound
	}
	return res, err
}

// Cancel ends a session and drops its bytes.
func (r *Receiver) Cancel(ctx context.Context, repositoryID int64, id string) error {
	u, err := r.Session(ctx, repositoryID, id)
	if err != nil {
		return err
	}
	return r.end(ctx, u)
}

// end removes a session's row, and its bytes if it was this call that did. A
// session that somebody else ended may have become a blob.
func (r *Receiver) end(ctx context.Context, u meta.Upload) error {
	s, err := r.decode(ctx, u)
	if err != nil {
		// Without its state the bytes cannot be found from here; an audit does.
		s = &session{stage: blob.Stage{ID: u.ID, Domain: u.Domain, State: []byte{}}}
	}
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.DeleteUpload(u.ID); err != nil {
			return err
		}
		if !s.staged() {
			return nil
		}
		// A store may keep a small stage where its copy would be, and cannot tell
		// the two apart. No row names that copy now, and none ever will.
		return tx.AddTrash(meta.Trash{Location: u.ID, Domain: u.Domain, Since: r.now()})
	})
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.discard(ctx, s)
}

// Expire ends the sessions without progress since before, and those whose
// repository is gone, and returns how many there were. A session that is
// receiving bytes now stays, however long that takes.
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
			if err := r.end(ctx, u); err != nil {
				return total, err
			}
			total++
		}
		if busy == len(stale) {
			return total, nil
		}
	}
}
