package terraform_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A front is an address that stays while the servers behind it change. It passes requests on untouched (the signature
// covers the host), notes which operations they call, and can refuse some of them.
type front struct {
	url   string
	proxy *httputil.ReverseProxy

	mu      sync.Mutex
	target  *url.URL
	calls   []string
	refused string
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			f.mu.Lock()
			target := f.target
			f.mu.Unlock()
			if target == nil {
				target = &url.URL{Scheme: "http", Host: "127.0.0.1:1"} // nobody has the lane
			}
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// lead sends what comes to a server, until the test ends.
func (f *front) lead(t *testing.T, endpoint string) {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	set := func(target *url.URL) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.target, f.calls, f.refused = target, nil, ""
	}
	set(target)
	t.Cleanup(func() { set(nil) })
}

// refuse answers one operation with AccessDeniedException until it is called with "".
func (f *front) refuse(operation string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = operation
}

// writes returns the operations called since the last time that change something, sorted.
func (f *front) writes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := slices.DeleteFunc(f.calls, func(operation string) bool {
		return strings.HasPrefix(operation, "Describe") || strings.HasPrefix(operation, "Get") || strings.HasPrefix(operation, "List")
	})
	f.calls = nil
	slices.Sort(list)
	return list
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	f.mu.Lock()
	if operation != "" {
		f.calls = append(f.calls, operation)
	}
	refuse := operation != "" && operation == f.refused
	f.mu.Unlock()
	if !refuse {
		f.proxy.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	if _, err := io.WriteString(w, `{"__type":"AccessDeniedException","message":"refused by the test"}`); err != nil {
		panic(http.ErrAbortHandler)
	}
}
