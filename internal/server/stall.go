package server

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// stallTimeout is how long a client may neither send nor take a byte. A layer
// may take hours; a connection that stands still holds a session for nothing.
const stallTimeout = time.Minute

// unstalled cuts connections that stand still for timeout, also those whose
// request was refused before its body was read.
func unstalled(next http.Handler, timeout time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		moving := &movingWriter{ResponseWriter: w, c: http.NewResponseController(w), timeout: timeout}
		if r.Body != nil && r.Body != http.NoBody {
			moving.body = &movingBody{ReadCloser: r.Body, c: moving.c, timeout: timeout}
			// A copy: net/http looks at its own request's body to decide whether it
			// is worth reading to the end.
			r = r.WithContext(r.Context())
			r.Body = moving.body
		}
		moving.start()
		next.ServeHTTP(moving, r)
		moving.finish()
	})
}

// movingBody gives every read its own deadline. Between reads there is none,
// since the server may take its time.
type movingBody struct {
	io.ReadCloser
	c       *http.ResponseController
	timeout time.Duration
	ended   bool // nothing is left to read
}

func (b *movingBody) Read(p []byte) (int, error) {
	if err := b.c.SetReadDeadline(time.Now().Add(b.timeout)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || errors.Is(err, io.EOF)
	if clear := b.c.SetReadDeadline(time.Time{}); clear != nil && err == nil {
		err = clear
	}
	return n, err
}

// movingWriter moves the deadline forward as bytes are taken, at most once in
// a while: the clock is cheaper than the system call.
type movingWriter struct {
	http.ResponseWriter
	c       *http.ResponseController
	timeout time.Duration
	body    *movingBody // of the request; nil when it has none
	next    time.Time   // when the deadline is to be moved again
}

// start takes off the deadline that the connection's last request left.
func (w *movingWriter) start() {
	_ = w.c.SetWriteDeadline(time.Time{}) // a connection that is gone fails when it is used
}

func (w *movingWriter) Write(p []byte) (int, error) {
	if now := time.Now(); now.After(w.next) {
		if err := w.c.SetWriteDeadline(now.Add(w.timeout)); err != nil {
			return 0, err
		}
		w.limitRest(now)
		w.next = now.Add(w.timeout / 4)
	}
	return w.ResponseWriter.Write(p)
}

// finish bounds what net/http does after the handler: it reads what the
// handler left of the body, and sends what is buffered of the answer.
func (w *movingWriter) finish() {
	now := time.Now()
	_ = w.c.SetWriteDeadline(now.Add(w.timeout)) // a connection that is gone needs no deadline
	w.limitRest(now)
}

// limitRest bounds the reading of the rest of the body, which net/http does
// before it sends the answer. The deadline ends with the request: net/http sets
// its own for the next one.
func (w *movingWriter) limitRest(now time.Time) {
	if w.body != nil && !w.body.ended {
		_ = w.c.SetReadDeadline(now.Add(w.timeout)) // as above
	}
}

// Unwrap serves http.ResponseController.
func (w *movingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
