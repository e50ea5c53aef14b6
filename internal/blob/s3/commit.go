package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"berth/internal/blob"
)

// Commit implements [blob.Store]. A small blob of one round is where it belongs already, and Commit only looks at it.
func (s *Store) Commit(ctx context.Context, st blob.Stage) (blob.Copy, error) {
	cur, err := stageState(st)
	if err != nil {
		return blob.Copy{}, err
	}
	if len(st.State) == 0 {
		return blob.Copy{}, fmt.Errorf("commit blob %s: %w: it has no round of writing", st.ID, blob.ErrNotFound)
	}
	if err := s.commit(ctx, st, cur); err != nil {
		return blob.Copy{}, fail(ctx, err, "commit blob %s", st.ID)
	}
	s.sweep(ctx, s.leftovers(st, cur)...)
	return blob.Copy{Domain: st.Domain, ID: st.ID, Size: st.Size}, nil
}

// leftovers are the keys of the tails that a state tells of.
func (s *Store) leftovers(st blob.Stage, cur state) []string {
	var keys []string
	for _, mark := range []string{cur.stale, cur.tail.mark} {
		if mark != "" && (mark != cur.tail.mark || !cur.tail.final) {
			keys = append(keys, s.roundKey(st.Domain, st.ID, mark))
		}
	}
	return keys
}

func (s *Store) commit(ctx context.Context, st blob.Stage, cur state) error {
	switch {
	case cur.upload.id != "":
		err := s.complete(ctx, st, cur)
		if codeOf(err) == "InvalidPart" {
			// Somebody else commits the same stage and has just sent the last part again: its tag may be another.
			err = s.complete(ctx, st, cur)
		}
		if isMissing(err) || codeOf(err) == "InvalidPart" { // gone, going, or written over by another round
			return s.awaitCompleted(ctx, st, cur)
		}
		return err
	case cur.tail.final:
		return s.settled(ctx, st, cur.tail.mark)
	case cur.tail.mark == "":
		return s.commitEmpty(ctx, st)
	}
	b := &buffer{pool: &s.pool}
	defer b.free()
	err := s.readTail(ctx, st, cur.tail, b)
	if isMissing(err) {
		return s.settled(ctx, st, cur.tail.mark)
	}
	if err != nil {
		return err
	}
	_, err = s.put(ctx, st.Domain, s.copyKey(st.Domain, st.ID), cur.tail.mark, b, false)
	return err
}

// emptyMark is carried by copies without bytes: they are all the same.
const emptyMark = "empty"

// commitEmpty stores a blob without bytes.
func (s *Store) commitEmpty(ctx context.Context, st blob.Stage) error {
	_, err := s.put(ctx, st.Domain, s.copyKey(st.Domain, st.ID), emptyMark, &buffer{pool: &s.pool}, false)
	return err
}

// settled tells whether the object with a mark and of the stage's size lies where the copy belongs.
func (s *Store) settled(ctx context.Context, st blob.Stage, mark string) error {
	out, err := s.head(ctx, s.copyKey(st.Domain, st.ID))
	if err != nil {
		return err
	}
	if out.Metadata[markName] != mark {
		return fmt.Errorf("%w: another round's bytes are in their place", blob.ErrNotFound)
	}
	if size := aws.ToInt64(out.ContentLength); size != st.Size {
		return fmt.Errorf("%w: %d bytes are stored in place of %d", blob.ErrDamaged, size, st.Size)
	}
	return nil
}

// complete makes the tail the last part and ends the multipart upload.
func (s *Store) complete(ctx context.Context, st blob.Stage, cur state) error {
	key := s.copyKey(st.Domain, st.ID)
	parts := cur.upload.parts
	if cur.tail.mark != "" {
		b := &buffer{pool: &s.pool}
		defer b.free()
		if err := s.readTail(ctx, st, cur.tail, b); err != nil {
			return err
		}
		last, err := s.sendPart(ctx, key, cur.upload, len(parts)+1, b)
		if err != nil {
			return err
		}
		parts = append(parts[:len(parts):len(parts)], last)
	}
	done := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		done[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: aws.String(p.etag)}
		if !cur.upload.bare {
			done[i].ChecksumCRC32C = encodeCRC(p.crc)
		}
	}
	limited, cancel := within(ctx, completeTime)
	defer cancel()
	_, err := s.client.CompleteMultipartUpload(limited, &s3.CompleteMultipartUploadInput{
		Bucket: &s.options.Bucket, Key: &key, UploadId: &cur.upload.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	})
	return err
}

// awaitCompleted is completed with some patience: when somebody else commits the same stage the upload can be gone a
// moment before the object is there (versitygw does so).
func (s *Store) awaitCompleted(ctx context.Context, st blob.Stage, cur state) error {
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		err := s.completed(ctx, st, cur)
		if !isMissing(err) || pause > time.Second {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// completed tells whether the object that the upload would make is there: one with its mark, of the right size, made
// of these very parts. Rounds that began alike share the upload and so its mark; only the parts tell them apart.
func (s *Store) completed(ctx context.Context, st blob.Stage, cur state) error {
	out, err := s.head(ctx, s.copyKey(st.Domain, st.ID))
	if err != nil {
		return err
	}
	want, known := objectTag(cur)
	if out.Metadata[markName] != cur.upload.mark || aws.ToInt64(out.ContentLength) != st.Size || !known || aws.ToString(out.ETag) != want {
		return fmt.Errorf("%w: the upload is gone, and what is in its place is not known to be made of it", blob.ErrNotFound)
	}
	return nil
}

// objectTag is the entity tag of the object made of a state's parts: the MD5 of the parts' MD5s, then their number.
// S3 does not promise it, and does it ever since for objects that are not encrypted with KMS. Where a server does
// something else, a commit whose answer was lost must be begun anew, and nothing wrong is ever taken for right.
func objectTag(cur state) (tag string, ok bool) {
	var sums []byte
	parts := cur.upload.parts
	if cur.tail.mark != "" {
		parts = append(parts[:len(parts):len(parts)], cur.tail.part)
	}
	for _, p := range parts {
		sum, ok := md5Tag(p.etag)
		if !ok {
			return "", false
		}
		sums = append(sums, sum...)
	}
	sum := md5.Sum(sums)
	return fmt.Sprintf(`"%s-%d"`, hex.EncodeToString(sum[:]), len(parts)), true
}

// Discard implements [blob.Store]. It ends the multipart upload and removes tails. What lies where the copy belongs
// stays, because it may be committed; see the package's documentation.
func (s *Store) Discard(ctx context.Context, st blob.Stage) error {
	cur, err := stageState(blob.Stage{ID: st.ID, Domain: st.Domain, State: st.State, Size: st.Size})
	if errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	if cur.upload.id != "" {
		errs = append(errs, s.abort(ctx, s.copyKey(st.Domain, st.ID), cur.upload.id))
	}
	for _, key := range s.leftovers(st, cur) {
		errs = append(errs, s.remove(ctx, key))
	}
	if err := errors.Join(errs...); err != nil {
		return fail(ctx, err, "discard what is staged of blob %s", st.ID)
	}
	return nil
}

// OpenStaged implements [blob.Store]. S3 gives no access to the parts of an upload, so that one of several parts is
// completed first, as Commit does; Append can go on with it all the same, at the price of a copy within S3.
func (s *Store) OpenStaged(ctx context.Context, st blob.Stage) (io.ReadCloser, error) {
	cur, err := stageState(st)
	if err != nil {
		return nil, err
	}
	switch {
	case cur.upload.id != "":
		c, err := s.Commit(ctx, st)
		if err != nil {
			return nil, err
		}
		return s.Open(ctx, c)
	case cur.tail.mark == "":
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	// It is one part at most, and read whole it can be checked before any of it is given away.
	b := &buffer{pool: &s.pool}
	if err := s.readTail(ctx, st, cur.tail, b); err != nil {
		b.free()
		return nil, fail(ctx, err, "read what is staged of blob %s", st.ID)
	}
	return &stagedReader{Reader: b.reader(), b: b}, nil
}

// A stagedReader reads the bytes of a buffer and gives it back.
type stagedReader struct {
	io.Reader
	b *buffer
}

func (r *stagedReader) Close() error {
	r.b.free()
	return nil
}
