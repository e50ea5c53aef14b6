package event

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"berth/internal/meta"
	"berth/internal/registry"
)

// A Target is a sink as operators name it.
type Target struct {
	scheme string
	path   string   // of a file
	url    *url.URL // of everything else
}

var errTarget = errors.New("the sink of events is not of the form file:PATH, https://HOST/PATH, eventbridge://BUS?region=REGION or securityhub://?region=REGION: see --event-sink")

// The parts of names of sinks at AWS: a bus (API_PutEventsRequestEntry), an
// account, and parameters with their forms.
var (
	busName    = regexp.MustCompile(`^[A-Za-z0-9._-]{1,256}$`)
	account    = regexp.MustCompile(`^([0-9]{12})?$`)
	parameters = map[string]*regexp.Regexp{
		"region":        regexp.MustCompile(`^[a-z0-9-]{1,32}$`),
		"endpoint":      regexp.MustCompile(`^https?://[A-Za-z0-9._:\[\]-]+/?$`),
		"source-prefix": regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`),
	}
)

// atAWS checks the name of a sink at AWS.
func atAWS(u *url.URL, host *regexp.Regexp, allowed ...string) bool {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || !host.MatchString(u.Host) || u.User != nil || u.Path != "" || u.Fragment != "" || q.Get("region") == "" {
		return false
	}
	for k, v := range q {
		if !slices.Contains(allowed, k) || len(v) != 1 || !parameters[k].MatchString(v[0]) {
			return false
		}
	}
	return true
}

// ParseTarget reads the name of a sink. Errors do not quote it, since a URL may
// have a secret in it.
func ParseTarget(text string) (Target, error) {
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok || rest == "" || strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
		return Target{}, errTarget
	}
	if scheme == "file" {
		return Target{scheme: scheme, path: rest}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return Target{}, errTarget
	}
	switch {
	case (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Fragment == "":
		return Target{scheme: u.Scheme, url: u}, nil
	case u.Scheme == "eventbridge" && atAWS(u, busName, "region", "endpoint", "source-prefix"),
		u.Scheme == "securityhub" && atAWS(u, account, "region", "endpoint"):
		return Target{scheme: u.Scheme, url: u}, nil
	}
	return Target{}, errTarget
}

// Name tells sinks apart. It has nothing of a URL that may be secret.
func (t Target) Name() string {
	if t.scheme == "file" {
		if path, err := filepath.Abs(t.path); err == nil {
			return "file:" + path
		}
		return "file:" + t.path
	}
	if t.scheme == "eventbridge" || t.scheme == "securityhub" {
		return t.scheme + "://" + t.url.Host + "?" + t.url.Query().Encode()
	}
	return (&url.URL{Scheme: t.url.Scheme, Host: t.url.Host, Path: t.url.Path, RawPath: t.url.RawPath}).String()
}

// Settings are what sinks need besides their names.
type Settings struct {
	Secret   []byte // of webhooks
	Now      func() time.Time
	DB       *meta.DB
	Registry *registry.Registry // whose findings Security Hub is told
}

// Open makes sinks of their names, each of which may be there once.
func Open(ctx context.Context, names []string, s Settings) ([]Sink, error) {
	var out []Sink
	seen := map[string]bool{}
	for _, name := range names {
		t, err := ParseTarget(name)
		if err != nil {
			return nil, err
		}
		sink, err := t.open(ctx, s)
		if err != nil {
			return nil, err
		}
		if seen[sink.Name()] {
			return nil, fmt.Errorf("the sink of events %s is given twice: see --event-sink", sink.Name())
		}
		seen[sink.Name()] = true
		out = append(out, sink)
	}
	return out, nil
}

func (t Target) open(ctx context.Context, s Settings) (Sink, error) {
	switch t.scheme {
	case "file":
		return openFile(t)
	case "eventbridge":
		return openBridge(ctx, t)
	case "securityhub":
		return openHub(ctx, t, s)
	default:
		if len(s.Secret) < MinSecret {
			return nil, fmt.Errorf("a webhook needs a secret of at least %d bytes, with which events are signed: give --event-secret-file, or set BERTH_EVENT_SECRET", MinSecret)
		}
		return newWebhook(t, s.Secret, s.Now), nil
	}
}

func openFile(t Target) (Sink, error) {
	path := strings.TrimPrefix(t.Name(), "file:")
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("the directory of the file of events %s does not exist: make it, or give another one with --event-sink", path)
	}
	return &fileSink{path}, nil
}
