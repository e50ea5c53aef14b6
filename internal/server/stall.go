package server

import (
	"io"
	"net/http"
	"time"
)

// stallTimeout is how long a client may neither send nor take a byte. A layer
// may take hours; a connection that stands still holds a session for nothing.
const stallTimeout = time.Minute

// unstalled cuts connections that stopped moving.
func unstalled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &movingBody{ReadCloser: r.Body, c: c}
		}
		moving := &movingWriter{ResponseWriter: w, c: c}
		next.ServeHTTP(moving, r)
		moving.clear()
	})
}

// movingBody gives every read its own deadline. Between reads there is none,
// since the server may take its time.
type movingBody struct {
	io.ReadCloser
	c *http.ResponseController
}

func (b *movingBody) Read(p []byte) (int, error) {
	if err := b.c.SetReadDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if clear := b.c.SetReadDeadline(time.Time{}); clear != nil && err == nil {
		err = clear
	}
	return n, err
}

// movingWriter moves the deadline forward as bytes are taken, at most once in
// a while: the clock is cheaper than the system call.
type movingWriter struct {
	http.ResponseWriter
	c    *http.ResponseController
	next time.Time // when the deadline is to be moved again
}

func (w *movingWriter) Write(p []byte) (int, error) {
	if now := time.Now(); now.After(w.next) {
		if err := w.c.SetWriteDeadline(now.Add(stallTimeout)); err != nil {
			return 0, err
		}
		w.next = now.Add(stallTimeout / 4)
	}
	return w.ResponseWriter.Write(p)
}

// clear takes the deadline off for the connection's next request.
func (w *movingWriter) clear() {
	if !w.next.IsZero() {
		_ = w.c.SetWriteDeadline(time.Time{}) // a connection that is gone has no next request
	}
}

// Unwrap serves http.ResponseController.
func (w *movingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
