package ociapi

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// streamBuffer is how much of a blob is read and sent at a time: a multiple of
// the packages in which blobs are sealed, which then open in place.
const streamBuffer = 256 << 10

// buffers are shared by all streams of a door.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{sync.Pool{New: func() any {
		b := make([]byte, streamBuffer)
		return &b
	}}}
}

// A streamWriter sends what net/http reads from a blob. It holds the status
// back until the first bytes are there, so that bytes that turn out to be
// damaged at once are an error and not a 200.
type streamWriter struct {
	http.ResponseWriter
	buffers *buffers
	status  int   // 0 when it was sent or none is set
	err     error // of the blob, not of the client
}

// WriteHeader implements http.ResponseWriter.
func (w *streamWriter) WriteHeader(status int) { w.status = status }

func (w *streamWriter) sendStatus() {
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
		w.status = 0
	}
}

// Write implements io.Writer, for bodies that are no blob (of 416).
func (w *streamWriter) Write(p []byte) (int, error) {
	w.sendStatus()
	return w.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom: io.Copy hands the blob over.
func (w *streamWriter) ReadFrom(r io.Reader) (n int64, err error) {
	buf := w.buffers.pool.Get().(*[]byte)
	defer w.buffers.pool.Put(buf)
	for {
		k, rerr := io.ReadFull(r, *buf)
		if rerr != nil && !errors.Is(rerr, io.EOF) && !errors.Is(rerr, io.ErrUnexpectedEOF) {
			w.err = rerr
			return n, rerr
		}
		if k > 0 {
			written, werr := w.Write((*buf)[:k])
			n += int64(written)
			if werr != nil {
				return n, werr
			}
		}
		if rerr != nil {
			return n, nil
		}
	}
}

// finish sends the status of an answer without a body. Damage found before
// anything was sent comes back as an error that can still be answered; damage
// found later cuts the connection, since the answer cannot be made whole.
func (w *streamWriter) finish() error {
	switch {
	case w.err == nil:
		w.sendStatus()
		return nil
	case w.status != 0:
		for _, name := range []string{"Content-Length", "Content-Range", "Accept-Ranges", "Etag", "Docker-Content-Digest"} {
			w.Header().Del(name)
		}
		return w.err
	default:
		panic(http.ErrAbortHandler) // net/http's own way to cut a connection
	}
}
