package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"berth/internal/blob"
)

const (
	maxResumes = 3         // requests in a row that gave less than resumeGain
	resumeGain = 1 << 20   // bytes
	maxSkip    = 128 << 10 // bytes that are cheaper to read and drop than to ask anew
)

// A reader streams a copy. It asks for the rest again when a connection breaks, as long as that gets it further.
type reader struct {
	s      *Store
	ctx    context.Context
	cancel context.CancelFunc
	copy   blob.Copy
	key    string
	etag   string // of the first answer: later ones must be of the same object

	at       int64              // where the caller reads
	body     io.ReadCloser      // nil: none is open
	end      context.CancelFunc // of the request that gave the body
	stalled  *time.Timer
	bodyAt   int64 // where the body stands
	resumes  int
	resumeAt int64
	closed   bool
}

// Open implements [blob.Store]. It asks for the whole copy at once: most callers want it, and the answer tells whether
// it is there and how long it is. A caller that seeks first pays for a second request.
func (s *Store) Open(ctx context.Context, c blob.Copy) (blob.Reader, error) {
	if err := checkNames(c.Domain, c.ID); err != nil {
		return nil, err
	}
	r := &reader{s: s, copy: c, key: s.copyKey(c.Domain, c.ID)}
	r.ctx, r.cancel = context.WithCancel(ctx)
	if err := r.request(); err != nil {
		r.cancel()
		return nil, fail(ctx, err, "open blob %s", c.ID)
	}
	return r, nil
}

// request opens the body at the caller's place.
func (r *reader) request() error {
	in := &s3.GetObjectInput{Bucket: &r.s.options.Bucket, Key: &r.key}
	if r.at > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.at))
	} else {
		in.ChecksumMode = types.ChecksumModeEnabled // the SDK checks at the end, where S3 has a sum of the whole
	}
	if r.etag != "" {
		in.IfMatch = &r.etag
	}
	// The time for an answer is bounded, that of the body is the caller's.
	ctx, end := context.WithCancel(r.ctx)
	late := time.AfterFunc(shortTime, end)
	defer func() {
		if r.body == nil {
			end()
		}
	}()
	out, err := r.s.client.GetObject(ctx, in)
	if !late.Stop() && err == nil {
		err = errors.Join(errShort, out.Body.Close())
	}
	if codeOf(err) == "PreconditionFailed" || codeOf(err) == "InvalidRange" {
		return fmt.Errorf("%w: the object was changed while it was read: %w", blob.ErrDamaged, err)
	}
	if err != nil {
		return err
	}
	if err := r.fits(out); err != nil {
		return errors.Join(err, out.Body.Close())
	}
	r.etag, r.body, r.bodyAt = aws.ToString(out.ETag), out.Body, r.at
	// The body may take any time as long as it moves.
	r.end, r.stalled = end, time.AfterFunc(shortTime, end)
	r.stalled.Stop()
	return nil
}

// fits checks that an answer is the rest of a copy of the right size.
func (r *reader) fits(out *s3.GetObjectOutput) error {
	if length := aws.ToInt64(out.ContentLength); out.ContentLength == nil || length != r.copy.Size-r.at {
		return fmt.Errorf("%w: S3 has %d bytes from %d on, and the copy %d in all", blob.ErrDamaged, length, r.at, r.copy.Size)
	}
	want := fmt.Sprintf("bytes %d-%d/%d", r.at, r.copy.Size-1, r.copy.Size)
	if got := aws.ToString(out.ContentRange); r.at > 0 && got != want {
		return fmt.Errorf("%w: S3 answers with %q where %q was asked for", blob.ErrDamaged, got, want)
	}
	return nil
}

func (r *reader) Size() int64 { return r.copy.Size }

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, fmt.Errorf("read the closed blob %s", r.copy.ID)
	}
	if r.at >= r.copy.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := r.read(p)
		if n > 0 && err == nil {
			return n, nil
		}
		if r.at-r.resumeAt >= resumeGain {
			r.resumes = 0
		}
		r.drop()
		if r.ctx.Err() != nil || r.resumes >= maxResumes || errors.Is(err, blob.ErrDamaged) || errors.Is(err, blob.ErrNotFound) {
			return 0, fail(r.ctx, err, "read blob %s at %d", r.copy.ID, r.at)
		}
		r.resumes, r.resumeAt = r.resumes+1, r.at
	}
}

// read reads from the body and opens one first where there is none at the caller's place. An error comes without
// bytes.
func (r *reader) read(p []byte) (int, error) {
	if ahead := r.at - r.bodyAt; r.body != nil && ahead != 0 {
		skipped := false
		if ahead > 0 && ahead <= maxSkip {
			_, err := io.CopyN(io.Discard, r.body, ahead)
			skipped = err == nil
		}
		if r.bodyAt = r.at; !skipped {
			r.drop()
		}
	}
	if r.body == nil {
		if err := r.request(); err != nil {
			if isMissing(err) {
				err = fmt.Errorf("%w: %w", blob.ErrNotFound, err)
			}
			return 0, err
		}
	}
	p = p[:min(int64(len(p)), r.copy.Size-r.at)]
	r.stalled.Reset(shortTime)
	defer r.stalled.Stop()
	n, err := r.body.Read(p)
	if n > 0 && r.at+int64(n) == r.copy.Size {
		// The SDK compares checksums where the body ends, so the last bytes wait for that.
		err = r.finish(err)
	}
	if err != nil && (n == 0 || !errors.Is(err, io.EOF)) {
		if !errors.Is(err, blob.ErrDamaged) && r.ctx.Err() == nil {
			err = fmt.Errorf("%w: %w: %w", blob.ErrUnavailable, errShort, err)
		}
		return 0, err
	}
	r.at, r.bodyAt = r.at+int64(n), r.bodyAt+int64(n)
	return n, nil
}

// finish reads the end of a body whose bytes have all been read.
func (r *reader) finish(err error) error {
	for tries := 0; err == nil && tries < 100; tries++ {
		var more [1]byte
		var n int
		if n, err = r.body.Read(more[:]); n > 0 {
			return fmt.Errorf("%w: S3 sends more bytes than it said", blob.ErrDamaged)
		}
	}
	if errors.Is(err, io.EOF) || err == nil {
		return nil
	}
	if strings.Contains(err.Error(), "checksum did not match") { // the SDK's error has no type that is exported
		return fmt.Errorf("%w: %w", blob.ErrDamaged, err)
	}
	return err
}

// drop closes the body. What it says does not matter: its bytes have been checked, or are not wanted.
func (r *reader) drop() {
	if r.body != nil {
		r.stalled.Stop()
		r.end()
		_ = r.body.Close()
		r.body = nil
	}
}

// Seek implements [io.Seeker]. It asks nobody; the next read does.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.copy.Size
	default:
		return 0, fmt.Errorf("seek in blob %s: %d is no origin", r.copy.ID, whence)
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek in blob %s to %d, before its beginning", r.copy.ID, offset)
	}
	r.at = offset
	return offset, nil
}

// Close implements [io.Closer]. It ends the request.
func (r *reader) Close() error {
	r.closed = true
	r.cancel()
	r.drop()
	return nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, c blob.Copy) error {
	if err := checkNames(c.Domain, c.ID); err != nil {
		return err
	}
	if err := s.remove(ctx, s.copyKey(c.Domain, c.ID)); err != nil {
		return fail(ctx, err, "delete blob %s", c.ID)
	}
	return nil
}

// maxValid is how long a signature of version 4 can be valid
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html).
const maxValid = 7 * 24 * time.Hour

// URL implements [blob.Redirector]. Signatures include the method, so the URL is good for GET alone. It asks nobody and
// does not find out whether the copy exists.
func (s *Store) URL(ctx context.Context, c blob.Copy, valid time.Duration) (string, error) {
	if err := checkNames(c.Domain, c.ID); err != nil {
		return "", err
	}
	if valid < time.Second || valid > maxValid {
		return "", fmt.Errorf("a URL of S3 is valid for one second to seven days, not for %s", valid)
	}
	key := s.copyKey(c.Domain, c.ID)
	signed, err := s.presign.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.options.Bucket, Key: &key},
		s3.WithPresignExpires(valid))
	if err != nil {
		return "", fail(ctx, err, "sign a URL for blob %s", c.ID)
	}
	return signed.URL, nil
}
