package s3

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"berth/internal/blob"
)

// Limits on the time of one operation with all its attempts. They end what hangs; what moves needs far less: 5 MiB in
// five minutes are 18 KB a second.
const (
	shortTime    = time.Minute      // a request without bytes to speak of
	transferTime = 5 * time.Minute  // up to one part
	completeTime = 15 * time.Minute // S3 puts a large object together: "several minutes", says its documentation
)

// markName is the user metadata that says of which round or multipart upload an object is
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html).
const markName = "berth-round"

// Store is a [blob.Store] in a bucket. It is also a [blob.Checker], a [blob.Lister] and a [blob.Redirector].
type Store struct {
	client  *s3.Client
	presign *s3.PresignClient
	options Options
	log     *slog.Logger
	pool    pool
	slots   chan struct{} // one for each buffer of more than slotFrom bytes, filling or on its way

	slotWait time.Duration     // for a slot
	partSize func(n int) int64 // of part n, from 1
}

var (
	_ blob.Store      = (*Store)(nil)
	_ blob.Checker    = (*Store)(nil)
	_ blob.Lister     = (*Store)(nil)
	_ blob.Redirector = (*Store)(nil)
)

// Large buffers wait for one of maxSlots, so that many uploads at once take little more memory than a few: they share
// one way to S3 in any case. The wait is bounded, since clients that send slowly must not keep others out.
const (
	maxSlots = 16
	slotFrom = 1 << 20
	slotWait = 2 * time.Second
)

// Open makes a store and checks that its bucket can be reached.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	client, err := newClient(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		client: client, presign: s3.NewPresignClient(client), options: o, log: o.Log,
		slots: make(chan struct{}, maxSlots), slotWait: slotWait, partSize: partSize,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, s.reach(ctx)
}

// Names become elements of keys, so their alphabets are closed: those of [blob.Copy] and [blob.Stage].
var (
	idPattern     = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	domainPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

func checkNames(domain, id string) error {
	if !domainPattern.MatchString(domain) {
		return fmt.Errorf("blob domain %q is not of the form %s", domain, domainPattern)
	}
	if !idPattern.MatchString(id) {
		return fmt.Errorf("blob ID %q is not of the form %s", id, idPattern)
	}
	return nil
}

func (s *Store) key(elements ...string) string {
	if s.options.Prefix != "" {
		elements = append([]string{s.options.Prefix}, elements...)
	}
	return strings.Join(elements, "/")
}

func (s *Store) copyKey(domain, id string) string { return s.key("blobs", domain, id) }

func (s *Store) roundKey(domain, id, round string) string { return s.key("uploads", domain, id, round) }

// newMark is a name for a round or a multipart upload that no other has.
func newMark() string { return strings.ToLower(rand.Text()) }

// within bounds the time of an operation. When the bound ends it, and not the caller, the error is of a connection.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
}

// encryption is how the objects of a domain are encrypted.
func (s *Store) encryption(ctx context.Context, domain string) (mode types.ServerSideEncryption, keyID *string, err error) {
	sse, key := s.options.SSE, s.options.KMSKeyID
	if s.options.Encryption != nil {
		if sse, key, err = s.options.Encryption(ctx, domain); err != nil {
			return "", nil, fmt.Errorf("find the encryption of domain %s: %w", domain, err)
		}
		if err := checkEncryption(sse, key); err != nil {
			return "", nil, fmt.Errorf("the encryption of domain %s: %w", domain, err)
		}
	}
	if key != "" {
		keyID = &key
	}
	return types.ServerSideEncryption(sse), keyID, nil
}

// put writes an object in one request and gives its entity tag. With fresh it fails where there is an object already.
func (s *Store) put(ctx context.Context, domain, key, mark string, b *buffer, fresh bool) (part, error) {
	mode, keyID, err := s.encryption(ctx, domain)
	if err != nil {
		return part{}, err
	}
	crc := b.checksum()
	in := &s3.PutObjectInput{
		Bucket: &s.options.Bucket, Key: &key, Body: b.reader(), ContentLength: &b.size,
		ChecksumCRC32C: encodeCRC(crc), Metadata: map[string]string{markName: mark},
		ServerSideEncryption: mode, SSEKMSKeyId: keyID,
	}
	if fresh {
		in.IfNoneMatch = aws.String("*")
	}
	limited, cancel := within(ctx, transferTime)
	defer cancel()
	out, err := s.client.PutObject(limited, in)
	if err != nil {
		return part{}, err
	}
	return part{etag: aws.ToString(out.ETag), crc: crc}, nil
}

// encodeCRC writes a CRC-32C as S3 does: big-endian, in base64
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
func encodeCRC(sum uint32) *string {
	return aws.String(base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum)))
}

// head asks about the object at a key.
func (s *Store) head(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	limited, cancel := within(ctx, shortTime)
	defer cancel()
	return s.client.HeadObject(limited, &s3.HeadObjectInput{Bucket: &s.options.Bucket, Key: &key})
}

// readTail fills an empty buffer with the tail of a stage. ErrNotFound: it is gone or another's.
func (s *Store) readTail(ctx context.Context, st blob.Stage, t tail, b *buffer) error {
	limited, cancel := within(ctx, transferTime)
	defer cancel()
	key := s.tailKey(st, t)
	out, err := s.client.GetObject(limited, &s3.GetObjectInput{Bucket: &s.options.Bucket, Key: &key})
	if err != nil {
		return err
	}
	// What the body says on closing is of no use: every byte has been read and checked, or there is an error already.
	defer func() { _ = out.Body.Close() }()
	if out.Metadata[markName] != t.mark {
		return fmt.Errorf("%w: another round's bytes are in their place", blob.ErrNotFound)
	}
	if size := aws.ToInt64(out.ContentLength); size != t.size {
		return fmt.Errorf("%w: %d bytes are stored in place of %d", blob.ErrDamaged, size, t.size)
	}
	if err := b.fill(out.Body, t.size); err != nil {
		return err
	}
	if b.checksum() != t.crc {
		return fmt.Errorf("%w: the checksum is another", blob.ErrDamaged)
	}
	return nil
}

func (s *Store) tailKey(st blob.Stage, t tail) string {
	if t.final {
		return s.copyKey(st.Domain, st.ID)
	}
	return s.roundKey(st.Domain, st.ID, t.mark)
}

// remove deletes an object; one that is not there is no error.
func (s *Store) remove(ctx context.Context, key string) error {
	limited, cancel := within(ctx, shortTime)
	defer cancel()
	_, err := s.client.DeleteObject(limited, &s3.DeleteObjectInput{Bucket: &s.options.Bucket, Key: &key})
	if err != nil && !isMissing(err) {
		return err
	}
	return nil
}

// abort ends a multipart upload without an object; one that is not there is no error.
func (s *Store) abort(ctx context.Context, key, id string) error {
	limited, cancel := within(ctx, shortTime)
	defer cancel()
	_, err := s.client.AbortMultipartUpload(limited,
		&s3.AbortMultipartUploadInput{Bucket: &s.options.Bucket, Key: &key, UploadId: &id})
	if err != nil && !isMissing(err) {
		return err
	}
	return nil
}

// sweep removes what nobody needs any more. What it cannot remove costs space and nothing else, so that the work
// that it follows has not failed; the audits find it.
func (s *Store) sweep(ctx context.Context, keys ...string) {
	ctx = context.WithoutCancel(ctx)
	for _, key := range keys {
		if err := s.remove(ctx, key); err != nil {
			s.log.WarnContext(ctx, "an object that nobody needs was left in the bucket", "key", key, "error", err)
		}
	}
}

// stageState reads a stage's state and checks that it is of this stage.
func stageState(st blob.Stage) (state, error) {
	if err := checkNames(st.Domain, st.ID); err != nil {
		return state{}, err
	}
	cur, err := decodeState(st.State)
	if err != nil {
		return state{}, fmt.Errorf("stage %s: %w", st.ID, err)
	}
	switch {
	case st.Size < 0:
		return state{}, fmt.Errorf("stage %s has the size %d", st.ID, st.Size)
	case len(st.State) == 0 && st.Size > 0:
		return state{}, fmt.Errorf("stage %s: %w: nothing is known of its %d bytes", st.ID, blob.ErrNotFound, st.Size)
	case cur.size() != st.Size:
		return state{}, fmt.Errorf("stage %s: %w: it tells of %d bytes and the stage of %d", st.ID, errState, cur.size(), st.Size)
	}
	return cur, nil
}

// errShort is an answer that ended before its end.
var errShort = errors.Join(errors.New("the answer of S3 broke off"), io.ErrUnexpectedEOF)
