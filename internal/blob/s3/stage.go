package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"berth/internal/blob"
)

// maxParts is how many parts an upload may have: fewer than S3's 10,000
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html), because all of them must fit into a state.
const maxParts = 6000

// partSize is the size of part n, from 1. S3 wants at least 5 MiB. The steps keep the memory of an ordinary upload
// small (5 GiB in parts of 5 MiB) and let 6,000 parts hold 109,000 MiB; ECR's largest layer has 52,000
// (https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html).
func partSize(n int) int64 {
	switch {
	case n <= 1000:
		return 5 << 20
	case n <= 2000:
		return 8 << 20
	case n <= 4000:
		return 16 << 20
	}
	return 32 << 20
}

// staged is a round of writing. The parts that it adds and the tail that it leaves have names or places that no earlier
// state refers to, so that the stage stays as it was until the owner notes the new one.
type staged struct {
	s     *Store
	ctx   context.Context
	stage blob.Stage // as the round began
	begun state
	cur   state   // grows as parts arrive
	buf   *buffer // what is in no part yet: the old tail, then new bytes
	asked bool    // for a slot for buf
	slot  bool    // one was given
	wrote bool
	err   error // of this round; nothing more is written after one

	way    chan sent // what becomes of the part on its way; nil: none is
	closed bool
}

// sent is what became of a part.
type sent struct {
	part part
	size int64
	err  error
}

// Append implements [blob.Store]. It reads the bytes back that were too few for a part.
func (s *Store) Append(ctx context.Context, st blob.Stage) (blob.Staged, error) {
	cur, err := stageState(st)
	if err != nil {
		return nil, err
	}
	w := &staged{s: s, ctx: ctx, stage: st, begun: cur, cur: cur, buf: &buffer{pool: &s.pool}}
	w.cur.upload.parts = slices.Clone(cur.upload.parts)
	if cur.upload.id != "" {
		if err := w.findUpload(); err != nil {
			w.buf.free()
			return nil, fail(ctx, err, "continue the upload of blob %s", st.ID)
		}
	}
	if w.cur.tail.mark != "" {
		if err := s.readTail(ctx, st, w.cur.tail, w.buf); err != nil {
			w.buf.free()
			return nil, fail(ctx, err, "read what is staged of blob %s", st.ID)
		}
	}
	return w, nil
}

// findUpload sees to it that the multipart upload can go on. OpenStaged may have completed it: then the object that it
// made becomes the first part of a new one.
func (w *staged) findUpload() error {
	limited, cancel := within(w.ctx, shortTime)
	defer cancel()
	key := w.s.copyKey(w.stage.Domain, w.stage.ID)
	_, err := w.s.client.ListParts(limited, &s3.ListPartsInput{
		Bucket: &w.s.options.Bucket, Key: &key, UploadId: &w.cur.upload.id, MaxParts: aws.Int32(1),
	})
	if err == nil || !isMissing(err) {
		return err
	}
	if err := w.s.completed(w.ctx, w.stage, w.cur); err != nil {
		return err
	}
	size := w.cur.size()
	w.cur.upload, w.cur.tail, w.cur.stale = upload{}, tail{}, w.cur.tail.mark
	if err := w.create(true); err != nil {
		return err
	}
	if err := w.copyParts(key, size); err != nil {
		return errors.Join(err, w.undo())
	}
	return nil
}

// maxCopy is the most that one request copies into a part
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html); half of it keeps the rest above 5 MiB.
const maxCopy = 5 << 30

// copyParts makes the object at a key the first parts of the upload.
func (w *staged) copyParts(key string, size int64) error {
	source := w.s.options.Bucket + "/" + key // of characters that need no escape
	for at := int64(0); at < size; {
		n := size - at
		if n > maxCopy {
			n = maxCopy / 2
		}
		limited, cancel := within(w.ctx, completeTime)
		out, err := w.s.client.UploadPartCopy(limited, &s3.UploadPartCopyInput{
			Bucket: &w.s.options.Bucket, Key: &key, UploadId: &w.cur.upload.id, CopySource: &source,
			PartNumber:      aws.Int32(int32(len(w.cur.upload.parts) + 1)),
			CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", at, at+n-1)),
		})
		cancel()
		if err != nil {
			return err
		}
		if out.CopyPartResult == nil {
			return errShort
		}
		w.cur.upload.parts = append(w.cur.upload.parts, part{etag: aws.ToString(out.CopyPartResult.ETag)})
		w.cur.upload.size, at = w.cur.upload.size+n, at+n
	}
	return nil
}

// create begins the multipart upload. Unless it is bare S3 checks at the end that every part has the checksum with which
// it was sent (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
func (w *staged) create(bare bool) error {
	mode, keyID, err := w.s.encryption(w.ctx, w.stage.Domain)
	if err != nil {
		return err
	}
	limited, cancel := within(w.ctx, shortTime)
	defer cancel()
	mark := newMark()
	key := w.s.copyKey(w.stage.Domain, w.stage.ID)
	in := &s3.CreateMultipartUploadInput{
		Bucket: &w.s.options.Bucket, Key: &key, Metadata: map[string]string{markName: mark},
		ServerSideEncryption: mode, SSEKMSKeyId: keyID,
	}
	if !bare {
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc32c, types.ChecksumTypeComposite
	}
	out, err := w.s.client.CreateMultipartUpload(limited, in)
	if err != nil {
		return err
	}
	id := aws.ToString(out.UploadId)
	if id == "" || len(id) > maxUploadID {
		return fmt.Errorf("S3 gave a multipart upload an ID of %d bytes", len(id))
	}
	w.cur.upload = upload{id: id, mark: mark, bare: bare}
	return nil
}

// sendPart uploads part n of a multipart upload. To a bare one it goes with an MD5 sum in place of a CRC-32C, since S3
// takes only checksums of the kind with which the upload was begun.
func (s *Store) sendPart(ctx context.Context, key string, to upload, n int, b *buffer) (part, error) {
	limited, cancel := within(ctx, transferTime)
	defer cancel()
	crc := b.checksum()
	in := &s3.UploadPartInput{
		Bucket: &s.options.Bucket, Key: &key, UploadId: &to.id, PartNumber: aws.Int32(int32(n)),
		Body: b.reader(), ContentLength: &b.size,
	}
	if to.bare {
		in.ContentMD5 = aws.String(base64.StdEncoding.EncodeToString(b.md5()))
	} else {
		in.ChecksumCRC32C = encodeCRC(crc)
	}
	out, err := s.client.UploadPart(limited, in)
	if err != nil {
		return part{}, err
	}
	return part{etag: aws.ToString(out.ETag), crc: crc}, nil
}

// Write implements [io.Writer].
func (w *staged) Write(p []byte) (int, error) {
	if w.closed {
		return 0, fmt.Errorf("write to the closed stage of blob %s", w.stage.ID)
	}
	if w.err != nil {
		return 0, w.err
	}
	written := 0
	for len(p) > 0 {
		// A full buffer waits for one more byte: a blob that just fits shall stay one object.
		if w.buf.size >= w.s.partSize(w.next()) {
			if err := w.flush(); err != nil {
				w.err = fail(w.ctx, err, "write part %d of blob %s", w.next(), w.stage.ID)
				return written, w.err
			}
		}
		limit := w.s.partSize(w.next())
		if !w.asked && w.buf.size >= slotFrom {
			w.reserve()
		} else if !w.asked {
			limit = slotFrom
		}
		n := w.buf.write(p, limit)
		written, p, w.wrote = written+n, p[n:], true
	}
	return written, nil
}

// reserve waits a while for a slot, and goes on without one.
func (w *staged) reserve() {
	w.asked = true
	patience := time.NewTimer(w.s.slotWait)
	defer patience.Stop()
	select {
	case w.s.slots <- struct{}{}:
		w.slot = true
	case <-patience.C:
	case <-w.ctx.Done():
	}
}

// release gives the slot back.
func (w *staged) release() {
	if w.slot {
		<-w.s.slots
	}
	w.asked, w.slot = false, false
}

// next is the number of the part that the buffer will be, once the one on its way has arrived.
func (w *staged) next() int {
	n := len(w.cur.upload.parts) + 1
	if w.way != nil {
		n++
	}
	return n
}

// flush sends the buffer on its way as a part, after the one before it has arrived.
func (w *staged) flush() error {
	if err := w.arrive(); err != nil {
		return err
	}
	if len(w.cur.upload.parts) >= maxParts-1 { // the tail needs one
		return fmt.Errorf("it is larger than %d parts hold", maxParts)
	}
	if w.cur.upload.id == "" {
		if err := w.create(false); err != nil {
			return err
		}
	}
	key := w.s.copyKey(w.stage.Domain, w.stage.ID)
	to, n, full := w.cur.upload, w.next(), w.buf
	held, way := w.slot, make(chan sent, 1)
	w.way, w.buf, w.asked, w.slot = way, &buffer{pool: &w.s.pool}, false, false
	go func() {
		p, err := w.s.sendPart(w.ctx, key, to, n, full)
		size := full.size
		full.free()
		if held {
			<-w.s.slots
		}
		way <- sent{p, size, err}
	}()
	return nil
}

// arrive waits for the part on its way.
func (w *staged) arrive() error {
	if w.way == nil {
		return nil
	}
	result := <-w.way
	w.way = nil
	if result.err == nil {
		w.cur.upload.parts = append(w.cur.upload.parts, result.part)
		w.cur.upload.size += result.size
	}
	return result.err
}

// Close implements [blob.Staged].
func (w *staged) Close() (blob.Stage, error) {
	if w.closed {
		return w.stage, fmt.Errorf("close the stage of blob %s twice", w.stage.ID)
	}
	w.closed = true
	defer func() {
		w.buf.free()
		w.release()
	}()
	if err := w.arrive(); err != nil && w.err == nil {
		w.err = fail(w.ctx, err, "write part %d of blob %s", w.next(), w.stage.ID)
	}
	if w.err == nil && w.wrote {
		if err := w.leave(); err != nil {
			w.err = fail(w.ctx, err, "store the end of what is staged of blob %s", w.stage.ID)
		}
	}
	var next blob.Stage
	if w.err == nil {
		next, w.err = w.result()
	}
	if w.err != nil {
		return w.stage, errors.Join(w.err, w.undo())
	}
	if w.wrote && w.begun.stale != "" {
		w.s.sweep(w.ctx, w.s.roundKey(w.stage.Domain, w.stage.ID, w.begun.stale))
	}
	return next, nil
}

func (w *staged) result() (blob.Stage, error) {
	next := w.stage
	next.Size = w.cur.size()
	encoded, err := w.cur.encode()
	next.State = encoded
	return next, err
}

// leave stores what is in the buffer: as a part where it is one, else as the tail.
func (w *staged) leave() error {
	if old := w.cur.tail; old.mark != "" && !old.final {
		w.cur.stale = old.mark
	} else if w.cur.stale == w.begun.stale {
		w.cur.stale = "" // Close removes it
	}
	w.cur.tail = tail{}
	if w.buf.size == 0 {
		return nil
	}
	if w.cur.upload.id != "" && w.buf.size >= w.s.partSize(w.next()) {
		if err := w.flush(); err != nil {
			return err
		}
		return w.arrive()
	}
	t := tail{mark: newMark(), size: w.buf.size}
	var err error
	if w.begun.size() == 0 && w.cur.upload.id == "" {
		if t.part, t.final, err = w.putFirst(t.mark); err != nil {
			return err
		}
	}
	if !t.final {
		t.part, err = w.s.put(w.ctx, w.stage.Domain, w.s.roundKey(w.stage.Domain, w.stage.ID, t.mark), t.mark, w.buf, false)
	}
	w.cur.tail = t
	return err
}

// putFirst puts the bytes where the copy will be, if nothing is there. Something can be: what another round wrote that
// began where this one did and was never acknowledged, or was.
func (w *staged) putFirst(mark string) (p part, ok bool, err error) {
	key := w.s.copyKey(w.stage.Domain, w.stage.ID)
	p, err = w.s.put(w.ctx, w.stage.Domain, key, mark, w.buf, true)
	if err == nil {
		return p, true, nil
	}
	if code := codeOf(err); code != "PreconditionFailed" && code != "ConditionalRequestConflict" {
		return p, false, err
	}
	// It may be our own, when the answer to an earlier attempt was lost.
	out, err := w.s.head(w.ctx, key)
	switch {
	case isMissing(err):
		return p, false, nil
	case err != nil:
		return p, false, err
	}
	return part{etag: aws.ToString(out.ETag), crc: w.buf.checksum()}, out.Metadata[markName] == mark, nil
}

// undo removes what a failed round left, as far as no earlier state needs it. Parts stay where they are: the next round
// writes over them.
func (w *staged) undo() error {
	ctx := context.WithoutCancel(w.ctx)
	var errs []error
	if id := w.cur.upload.id; id != "" && id != w.begun.upload.id {
		errs = append(errs, w.s.abort(ctx, w.s.copyKey(w.stage.Domain, w.stage.ID), id))
	}
	if t := w.cur.tail; t.mark != "" && t.mark != w.begun.tail.mark && !t.final {
		errs = append(errs, w.s.remove(ctx, w.s.roundKey(w.stage.Domain, w.stage.ID, t.mark)))
	}
	return errors.Join(errs...)
}
