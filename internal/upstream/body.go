package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

var errStalled = errors.New("no byte came in time")

// A body fails when it stands still. net/http itself fails when it is shorter
// than was announced.
type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
	host   string
}

func newBody(r io.ReadCloser, cancel context.CancelCauseFunc, stall time.Duration, host string) *body {
	return &body{r, cancel, time.AfterFunc(stall, func() { cancel(errStalled) }), stall, host}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop() // whoever reads may take its time
	if err != nil && err != io.EOF {
		err = fail(Unavailable, b.host, err, "broke off a blob (%s)", reason(err))
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

func rangeFrom(n int64) string { return fmt.Sprintf("bytes=%d-", n) }

var contentRange = regexp.MustCompile(`^bytes (\d+)-(\d+)/(\d+)$`)

// partOf reads the size of the whole from an answer to a range that goes to the
// end (RFC 9110, section 14.4).
func partOf(resp *http.Response, from int64) (whole int64, ok bool) {
	m := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range"))
	if resp.StatusCode != http.StatusPartialContent || m == nil || m[1] != strconv.FormatInt(from, 10) {
		return 0, false
	}
	whole, err := strconv.ParseInt(m[3], 10, 64)
	last, err2 := strconv.ParseInt(m[2], 10, 64)
	return whole, err == nil && err2 == nil && last == whole-1
}
