package event

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Target is a sink as operators name it.
type Target struct {
	scheme string
	path   string // of a file
}

var errTarget = errors.New("the sink of events is not of the form file:PATH: see --event-sink")

// ParseTarget reads the name of a sink. Errors do not quote it, since a URL may
// have a secret in it.
func ParseTarget(text string) (Target, error) {
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok || rest == "" || strings.ContainsRune(text, 0) {
		return Target{}, errTarget
	}
	switch scheme {
	case "file":
		return Target{scheme: scheme, path: rest}, nil
	}
	return Target{}, errTarget
}

// Open makes sinks of their names, each of which may be there once.
func Open(_ context.Context, names []string) ([]Sink, error) {
	var out []Sink
	seen := map[string]bool{}
	for _, name := range names {
		t, err := ParseTarget(name)
		if err != nil {
			return nil, err
		}
		s, err := t.open()
		if err != nil {
			return nil, err
		}
		if seen[s.Name()] {
			return nil, fmt.Errorf("the sink of events %s is given twice: see --event-sink", s.Name())
		}
		seen[s.Name()] = true
		out = append(out, s)
	}
	return out, nil
}

func (t Target) open() (Sink, error) {
	path, err := filepath.Abs(t.path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("the directory of the file of events %s does not exist: make it, or give another one with --event-sink", path)
	}
	return &fileSink{path}, nil
}
