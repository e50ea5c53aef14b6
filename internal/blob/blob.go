// Package blob is the contract for stored bytes.
//
// A [Store] keeps copies of bytes within domains (what may share one copy: an
// account and its encryption key). It knows nothing about digests,
// repositories or rights; rows do.
//
// # Guarantees
//
//   - When Commit returns nil the bytes are durable: they and the name that
//     leads to them survive a power cut.
//   - Nothing is ever rewritten in place. A copy either has all of its bytes or
//     does not exist, and its ID is never used again, so that removing one copy
//     can never touch another that was stored meanwhile.
//   - The store does not decide what may be deleted; rows do, before it is asked.
package blob

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrNotFound says that the copy or the staged bytes asked for do not exist.
var ErrNotFound = errors.New("no such blob")

// ErrNoSpace says that the store is full. Nothing of the write is kept that
// was not there before.
var ErrNoSpace = errors.New("no space left in the blob store")

// ErrUnavailable says that the store cannot be reached now. The same call may
// succeed later.
var ErrUnavailable = errors.New("the blob store is unavailable")

// ErrDamaged says that stored bytes are not what was stored: they are too
// short, too long or changed.
var ErrDamaged = errors.New("the stored bytes are damaged")

// A Copy names one stored copy of some bytes.
type Copy struct {
	Domain  string // what may share the copy: [A-Za-z0-9][A-Za-z0-9._-]{0,127}
	ID      string // given by the store: [a-z0-9-]{1,64}
	DataKey int64  // what sealed it; 0 when the store does not seal itself
	Size    int64  // bytes, as they were before they were sealed
	// Packed and Cold are of copies that were moved for the archive (package cold);
	// other stores know only those where both are zero.
	Packed int64 // bytes before they were sealed, when they are compressed with zstd
	Cold   bool  // in the second store
}

// A Stage is bytes on their way in, as their owner remembers them between two
// rounds of writing, over restarts and from one server to another.
type Stage struct {
	ID     string // of the owner's choice, never used twice: [a-z0-9-]{1,64}
	Domain string // that the bytes will belong to
	Size   int64  // bytes acknowledged; what lies beyond them is dropped
	// State is what the store needs to go on, at most 128 KiB; nil before the
	// first round. It may hold bytes as they came, so its owner keeps it sealed.
	State []byte
}

// A Store keeps bytes. They arrive in stages, since their digest is known only
// at the end.
type Store interface {
	// Append continues a stage at its Size, dropping whatever was written beyond
	// it (bytes that were received but never acknowledged). A stage without
	// State is created. ErrNotFound: acknowledged bytes are gone.
	Append(ctx context.Context, s Stage) (Staged, error)
	// OpenStaged reads the bytes of a stage between two rounds.
	OpenStaged(ctx context.Context, s Stage) (io.ReadCloser, error)
	// Commit makes the bytes of a stage durable and gives their copy. To commit
	// a stage again gives the same copy, as long as it was not deleted. The ID of
	// the copy is the stage's, or the stage's with a dash and more behind it.
	// ErrNotFound: acknowledged bytes are gone.
	Commit(ctx context.Context, s Stage) (Copy, error)
	// Discard removes what there is of a stage that was not committed; one that
	// is not there is no error, and a copy that it became stays.
	Discard(ctx context.Context, s Stage) error
	// Open reads a copy. It fails with ErrDamaged when the length of what is
	// stored does not fit the copy's size.
	Open(ctx context.Context, c Copy) (Reader, error)
	// Delete removes a copy; one that is not there is no error.
	Delete(ctx context.Context, c Copy) error
}

// Staged is a stage open for writing at its end.
type Staged interface {
	io.Writer
	// Close ends this round of writing: it reports any error that a write left
	// behind and returns the stage with what was written. It does not make the
	// bytes durable; Commit does. On an error the stage is as it was before.
	Close() (Stage, error)
}

// A Reader reads the bytes of one copy, from anywhere in it. A read fails with
// ErrDamaged rather than give bytes that were not stored.
type Reader interface {
	io.ReadSeekCloser
	// Size is the number of bytes stored.
	Size() int64
}

// A Checker reports whether the store can take and give bytes now.
type Checker interface {
	Check(ctx context.Context) error
}

// An Object is something that a store holds, found by looking and not by name.
type Object struct {
	Domain   string // empty when the store cannot tell
	ID       string // of the copy; of what is staged, it begins with the id of the stage
	Staged   bool
	Size     int64     // bytes it takes in the store, which may seal and pad them
	Modified time.Time // of its last write
	Cold     bool      // in the second store (package cold)
}

// A Lister finds everything that a store holds, for the audits that compare it
// with the rows. No request waits for a listing.
type Lister interface {
	// List calls fn for each object, in no order. Objects that come or go
	// meanwhile may be missed. An error of fn ends the listing and is returned.
	List(ctx context.Context, fn func(Object) error) error
	// Remove removes an object that List found; a missing one is no error.
	Remove(ctx context.Context, o Object) error
}

// Sealed is a copy as the store holds it.
type Sealed interface {
	io.ReadCloser
	// Size is the number of bytes that it takes in the store.
	Size() int64
	// Path is the file that it is, which never changes; empty when it is none.
	Path() string
}

// A Porter gives copies as it holds them, and takes them in again, for backups.
type Porter interface {
	// Sealed opens a copy without unsealing it.
	Sealed(ctx context.Context, c Copy) (Sealed, error)
	// Import stores what Sealed gave for the same copy, durable when it returns.
	// It fails with ErrDamaged when the length does not fit the copy's size.
	Import(ctx context.Context, c Copy, from io.Reader) error
}

// A Redirector can let clients fetch bytes from the place where they are kept.
type Redirector interface {
	// URL is where anyone may GET or HEAD the copy for the time given.
	URL(ctx context.Context, c Copy, valid time.Duration) (string, error)
}
