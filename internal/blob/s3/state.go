package s3

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A state is what the store remembers of a stage between two rounds. Its bytes are those of the parts, in their order,
// then those of the tail.
type state struct {
	upload upload
	tail   tail
	stale  string // round of a tail object that only an earlier state needs; empty: none
}

// An upload is a multipart upload to the copy's key; one without ID was not begun.
type upload struct {
	id    string // S3's
	mark  string // that the finished object will carry
	size  int64  // bytes of all parts
	bare  bool   // begun without checksums of parts, because the first ones were copied by S3, which need not tell theirs
	parts []part
}

// A part is one that S3 has acknowledged, numbered by its place from 1.
type part struct {
	etag string
	crc  uint32 // CRC-32C of its bytes
}

// A tail is an object that holds the end of the stage; one without mark does not exist. The mark is also the last
// element of its key, unless it lies where the copy will.
type tail struct {
	mark  string
	final bool // at the copy's key
	part       // size, checksum and ETag of its bytes
	size  int64
}

func (s state) size() int64 { return s.upload.size + s.tail.size }

const (
	// maxState is what blob.Stage allows.
	maxState = 128 << 10
	// stateVersion is the first byte of every state.
	stateVersion = 1
	// maxUploadID is far beyond what servers use (Amazon's have 128 bytes).
	maxUploadID = 1024
	// maxETag bounds entity tags; those of Amazon have 32 hexadecimal digits between quotes.
	maxETag = 128
)

var markPattern = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

var errState = errors.New("the state of the stage is not one that the S3 store wrote")

// encode writes the state: 21 bytes a part where entity tags are MD5 sums, so that the most parts (maxParts) fit.
func (s state) encode() ([]byte, error) {
	b := make([]byte, 0, 128+21*len(s.upload.parts))
	b = append(b, stateVersion)
	b = appendString(b, s.stale)
	b = appendString(b, s.tail.mark)
	if s.tail.mark != "" {
		b = append(b, flag(s.tail.final))
		b = binary.AppendUvarint(b, uint64(s.tail.size))
		b = s.tail.part.append(b)
	}
	b = appendString(b, s.upload.id)
	if s.upload.id != "" {
		b = appendString(b, s.upload.mark)
		b = binary.AppendUvarint(b, uint64(s.upload.size))
		b = append(b, flag(s.upload.bare))
		b = binary.AppendUvarint(b, uint64(len(s.upload.parts)))
		for _, p := range s.upload.parts {
			b = p.append(b)
		}
	}
	if len(b) > maxState {
		return nil, fmt.Errorf("the upload has %d parts with entity tags that are too long to remember", len(s.upload.parts))
	}
	return b, nil
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// append writes a part. An entity tag of the usual form takes 16 bytes after a zero, any other its length and itself.
func (p part) append(b []byte) []byte {
	if sum, ok := md5Tag(p.etag); ok {
		b = append(append(b, 0), sum...)
	} else {
		b = appendString(b, p.etag)
	}
	return binary.BigEndian.AppendUint32(b, p.crc)
}

// md5Tag gives the sum in an entity tag that has the form of one.
func md5Tag(etag string) ([]byte, bool) {
	if len(etag) != 34 || etag[0] != '"' || etag[33] != '"' {
		return nil, false
	}
	sum, err := hex.DecodeString(etag[1:33])
	return sum, err == nil && strings.ToLower(etag) == etag
}

// decodeState reads what encode wrote and refuses everything else.
func decodeState(b []byte) (state, error) {
	if len(b) == 0 {
		return state{}, nil
	}
	if len(b) > maxState {
		return state{}, fmt.Errorf("%w: it has %d bytes", errState, len(b))
	}
	d := decoder{b: b}
	if v := d.byte(); v != stateVersion {
		return state{}, fmt.Errorf("%w: it begins with %d and this version of the program reads %d", errState, v, stateVersion)
	}
	s := state{stale: d.mark()}
	if s.tail.mark = d.mark(); s.tail.mark != "" {
		s.tail.final = d.flag()
		s.tail.size = d.size()
		s.tail.part = d.part()
	}
	if s.upload.id = d.string(maxUploadID); s.upload.id != "" {
		s.upload.mark = d.mark()
		s.upload.size = d.size()
		s.upload.bare = d.flag()
		count := d.size()
		d.check(s.upload.mark != "" && count <= maxParts && (count == 0) == (s.upload.size == 0))
		for i := int64(0); i < count && !d.bad; i++ {
			s.upload.parts = append(s.upload.parts, d.part())
		}
	}
	d.check(len(d.b) == 0)
	if d.bad {
		return state{}, errState
	}
	return s, nil
}

// A decoder takes values off the front of b until one is not as it should be.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) check(ok bool) {
	if !ok {
		d.bad, d.b = true, nil
	}
}

func (d *decoder) take(n uint64) []byte {
	d.check(n <= uint64(len(d.b)))
	if d.bad {
		return make([]byte, 4) // never read, since the whole is refused
	}
	head := d.b[:n]
	d.b = d.b[n:]
	return head
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) flag() bool {
	v := d.byte()
	d.check(v <= 1)
	return v == 1
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	// One way to write a number only, so that equal states are equal bytes.
	d.check(n > 0 && (n == 1 || d.b[n-1] != 0))
	if d.bad {
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) size() int64 {
	v := d.uvarint()
	d.check(v <= 1<<50)
	return int64(v)
}

func (d *decoder) string(most uint64) string {
	n := d.uvarint()
	d.check(n <= most)
	if d.bad {
		return ""
	}
	return string(d.take(n))
}

func (d *decoder) mark() string {
	m := d.string(32)
	d.check(m == "" || markPattern.MatchString(m))
	return m
}

func (d *decoder) part() part {
	var p part
	if n := d.uvarint(); n == 0 {
		p.etag = `"` + hex.EncodeToString(d.take(16)) + `"`
	} else {
		d.check(n <= maxETag)
		if !d.bad {
			p.etag = string(d.take(n))
			_, short := md5Tag(p.etag)
			d.check(!short)
		}
	}
	p.crc = binary.BigEndian.Uint32(d.take(4))
	return p
}
