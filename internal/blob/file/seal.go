package file

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"

	"github.com/minio/sio"

	"berth/internal/blob"
)

// NewID gives a copy an ID that nothing has, for [Seal].
func NewID() string { return strings.ToLower(rand.Text()) + "-" + newWriting() }

// SealedSize is what n bytes take as this package keeps them.
func SealedSize(n int64) int64 { return sealedSize(n) }

// Seal gives a writer that seals the bytes of a copy as this package keeps them,
// under the copy's data key and ID, and writes them to another. Closing it seals
// the last package and leaves the other open. An ID is for one sealing only.
func Seal(ctx context.Context, keys Keys, c blob.Copy, to io.Writer) (io.WriteCloser, error) {
	cfg, err := secret(ctx, keys, c.Domain, c.DataKey, c.ID)
	if err != nil {
		return nil, err
	}
	return sio.EncryptWriter(onlyWriter{to}, cfg)
}

// Unseal reads the bytes of a copy from what [Seal] wrote, or from one of this
// package's files. Reads fail with [blob.ErrDamaged] when these were changed.
func Unseal(ctx context.Context, keys Keys, c blob.Copy, from io.Reader) (io.Reader, error) {
	cfg, err := secret(ctx, keys, c.Domain, c.DataKey, c.ID)
	if err != nil {
		return nil, err
	}
	if c.Size == 0 {
		return strings.NewReader(""), nil
	}
	opened, err := sio.DecryptReader(from, cfg)
	return &exactly{from: opened, left: c.Size}, mapError(err)
}

// exactly reads a number of bytes, and fails with anything else.
type exactly struct {
	from io.Reader
	left int64
}

func (r *exactly) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.left -= int64(n)
	if r.left < 0 || err == io.EOF && r.left > 0 {
		return 0, fmt.Errorf("%w: it has another length than its row says", blob.ErrDamaged)
	}
	if err == io.EOF {
		return n, err
	}
	return n, mapError(err)
}
