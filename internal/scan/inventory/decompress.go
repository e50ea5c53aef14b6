package inventory

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory of zstd; encoders stay below without --long.
const maxWindow = 128 << 20

// decompress reads a layer as its first bytes say, whatever its media type is.
func decompress(r io.Reader) (io.Reader, func(), error) {
	const buffered = 64 << 10
	in := bufio.NewReaderSize(r, buffered)
	head, err := in.Peek(4)
	if err != nil && len(head) == 0 && err != io.EOF {
		return nil, nil, fmt.Errorf("read the layer: %w", err)
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, unreadable(err)
		}
		return z, func() { _ = z.Close() }, nil // it only reads
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, unreadable(err)
		}
		return z, z.Close, nil
	}
	return in, func() {}, nil
}
