package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// rawModel is the part of a botocore service-2.json that carries facts.
type rawModel struct {
	Metadata struct {
		APIVersion   string `json:"apiVersion"`
		TargetPrefix string `json:"targetPrefix"`
		JSONVersion  string `json:"jsonVersion"`
		Protocol     string `json:"protocol"`
	} `json:"metadata"`
	Operations map[string]rawOperation `json:"operations"`
	Shapes     map[string]rawShape     `json:"shapes"`
}

type rawRef struct {
	Shape string `json:"shape"`
}

type rawOperation struct {
	Name   string   `json:"name"`
	Input  rawRef   `json:"input"`
	Output rawRef   `json:"output"`
	Errors []rawRef `json:"errors"`
}

type rawShape struct {
	Type      string     `json:"type"`
	Required  []string   `json:"required"`
	Members   rawMembers `json:"members"`
	Member    rawRef     `json:"member"`
	Key       rawRef     `json:"key"`
	Value     rawRef     `json:"value"`
	Min       *int64     `json:"min"`
	Max       *int64     `json:"max"`
	Pattern   string     `json:"pattern"`
	Enum      []string   `json:"enum"`
	Exception bool       `json:"exception"`
	Fault     bool       `json:"fault"`
	Error     struct {
		HTTPStatusCode int `json:"httpStatusCode"`
	} `json:"error"`
}

// rawMembers keeps the members of a structure in the order the model writes them: the validator reports in that order.
type rawMembers []member

func (r *rawMembers) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return errors.Join(fmt.Errorf("members must be an object, not %v", tok), err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var ref rawRef
		if err := dec.Decode(&ref); err != nil {
			return err
		}
		*r = append(*r, member{Name: fmt.Sprint(key), Shape: ref.Shape})
	}
	return nil
}

// overlay is a hand-written addition to a model; Comment says where its facts come from.
type overlay struct {
	Comment    string           `json:"comment"`
	Operations []operation      `json:"operations"`
	Shapes     map[string]shape `json:"shapes"`
}

func reduceFile(modelPath, overlayPath, source, out string) error {
	data, err := readMaybeGzip(modelPath)
	if err != nil {
		return err
	}
	var raw rawModel
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("read %s: %w", modelPath, err)
	}
	var extra overlay
	if overlayPath != "" {
		if err := loadStrict(overlayPath, &extra); err != nil {
			return err
		}
	}
	m, err := reduce(raw, extra)
	if err != nil {
		return fmt.Errorf("reduce %s: %w", modelPath, err)
	}
	m.Source = source
	text, err := m.encode()
	if err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o644)
}

// reduce keeps the facts of raw, adds extra, and drops the shapes that no operation leads to.
func reduce(raw rawModel, extra overlay) (*model, error) {
	if raw.Metadata.Protocol != "json" || raw.Metadata.JSONVersion != "1.1" {
		return nil, fmt.Errorf("protocol is %s %s, only json 1.1 is understood", raw.Metadata.Protocol, raw.Metadata.JSONVersion)
	}
	m := &model{
		APIVersion:   raw.Metadata.APIVersion,
		TargetPrefix: raw.Metadata.TargetPrefix,
		Shapes:       map[string]shape{},
	}
	for name, s := range raw.Shapes {
		m.Shapes[name] = s.reduce()
	}
	for name, s := range extra.Shapes {
		if _, ok := m.Shapes[name]; ok {
			return nil, fmt.Errorf("the overlay redefines shape %q: remove it from the overlay", name)
		}
		m.Shapes[name] = s
	}
	for _, op := range raw.Operations {
		o := operation{Name: op.Name, Input: op.Input.Shape, Output: op.Output.Shape}
		for _, e := range op.Errors {
			o.Errors = append(o.Errors, e.Shape)
		}
		m.Operations = append(m.Operations, o)
	}
	for _, op := range extra.Operations {
		if _, ok := raw.Operations[op.Name]; ok {
			return nil, fmt.Errorf("the overlay redefines operation %q: remove it from the overlay", op.Name)
		}
		m.Operations = append(m.Operations, op)
	}
	slices.SortFunc(m.Operations, func(a, b operation) int { return strings.Compare(a.Name, b.Name) })
	return m, m.prune(slices.Collect(maps.Keys(extra.Shapes)))
}

// prune drops the shapes that neither an operation nor an exception named in keep leads to.
func (m *model) prune(keep []string) error {
	var roots []string
	for _, op := range m.Operations {
		roots = append(roots, op.Input, op.Output)
		roots = append(roots, op.Errors...)
	}
	for _, name := range keep {
		if m.Shapes[name].Exception {
			roots = append(roots, name)
		}
	}
	used, err := m.reachable(roots)
	if err != nil {
		return err
	}
	maps.DeleteFunc(m.Shapes, func(name string, _ shape) bool { return !used[name] })
	return nil
}

func (r rawShape) reduce() shape {
	s := shape{
		Type: r.Type, Members: r.Members, Member: r.Member.Shape, Key: r.Key.Shape, Value: r.Value.Shape,
		Min: r.Min, Max: r.Max, Pattern: r.Pattern, Enum: r.Enum, Exception: r.Exception,
	}
	for i := range s.Members {
		s.Members[i].Required = slices.Contains(r.Required, s.Members[i].Name)
	}
	if r.Exception {
		// AWS JSON 1.1 answers 400 for a client's fault and 500 for the service's, unless the model says otherwise.
		s.Status = 400
		if r.Fault {
			s.Status = 500
		}
		if r.Error.HTTPStatusCode != 0 {
			s.Status = r.Error.HTTPStatusCode
		}
	}
	return s
}

func readMaybeGzip(path string) (data []byte, err error) {
	data, err = os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".gz") {
		return data, err
	}
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if data, err = io.ReadAll(zr); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, zr.Close()
}
