package upload

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"berth/internal/blob"
	"berth/internal/meta"
)

// MaxSmall is the size, in bytes, up to which a blob lies in its row, sealed as a
// manifest is, and not in the blob store: configurations and thin layers, which
// are most of all blobs and few of all bytes. There a blob costs a share of one
// commit, and in a store two flushes of a disk or a request of its own.
const MaxSmall = 16 << 10

// smallPurpose binds a sealed blob to its digest.
func smallPurpose(digest string) string { return "blob\x00" + digest }

// IsSmall tells whether a row holds the bytes itself.
func IsSmall(b meta.Blob) bool { return len(b.Sealed) > 0 }

// CopyOf is where the bytes of a row lie that does not hold them itself.
func CopyOf(b meta.Blob) blob.Copy {
	return blob.Copy{Domain: b.Domain, ID: b.Location, DataKey: b.DataKey, Size: b.Size, Packed: b.Packed, Cold: b.Cold}
}

// OpenSmall reads a blob that its row holds. It fails with [blob.ErrDamaged] when
// the row does not hold what was pushed.
func OpenSmall(ctx context.Context, s Sealer, b meta.Blob) (blob.Reader, error) {
	text, err := s.Open(ctx, b.Domain, smallPurpose(b.Digest), b.Sealed)
	if err != nil {
		return nil, err
	}
	if int64(len(text)) != b.Size {
		return nil, fmt.Errorf("%w: the row holds %d bytes and says %d", blob.ErrDamaged, len(text), b.Size)
	}
	return smallReader{bytes.NewReader(text)}, nil
}

// SealSmall gives a row the bytes of its blob, sealed by the youngest data key of
// its domain.
func SealSmall(ctx context.Context, s Sealer, b meta.Blob, text []byte) (meta.Blob, error) {
	var err error
	b.Sealed, b.DataKey, err = s.SealUnder(ctx, b.Domain, smallPurpose(b.Digest), text)
	return b, err
}

// A smallReader is a [blob.Reader] on bytes in memory.
type smallReader struct{ *bytes.Reader }

// Close implements io.Closer.
func (smallReader) Close() error { return nil }

// fill reads body until buf is full, which is no error, or body ends or fails.
func fill(body io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = body.Read(buf[n:])
		n += k
	}
	return n, err
}
