package s3

import (
	"crypto/md5"
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"
)

// chunkSize is in what steps a buffer grows.
const chunkSize = 256 << 10

// A pool lends chunks to buffers.
type pool struct {
	chunks sync.Pool
	lent   atomic.Int64 // chunks that buffers hold
}

func (p *pool) get() *[chunkSize]byte {
	p.lent.Add(1)
	if c, ok := p.chunks.Get().(*[chunkSize]byte); ok {
		return c
	}
	return new([chunkSize]byte)
}

// A buffer holds the bytes of one part in chunks of a pool. Readers of a buffer may be many at a time; writing and
// reading may not overlap.
type buffer struct {
	pool   *pool
	chunks []*[chunkSize]byte
	size   int64
}

// write takes as much of p as fits below the limit.
func (b *buffer) write(p []byte, limit int64) int {
	p = p[:min(int64(len(p)), limit-b.size)]
	for rest := p; len(rest) > 0; {
		at := b.size % chunkSize
		if at == 0 {
			b.chunks = append(b.chunks, b.pool.get())
		}
		n := copy(b.chunks[len(b.chunks)-1][at:], rest)
		b.size, rest = b.size+int64(n), rest[n:]
	}
	return len(p)
}

// fill appends n bytes of a reader.
func (b *buffer) fill(r io.Reader, n int64) error {
	for n > 0 {
		at := b.size % chunkSize
		if at == 0 {
			b.chunks = append(b.chunks, b.pool.get())
		}
		space := b.chunks[len(b.chunks)-1][at:min(chunkSize, at+n)]
		if _, err := io.ReadFull(r, space); err != nil {
			return err
		}
		b.size, n = b.size+int64(len(space)), n-int64(len(space))
	}
	return nil
}

// checksum is the CRC-32C of the bytes.
func (b *buffer) checksum() uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var sum uint32
	for i := range b.chunks {
		sum = crc32.Update(sum, table, b.chunk(i))
	}
	return sum
}

// md5 is the MD5 sum of the bytes.
func (b *buffer) md5() []byte {
	sum := md5.New()
	for i := range b.chunks {
		sum.Write(b.chunk(i)) // a hash returns no error
	}
	return sum.Sum(nil)
}

func (b *buffer) chunk(i int) []byte {
	return b.chunks[i][:min(chunkSize, b.size-int64(i)*chunkSize)]
}

// free gives the chunks back. The buffer is empty then and can be used again.
func (b *buffer) free() {
	for _, c := range b.chunks {
		b.pool.chunks.Put(c)
	}
	b.pool.lent.Add(-int64(len(b.chunks)))
	b.chunks, b.size = nil, 0
}

func (b *buffer) reader() io.ReadSeeker { return &bufferReader{b: b} }

// A bufferReader reads a buffer from its beginning. It seeks, which the SDK needs to sign and to try again.
type bufferReader struct {
	b  *buffer
	at int64
}

func (r *bufferReader) Read(p []byte) (int, error) {
	if r.at >= r.b.size {
		return 0, io.EOF
	}
	n := copy(p, r.b.chunk(int(r.at / chunkSize))[r.at%chunkSize:])
	r.at += int64(n)
	return n, nil
}

func (r *bufferReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.b.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning of a part")
	}
	r.at = offset
	return offset, nil
}
