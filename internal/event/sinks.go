package event

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// A Target is a sink as operators name it.
type Target struct {
	scheme string
	path   string   // of a file
	url    *url.URL // of everything else
}

var errTarget = errors.New("the sink of events is not of the form file:PATH or https://HOST/PATH: see --event-sink")

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
	return (&url.URL{Scheme: t.url.Scheme, Host: t.url.Host, Path: t.url.Path, RawPath: t.url.RawPath}).String()
}

// Settings are what sinks need besides their names.
type Settings struct {
	Secret []byte // of webhooks
	Now    func() time.Time
}

// Open makes sinks of their names, each of which may be there once.
func Open(_ context.Context, names []string, s Settings) ([]Sink, error) {
	var out []Sink
	seen := map[string]bool{}
	for _, name := range names {
		t, err := ParseTarget(name)
		if err != nil {
			return nil, err
		}
		sink, err := t.open(s)
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

func (t Target) open(s Settings) (Sink, error) {
	switch t.scheme {
	case "file":
		return openFile(t)
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
