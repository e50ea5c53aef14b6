package trail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/access"
	"berth/internal/trail"
)

var quiet = slog.New(slog.DiscardHandler)

// deciding answers as its action says.
type deciding struct{}

func (deciding) Authorize(_ context.Context, q access.Request) error {
	switch q.Action {
	case "ecr:Deny":
		return &access.DeniedError{Principal: q.Principal, Action: q.Action, Resource: q.Resource, Cause: access.NoIdentityAllow}
	case "ecr:Fail":
		return errors.New("the database at secret.example is gone")
	}
	return nil
}

func record(t *testing.T, line string) (r trail.Record) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return r
}

func TestRecord(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	var out bytes.Buffer
	log := trail.New(&out, quiet, func() time.Time { return now })
	authorize := trail.Authorizer(deciding{})
	req := httptest.NewRequest("GET", "http://registry/v2/app/blobs/x?ticket=SECRET", nil)
	req.RemoteAddr = "10.1.2.3:4567"
	req.Header.Set("Authorization", "Basic SECRET")
	req.Header.Set("User-Agent", "crane\n{}\x00")
	w := httptest.NewRecorder()
	req, finish := log.Begin("oci", w, req)
	for _, action := range []string{"ecr:Allow", "ecr:Deny", "ecr:Fail"} {
		err := authorize.Authorize(req.Context(), access.Request{Principal: access.Root("000000000000", "KEY"), Action: action, Resource: "arn"})
		if (err == nil) != (action == "ecr:Allow") {
			t.Errorf("%s: %v", action, err)
		}
	}
	now = now.Add(1500 * time.Millisecond)
	finish(http.StatusForbidden)
	if n := strings.Count(out.String(), "\n"); n != 1 || strings.Contains(out.String(), "SECRET") || strings.Contains(out.String(), "secret.example") {
		t.Fatalf("%d lines: %s", n, out.String())
	}
	r := record(t, out.String())
	want := trail.Record{
		Time: now.Add(-1500 * time.Millisecond), RequestID: w.Header().Get("x-amzn-RequestId"), Door: "oci", SourceIP: "10.1.2.3",
		UserAgent: "crane\n{}\x00", Method: "GET", Path: "/v2/app/blobs/x", Status: 403, Millis: 1500,
		Principal: "arn:aws:iam::000000000000:root", AccessKey: "KEY",
		Decisions: []trail.Decision{
			{Action: "ecr:Allow", Resource: "arn", Decision: "allow"},
			{Action: "ecr:Deny", Resource: "arn", Decision: "deny", Reason: "User: arn:aws:iam::000000000000:root is not authorized to perform: ecr:Deny on resource: arn because no identity-based policy allows the ecr:Deny action"},
			{Action: "ecr:Fail", Resource: "arn", Decision: "error", Reason: "no decision could be made; the server's log says why"},
		},
	}
	if fmt.Sprint(r) != fmt.Sprint(want) || r.RequestID == "" {
		t.Errorf("%+v\nwant\n%+v", r, want)
	}
}

// Without a log a request has its ID and the authorizer its answer.
func TestWithoutLog(t *testing.T) {
	var none *trail.Log
	w := httptest.NewRecorder()
	in := httptest.NewRequest("GET", "http://registry/", nil)
	out, finish := none.Begin("ecr", w, in)
	finish(200)
	if out != in || w.Header().Get("x-amzn-RequestId") == "" || trail.RequestID(w) != w.Header().Get("x-amzn-RequestId") {
		t.Errorf("%v", w.Header())
	}
	if err := trail.Authorizer(deciding{}).Authorize(t.Context(), access.Request{Action: "ecr:Deny"}); !access.IsDenied(err) {
		t.Error(err)
	}
}

// Lines are whole and none is lost, whatever is written at once and renamed.
func TestFileIsRenamed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	f, err := trail.OpenFile(name, 2000, 100)
	if err != nil {
		t.Fatal(err)
	}
	log := trail.New(f, quiet, time.Now)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				_, finish := log.Begin("ecr", httptest.NewRecorder(), httptest.NewRequest("POST", "http://registry/", nil))
				finish(200)
			}
		})
	}
	wg.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(name + "*")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	ids := map[string]bool{}
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil || info.Size() > 2000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			ids[record(t, line).RequestID] = true
		}
	}
	if len(ids) != 160 {
		t.Errorf("%d records, want 160", len(ids))
	}
}

func TestOldFilesGo(t *testing.T) {
	for keep := range 3 {
		name := filepath.Join(t.TempDir(), "audit.log")
		f, err := trail.OpenFile(name, 5, keep)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			if _, err := fmt.Fprintf(f, "line%d", i); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(name + "*")
		if err != nil || len(files) != keep+1 {
			t.Errorf("keep %d: %v, %v", keep, files, err)
		}
		if text, err := os.ReadFile(name); err != nil || string(text) != "line5" {
			t.Errorf("keep %d: %q, %v", keep, text, err)
		}
	}
}

// failing is a disk that is full for a while.
type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left--; f.left >= 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

// A log that cannot be written stops nobody, and says so once.
func TestFullDisk(t *testing.T) {
	var said bytes.Buffer
	log := trail.New(&failing{left: 3}, slog.New(slog.NewTextHandler(&said, nil)), time.Now)
	for range 5 {
		_, finish := log.Begin("ecr", httptest.NewRecorder(), httptest.NewRequest("POST", "http://registry/", nil))
		finish(200)
	}
	if n := strings.Count(said.String(), "the audit log cannot be written"); n != 1 {
		t.Errorf("said %d times: %s", n, said.String())
	}
}
