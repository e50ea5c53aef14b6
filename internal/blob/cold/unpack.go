package cold

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"berth/internal/blob"
)

// An unpacker is a [blob.Reader] of a compressed copy.
type unpacker struct {
	raw  blob.Reader
	size int64
	at   int64 // where the next read begins

	dec  *zstd.Decoder // at the place from; nil before the first read
	from int64
	seen error // what went wrong below the decoder
}

// Size implements [blob.Reader].
func (u *unpacker) Size() int64 { return u.size }

// Seek implements io.Seeker. It costs nothing; the next read may.
func (u *unpacker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += u.at
	case io.SeekEnd:
		offset += u.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of a blob")
	}
	u.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (u *unpacker) Read(p []byte) (int, error) {
	if u.at >= u.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := u.position(); err != nil {
		return 0, err
	}
	n, err := u.dec.Read(p[:min(int64(len(p)), u.size-u.at)])
	u.at += int64(n)
	u.from = u.at
	if u.at < u.size || err != nil && !errors.Is(err, io.EOF) {
		return n, u.fault(err)
	}
	return n, u.end()
}

// end makes sure, with the last byte, that nothing follows it and that the
// checksum is right.
func (u *unpacker) end() error {
	n, err := io.CopyN(io.Discard, u.dec, 1)
	if n > 0 {
		return fmt.Errorf("%w: a compressed copy has more than its %d bytes", blob.ErrDamaged, u.size)
	}
	if !errors.Is(err, io.EOF) {
		return u.fault(err)
	}
	return nil
}

// position brings the decoder to where the next read begins.
func (u *unpacker) position() error {
	if u.dec == nil || u.from > u.at {
		if _, err := u.raw.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if u.dec == nil {
			dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
			if err != nil {
				return err
			}
			u.dec = dec
		}
		u.from, u.seen = 0, nil
		if err := u.dec.Reset(below{u}); err != nil {
			return u.fault(err)
		}
	}
	n, err := io.CopyN(io.Discard, u.dec, u.at-u.from)
	u.from += n
	return u.fault(err)
}

// below remembers the errors of the store, which say more than the decoder's.
type below struct{ *unpacker }

func (b below) Read(p []byte) (int, error) {
	n, err := b.raw.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.seen = err
	}
	return n, err
}

// fault tells damage from a store that failed.
func (u *unpacker) fault(err error) error {
	switch {
	case err == nil:
		return nil
	case u.seen != nil:
		return u.seen
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: a compressed copy ends at byte %d of %d", blob.ErrDamaged, u.from, u.size)
	}
	return fmt.Errorf("%w: %w", blob.ErrDamaged, err)
}

// Close implements io.Closer.
func (u *unpacker) Close() error {
	if u.dec != nil {
		u.dec.Close()
	}
	return u.raw.Close()
}
