package cold

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
)

// MinSaving is how many percent of a layer compressing it must save: less is not
// worth that a restore decompresses it. docs/performance.md has what was measured.
const MinSaving = 10

// A layer is judged by samples from all over it.
const (
	samples    = 4
	sampleSize = 256 << 10
)

// Saves tells whether packed bytes save enough of size.
func Saves(packed, size int64) bool { return packed <= size-size*MinSaving/100 }

// Worth measures on samples of the bytes of r, 1 MiB at most, whether compressing
// them would save enough. It leaves r at any place.
func Worth(r io.ReadSeeker, size int64) (bool, error) {
	enc, err := encoder(nil)
	if err != nil {
		return false, err
	}
	var read, packed int64
	buf, out := make([]byte, min(size, sampleSize)), []byte(nil)
	for i := range int64(samples) {
		at := i * sampleSize
		if size > samples*sampleSize {
			at = i * (size - sampleSize) / (samples - 1)
		}
		if at >= size {
			break
		}
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			return false, err
		}
		n, err := io.ReadFull(r, buf[:min(int64(len(buf)), size-at)])
		if err != nil {
			return false, fmt.Errorf("read a sample at byte %d: %w", at, err)
		}
		out = enc.EncodeAll(buf[:n], out[:0])
		read, packed = read+int64(n), packed+int64(len(out))
	}
	return read > 0 && Saves(packed, read), nil
}

// encoder compresses at the default level, on one core: the next one takes nearly
// three times the processor for 2 % of the bytes (docs/performance.md).
func encoder(w io.Writer) (*zstd.Encoder, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
}

// ErrMismatch says that bytes have another digest than their row.
var ErrMismatch = fmt.Errorf("%w: they have another digest", blob.ErrDamaged)

// A Spec says what is to be written.
type Spec struct {
	Domain string
	Digest digest.Digest
	Size   int64
	Pack   bool // compress it with zstd
	Cold   bool // write it to the second store
}

// Write stores the bytes of from in a new copy, durable when it returns, provided
// that they are what the spec says; otherwise it fails with [ErrMismatch].
func Write(ctx context.Context, s blob.Store, spec Spec, from io.Reader) (blob.Copy, error) {
	in, _ := Route(s, blob.Copy{Cold: spec.Cold})
	stage := blob.Stage{ID: uuid.NewString(), Domain: spec.Domain}
	w, err := in.Append(ctx, stage)
	if err != nil {
		return blob.Copy{}, err
	}
	verifier := spec.Digest.Verifier()
	n, err := fill(w, spec.Pack, io.TeeReader(from, verifier))
	next, cerr := w.Close()
	if cerr == nil {
		stage = next
	}
	if err = errors.Join(err, cerr); err == nil && (n != spec.Size || !verifier.Verified()) {
		err = ErrMismatch
	}
	var c blob.Copy
	if err == nil {
		c, err = in.Commit(ctx, stage)
	}
	if err != nil {
		return c, errors.Join(err, in.Discard(context.WithoutCancel(ctx), stage))
	}
	if c.Cold = spec.Cold; spec.Pack {
		c.Packed, c.Size = c.Size, spec.Size
	}
	return c, nil
}

// fill copies bytes to w, compressed where that is asked for, and counts those that came.
func fill(w io.Writer, pack bool, from io.Reader) (n int64, err error) {
	to := w
	if pack {
		enc, eerr := encoder(w)
		if eerr != nil {
			return 0, eerr
		}
		defer func() { err = errors.Join(err, enc.Close()) }()
		to = enc
	}
	return io.CopyBuffer(onlyWriter{to}, from, make([]byte, 256<<10))
}

// onlyWriter keeps io.CopyBuffer to the buffer that it was given.
type onlyWriter struct{ io.Writer }
