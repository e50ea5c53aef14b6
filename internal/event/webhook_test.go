package event_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
)

// A receiver is a webhook as docs/events.md shows one.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []string
	status func(n int, id string) int // of the nth request
	n      int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// verify is the example of docs/events.md.
func verify(secret []byte, header http.Header, body []byte) error {
	stamp := header.Get("Berth-Timestamp")
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	if want := "v1=" + hex.EncodeToString(mac.Sum(nil)); !hmac.Equal([]byte(want), []byte(header.Get("Berth-Signature"))) {
		return errors.New("the signature is wrong")
	}
	var seconds int64
	if _, err := fmt.Sscan(stamp, &seconds); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return errors.New("the request is old")
	}
	return nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err == nil {
		err = verify(settings.Secret, q.Header, body)
	}
	var e struct{ ID string }
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil || e.ID != q.Header.Get("Berth-Event-Id") || q.Header.Get("Content-Type") != "application/json" {
		http.Error(w, fmt.Sprint("wrong request: ", err), http.StatusForbidden)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	if r.status != nil {
		if code := r.status(r.n, e.ID); code != http.StatusOK {
			http.Error(w, strings.Repeat("no ", 1<<20), code)
			return
		}
	}
	r.got = append(r.got, e.ID)
}

func (r *receiver) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func openOne(t *testing.T, name string) event.Sink {
	t.Helper()
	sinks, err := event.Open(t.Context(), []string{name}, settings)
	if err != nil {
		t.Fatal(err)
	}
	return sinks[0]
}

// A webhook gets signed events, again after it failed, in the order of each image.
func TestWebhook(t *testing.T) {
	r := newRig(t)
	hook := newReceiver(t)
	hook.status = func(n int, _ string) int {
		if n <= 3 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	r.run("one", openOne(t, hook.URL+"/hook?token=t"))
	r.emit("x", 1, 2, 3)
	r.emit("y", 1, 2)
	eventually(t, "all arrive", func() bool { r.advance(time.Second); return len(hook.taken()) == 5 })
	if got := only(hook.taken(), "x"); !slices.Equal(got, []string{"x1", "x2", "x3"}) {
		t.Errorf("got %q", got)
	}
}

// What a webhook says decides whether it is about the event or about the webhook.
func TestWebhookAnswers(t *testing.T) {
	hook := newReceiver(t)
	sink := openOne(t, hook.URL+"/hook?token=hidden")
	e := meta.Event{UUID: "x1", Scope: home, Resources: "[]", Detail: "{}"}
	for code, want := range map[int]string{200: "", 204: "", 302: "sink", 400: "event", 401: "sink", 404: "sink", 413: "event", 422: "event", 429: "sink", 500: "sink"} {
		hook.status = func(int, string) int { return code }
		if code == 204 {
			hook.status = nil
		}
		err := sink.Deliver(t.Context(), []meta.Event{e})[0]
		var refused *event.RefusedError
		got := ""
		switch {
		case errors.As(err, &refused):
			got = "event"
		case err != nil:
			got = "sink"
		}
		if got != want || err != nil && (len(err.Error()) > 5000 || strings.Contains(err.Error(), "hidden")) {
			t.Errorf("%d: %q, %.200v", code, got, err)
		}
	}
	hook.Close()
	if err := sink.Deliver(t.Context(), []meta.Event{e})[0]; err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("a webhook that is away: %v", err)
	}
}
