// Package blob is the contract for stored bytes.
//
// A [Store] knows bytes by digest within a domain (what may share one copy: an
// account and its encryption key) and nothing about repositories or rights.
//
// # Guarantees
//
//   - When Commit returns nil the bytes are durable under their key: they and
//     the name that leads to them survive a power cut.
//   - Nothing is ever rewritten in place. A key either has all of its bytes or
//     does not exist.
//   - The store does not decide what may be deleted; rows do, before it is asked.
package blob

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
)

// ErrNotFound says that no bytes are stored under the key or staging id.
var ErrNotFound = errors.New("no such blob")

// ErrNoSpace says that the store is full. Nothing of the write is kept that
// was not there before.
var ErrNoSpace = errors.New("no space left in the blob store")

// A Key names stored bytes.
type Key struct {
	Domain string
	Digest digest.Digest
}

// A Store keeps bytes. Bytes first arrive in a staging area under an id of the
// caller's choice, since their digest is known only at the end.
type Store interface {
	// Append continues the staging object id at offset, dropping whatever was
	// staged beyond it (bytes that were received but never acknowledged).
	// Offset 0 creates the object.
	Append(ctx context.Context, id string, offset int64) (Staged, error)
	// OpenStaged reads the staged bytes.
	OpenStaged(ctx context.Context, id string) (io.ReadCloser, error)
	// Commit moves a closed staging object to its key, durably.
	Commit(ctx context.Context, id string, key Key) error
	// Discard removes a staging object; a missing one is no error.
	Discard(ctx context.Context, id string) error
	// Open reads a blob.
	Open(ctx context.Context, key Key) (Reader, error)
	// Delete removes a blob; a missing one is no error.
	Delete(ctx context.Context, key Key) error
}

// Staged is a staging object open for writing at its end.
type Staged interface {
	io.Writer
	// Close ends this round of writing and reports any error that a write left
	// behind. It does not make the bytes durable; Commit does.
	Close() error
}

// A Reader reads the bytes of one blob, from anywhere in it.
type Reader interface {
	io.ReadSeekCloser
	// Size is the number of bytes stored.
	Size() int64
}

// A Checker reports whether the store can take and give bytes now.
type Checker interface {
	Check(ctx context.Context) error
}
