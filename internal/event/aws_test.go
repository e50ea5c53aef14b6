package event_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/access/token"
	"berth/internal/blob/file"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/seal/sealtest"
	"berth/internal/testkit"
)

// A cloud answers PutEvents and BatchImportFindings of requests that are signed
// for it, and keeps what it was given.
type cloud struct {
	*httptest.Server
	mu       sync.Mutex
	entries  []map[string]any          // of PutEvents
	findings map[string]map[string]any // by id
	calls    int
	fail     func(key string) string // an error code for an event's detail or a finding's id
	down     bool
}

type oneKey struct{}

const keyID, secretKey = "AKIAEXAMPLEEXAMPLE00", "secretsecretsecretsecretsecretsecretsecr"

func (oneKey) Secret(_ context.Context, id, _ string) (sigv4.Secret, error) {
	if id != keyID {
		return sigv4.Secret{}, sigv4.ErrUnknownKey
	}
	return sigv4.Secret{SecretAccessKey: secretKey, Active: true, Principal: access.Principal{Account: home.Account, AccessKeyID: id}}, nil
}

func newCloud(t *testing.T) *cloud {
	t.Setenv("AWS_ACCESS_KEY_ID", keyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	c := &cloud{findings: map[string]map[string]any{}}
	verifier := sigv4.New(oneKey{}, time.Now, sigv4.Options{Services: []string{"events", "securityhub"}})
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = verifier.Verify(r, body)
		}
		if err != nil {
			http.Error(w, `{"__type":"InvalidSignatureException","message":"`+err.Error()+`"}`, http.StatusForbidden)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls++
		switch {
		case c.down:
			http.Error(w, `{"__type":"InternalException","message":"down"}`, http.StatusInternalServerError)
		case r.Header.Get("X-Amz-Target") == "AWSEvents.PutEvents":
			c.putEvents(w, body)
		case r.URL.Path == "/findings/import":
			c.importFindings(w, body)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) code(key string) string {
	if c.fail == nil {
		return ""
	}
	return c.fail(key)
}

func (c *cloud) putEvents(w http.ResponseWriter, body []byte) {
	var in struct{ Entries []map[string]any }
	if err := json.Unmarshal(body, &in); err != nil || len(in.Entries) > 10 {
		http.Error(w, `{"__type":"ValidationException"}`, http.StatusBadRequest)
		return
	}
	out := struct{ Entries []map[string]string }{}
	for _, e := range in.Entries {
		code := c.code(fmt.Sprint(e["Detail"]))
		if strings.HasPrefix(fmt.Sprint(e["Source"]), "aws.") {
			code = "NotAuthorizedForSourceException"
		}
		if code != "" {
			out.Entries = append(out.Entries, map[string]string{"ErrorCode": code, "ErrorMessage": "no"})
			continue
		}
		c.entries = append(c.entries, e)
		out.Entries = append(out.Entries, map[string]string{"EventId": "1"})
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (c *cloud) importFindings(w http.ResponseWriter, body []byte) {
	var in struct{ Findings []map[string]any }
	if err := json.Unmarshal(body, &in); err != nil || len(in.Findings) > 100 || len(in.Findings) == 0 {
		http.Error(w, `{"message":"bad"}`, http.StatusBadRequest)
		return
	}
	failed := []map[string]string{}
	taken := 0
	for _, f := range in.Findings {
		id := fmt.Sprint(f["Id"])
		code := c.code(id)
		for _, k := range []string{"SchemaVersion", "Id", "ProductArn", "GeneratorId", "AwsAccountId", "CreatedAt", "UpdatedAt", "Title", "Description", "Resources", "Types", "Severity"} {
			if f[k] == nil || f[k] == "" {
				code = "InvalidInput " + k
			}
		}
		if code != "" {
			failed = append(failed, map[string]string{"Id": id, "ErrorCode": code, "ErrorMessage": "no"})
			continue
		}
		taken++
		c.findings[id] = f
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"FailedCount": len(failed), "SuccessCount": taken, "FailedFindings": failed})
}

func TestEventBridge(t *testing.T) {
	r, c := newRig(t), newCloud(t)
	c.fail = func(detail string) string {
		if strings.Contains(detail, `"id":"z1"`) {
			return "MalformedDetail"
		}
		return ""
	}
	r.emit("x", 1, 2)
	r.emit("y", 1)
	r.emit("z", 1)
	runner, _ := r.run("one", openOne(t, "eventbridge://bus-1?region=eu-west-1&endpoint="+c.URL))
	count := func() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.entries) }
	eventually(t, "three events arrive", func() bool { return count() == 3 })
	eventually(t, "the fourth is refused", func() bool { return runner.Counts().Failed.Load() > 0 })
	c.mu.Lock()
	defer c.mu.Unlock()
	var order []string
	for _, e := range c.entries {
		if e["EventBusName"] != "bus-1" || e["Source"] != "berth.ecr" || e["DetailType"] != "ECR Image Action" || e["Time"] != 1.7e9 {
			t.Errorf("entry %v", e)
		}
		var d struct{ Berth map[string]string }
		if err := json.Unmarshal([]byte(e["Detail"].(string)), &d); err != nil || d.Berth["account"] != home.Account || d.Berth["region"] != home.Region {
			t.Errorf("detail %v, %v", e["Detail"], err)
		}
		order = append(order, d.Berth["id"])
	}
	if got := only(order, "x"); !slices.Equal(got, []string{"x1", "x2"}) {
		t.Errorf("got %q", order)
	}
}

// Without the right keys nothing is taken, and nothing is lost.
func TestEventBridgeVerifies(t *testing.T) {
	c := newCloud(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	sink := openOne(t, "eventbridge://bus-1?region=eu-west-1&endpoint="+c.URL)
	var refused *event.RefusedError
	err := sink.Deliver(t.Context(), []meta.Event{{UUID: "u", Resources: "[]", Detail: "{}"}})[0]
	if err == nil || errors.As(err, &refused) || len(c.entries) > 0 {
		t.Errorf("%v", err)
	}
}

// A hub is Security Hub beside a registry with a repository app.
type hub struct {
	*cloud
	t        *testing.T
	rig      *rig
	registry *registry.Registry
	sink     event.Sink
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{cloud: newCloud(t), t: t, rig: newRig(t)}
	dir := t.TempDir()
	ring, keys := sealtest.New(t, h.rig.db, dir, h.rig.clock)
	blobs, err := file.Open(file.System{}, dir, ring)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.New(bytes.Repeat([]byte{7}, token.KeySize), h.rig.clock)
	if err != nil {
		t.Fatal(err)
	}
	h.registry = registry.New(registry.Options{
		DB: h.rig.db, Blobs: blobs, Seal: ring, KMS: keys, Cursors: tokens, Log: slog.New(slog.DiscardHandler), Now: h.rig.clock,
		Host: func(meta.Scope) string { return "registry.test" },
	})
	if _, err := h.registry.CreateRepository(t.Context(), home, registry.NewRepository{Name: "app"}); err != nil {
		t.Fatal(err)
	}
	sinks, err := event.Open(t.Context(), []string{"securityhub://?region=us-east-1&endpoint=" + h.URL},
		event.Settings{Now: h.rig.clock, DB: h.rig.db, Registry: h.registry})
	if err != nil {
		t.Fatal(err)
	}
	h.sink = sinks[0]
	h.rig.run("one", h.sink)
	return h
}

func (h *hub) push(tag string) testkit.Content {
	h.t.Helper()
	img := testkit.RandomImage(h.t, 1, 100)
	for _, b := range img.Blobs {
		if _, err := h.registry.PutBlob(h.t.Context(), home, "app", b.Descriptor.Digest, bytes.NewReader(b.Bytes)); err != nil {
			h.t.Fatal(err)
		}
	}
	_, err := h.registry.PutImage(h.t.Context(), home, "app", registry.Push{Body: img.Root.Bytes, MediaType: img.Root.Descriptor.MediaType, Tags: []string{tag}})
	if err != nil {
		h.t.Fatal(err)
	}
	return img
}

// scan scans an image again and finds what is given.
func (h *hub) scan(ref registry.ImageRef, found ...registry.Finding) {
	h.t.Helper()
	h.rig.advance(25 * time.Hour) // one scan a day
	if _, err := h.registry.StartScan(h.t.Context(), home, "app", ref); err != nil {
		h.t.Fatal(err)
	}
	job, ok, err := h.registry.ClaimScan(h.t.Context(), time.Minute)
	if err != nil || !ok {
		h.t.Fatal("no scan waits", err)
	}
	if err := h.registry.FinishScan(h.t.Context(), job, registry.ScanOutcome{Status: "COMPLETE", Findings: found, Counts: map[string]int32{}}); err != nil {
		h.t.Fatal(err)
	}
}

func cve(n int, severity string) registry.Finding {
	return registry.Finding{
		Name: fmt.Sprintf("CVE-2024-%04d", n), Severity: severity, Package: "openssl", Version: "1:3.0.11-1~deb12u2", Manager: "OS", Ecosystem: "Debian:12",
		Fixed: "3.0.14-1", Vector: "CVSS:3.1/AV:N", CVSSVersion: "3.1", Score: 7.5, References: make([]string, 20), URL: "https://example.com/cve",
		Layer: "sha256:aa", Arch: "amd64", Platform: "DEBIAN_12", Description: strings.Repeat("ä", 2000),
	}
}

// states are the findings that Security Hub has, as "CVE state workflow label".
func (h *hub) states() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []string{}
	for _, f := range h.findings {
		workflow := ""
		if w, ok := f["Workflow"].(map[string]any); ok {
			workflow = fmt.Sprint(w["Status"])
		}
		out = append(out, strings.TrimSpace(fmt.Sprint(f["Title"].(string)[:13], " ", f["RecordState"], " ", f["Severity"].(map[string]any)["Label"], " ", workflow)))
	}
	slices.Sort(out)
	return out
}

func (h *hub) want(want ...string) {
	h.t.Helper()
	defer func() {
		if h.t.Failed() {
			h.t.Logf("Security Hub has %q, not %q", h.states(), want)
		}
	}()
	eventually(h.t, "Security Hub is in step", func() bool { h.rig.advance(time.Second); return slices.Equal(h.states(), want) })
}

// Security Hub is told of what a scan finds, of what changes, and that it is over
// when it is fixed, archived or deleted; after it was down, of all of this.
func TestSecurityHub(t *testing.T) {
	h := newHub(t)
	img := h.push("v1")
	ref := registry.ImageRef{Tag: "v1"}
	h.scan(ref, cve(1, "HIGH"), cve(2, "UNDEFINED"))
	h.want("CVE-2024-0001 ACTIVE HIGH NEW", "CVE-2024-0002 ACTIVE INFORMATIONAL NEW")
	h.mu.Lock()
	h.down = true
	h.mu.Unlock()
	h.scan(ref, cve(1, "CRITICAL"), cve(3, "LOW"))
	h.mu.Lock()
	h.down = false
	h.mu.Unlock()
	h.want("CVE-2024-0001 ACTIVE CRITICAL", "CVE-2024-0002 ARCHIVED INFORMATIONAL RESOLVED", "CVE-2024-0003 ACTIVE LOW NEW")

	// Nothing that is known is told again.
	h.mu.Lock()
	before := h.calls
	h.mu.Unlock()
	h.scan(ref, cve(1, "CRITICAL"), cve(3, "LOW"))
	h.rig.emit("other", 1) // of an image that is not there; taken after the scan's
	eventually(t, "all is delivered", func() bool {
		due := true
		err := h.rig.db.View(t.Context(), func(tx *meta.Tx) (err error) {
			fresh, err := tx.HasFreshEvents()
			if err == nil {
				due, err = tx.HasDueDeliveries(h.sink.Name(), h.rig.clock())
			}
			due = due || fresh
			return err
		})
		return err == nil && !due
	})
	h.mu.Lock()
	if h.calls != before {
		t.Errorf("%d requests tell what is known", h.calls-before)
	}
	h.mu.Unlock()

	if _, _, err := h.registry.SetStorageClass(t.Context(), home, "app", ref, registry.StorageArchive); err != nil {
		t.Fatal(err)
	}
	h.want("CVE-2024-0001 ARCHIVED CRITICAL RESOLVED", "CVE-2024-0002 ARCHIVED INFORMATIONAL RESOLVED", "CVE-2024-0003 ARCHIVED LOW RESOLVED")
	if _, _, err := h.registry.DeleteImages(t.Context(), home, "app", []registry.ImageRef{{Digest: img.Digest().String()}}); err != nil {
		t.Fatal(err)
	}

	// An image that goes with its repository.
	h.push("v2")
	h.scan(registry.ImageRef{Tag: "v2"}, cve(4, "MEDIUM"))
	known := []string{"CVE-2024-0001 ARCHIVED CRITICAL RESOLVED", "CVE-2024-0002 ARCHIVED INFORMATIONAL RESOLVED", "CVE-2024-0003 ARCHIVED LOW RESOLVED"}
	h.want(append(known, "CVE-2024-0004 ACTIVE MEDIUM NEW")...)
	if _, err := h.registry.DeleteRepository(t.Context(), home, "app", true); err != nil {
		t.Fatal(err)
	}
	h.want(append(known, "CVE-2024-0004 ARCHIVED MEDIUM RESOLVED")...)
}

// Many findings go in requests of a hundred; what Security Hub does not take of
// them is sent again, and alone.
func TestSecurityHubTakesSome(t *testing.T) {
	h := newHub(t)
	tries := 0
	h.fail = func(id string) string {
		if strings.HasSuffix(id, "7") {
			if tries++; tries < 40 {
				return "InternalError"
			}
		}
		return ""
	}
	h.push("v1")
	var many []registry.Finding
	for i := range 250 {
		many = append(many, cve(i, "LOW"))
	}
	h.scan(registry.ImageRef{Tag: "v1"}, many...)
	eventually(t, "all are known", func() bool { h.rig.advance(time.Minute); return len(h.states()) == 250 })
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.findings {
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		r := f["Resources"].([]any)[0].(map[string]any)
		v := f["Vulnerabilities"].([]any)[0].(map[string]any)
		p := v["VulnerablePackages"].([]any)[0].(map[string]any)
		if f["ProductArn"] != "arn:aws:securityhub:us-east-1:000000000000:product/000000000000/default" || r["Type"] != "AwsEcrContainerImage" ||
			!strings.HasPrefix(r["Id"].(string), "arn:aws:ecr:us-east-1:000000000000:repository/app/sha256:") ||
			p["Epoch"] != "1" || p["Version"] != "3.0.11" || p["Release"] != "1~deb12u2" || v["FixAvailable"] != "YES" ||
			len(v["ReferenceUrls"].([]any)) > 10 || len([]rune(f["Description"].(string))) > 1024 || !strings.HasPrefix(f["Id"].(string), "arn:aws:inspector2:us-east-1:") {
			t.Fatalf("finding %s", text)
		}
	}
}

// An image whose findings are of the type of scanning before is resolved too when
// it is archived.
func TestSecurityHubAfterAnotherTypeOfScanning(t *testing.T) {
	h := newHub(t)
	h.push("v1")
	h.scan(registry.ImageRef{Tag: "v1"}, cve(1, "HIGH"))
	h.want("CVE-2024-0001 ACTIVE HIGH NEW")
	if _, err := h.registry.SetScanConfig(t.Context(), home, registry.ScanConfig{Type: registry.ScanEnhanced}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.registry.SetStorageClass(t.Context(), home, "app", registry.ImageRef{Tag: "v1"}, registry.StorageArchive); err != nil {
		t.Fatal(err)
	}
	h.want("CVE-2024-0001 ARCHIVED HIGH RESOLVED")
}
