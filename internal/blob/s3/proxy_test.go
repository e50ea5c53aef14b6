package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A proxy stands between the store and a server: it names and counts the requests, and lets a test answer them.
type proxy struct {
	mu    sync.Mutex
	seen  []string
	heads []http.Header

	// answer is asked before each request with its operation and how many of that operation came before; nil, nil
	// passes the request on.
	answer func(op string, n int, r *http.Request) (*http.Response, error)
	// after may change what the server answered.
	after func(op string, n int, r *http.Response) (*http.Response, error)
}

// operation names a request of S3 by its method and query.
func operation(r *http.Request) string {
	q, object := r.URL.Query(), strings.Count(strings.Trim(r.URL.Path, "/"), "/") > 0
	switch {
	case q.Has("list-type"):
		return "ListObjects"
	case q.Has("uploads") && r.Method == http.MethodGet:
		return "ListUploads"
	case q.Has("uploads"):
		return "Create"
	case q.Has("uploadId"):
		switch r.Method {
		case http.MethodGet:
			return "ListParts"
		case http.MethodPost:
			return "Complete"
		case http.MethodDelete:
			return "Abort"
		}
		if r.Header.Get("X-Amz-Copy-Source") != "" {
			return "PartCopy"
		}
		return "Part"
	case !object:
		return "HeadBucket"
	}
	return map[string]string{
		http.MethodGet: "Get", http.MethodHead: "Head", http.MethodPut: "Put", http.MethodDelete: "Delete",
	}[r.Method]
}

func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	op := operation(r)
	p.mu.Lock()
	n := 0
	for _, s := range p.seen {
		if s == op {
			n++
		}
	}
	p.seen, p.heads = append(p.seen, op), append(p.heads, r.Header.Clone())
	answer, after := p.answer, p.after
	p.mu.Unlock()
	if answer != nil {
		response, err := answer(op, n, r)
		if response != nil || err != nil {
			if r.Body != nil {
				err = errors.Join(err, r.Body.Close())
			}
			if err != nil {
				return nil, err
			}
			return response, nil
		}
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && after != nil {
		return after(op, n, response)
	}
	return response, err
}

// take returns the operations since the last call, for each how often, in the order of their names.
func (p *proxy) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := map[string]int{}
	for _, op := range p.seen {
		counts[op]++
	}
	p.seen, p.heads = nil, nil
	var words []string
	for op, n := range counts {
		words = append(words, fmt.Sprintf("%s %d", op, n))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

func (p *proxy) set(answer func(string, int, *http.Request) (*http.Response, error),
	after func(string, int, *http.Response) (*http.Response, error),
) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.after, p.seen, p.heads = answer, after, nil, nil
}

// respond is an answer that S3 could have given.
func respond(r *http.Request, status int, code string) *http.Response {
	body := ""
	if code != "" && r.Method != http.MethodHead {
		body = `<?xml version="1.0"?><Error><Code>` + code + `</Code><Message>made up</Message></Error>`
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/xml"}}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// always answers each request of an operation in the same way.
func always(op string, status int, code string) func(string, int, *http.Request) (*http.Response, error) {
	return func(got string, _ int, r *http.Request) (*http.Response, error) {
		if got != op {
			return nil, nil
		}
		return respond(r, status, code), nil
	}
}

// cut ends a body after n bytes, as a broken connection does.
type cut struct {
	io.Reader
	io.Closer
}

func cutBody(r *http.Response, n int64) *http.Response {
	r.Body = cut{io.MultiReader(io.LimitReader(r.Body, n), broken{}), r.Body}
	return r
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOperationsAreTold(t *testing.T) {
	for _, c := range []struct{ method, target, want string }{
		{"GET", "/b?list-type=2", "ListObjects"}, {"GET", "/b?uploads", "ListUploads"}, {"POST", "/b/k?uploads", "Create"},
		{"PUT", "/b/k?partNumber=1&uploadId=x", "Part"}, {"PUT", "/b/k", "Put"}, {"HEAD", "/b", "HeadBucket"}, {"HEAD", "/b/k", "Head"},
	} {
		r, err := http.NewRequest(c.method, "http://h"+c.target, bytes.NewReader(nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := operation(r); got != c.want {
			t.Errorf("%s %s is %s, want %s", c.method, c.target, got, c.want)
		}
	}
}
