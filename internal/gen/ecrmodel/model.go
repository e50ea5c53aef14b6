package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// model is the reduced service model, as stored in model.json.
type model struct {
	Source       string           `json:"source"`
	APIVersion   string           `json:"apiVersion"`
	TargetPrefix string           `json:"targetPrefix"`
	Operations   []operation      `json:"operations"`
	Shapes       map[string]shape `json:"shapes"`
}

// operation names the shapes of one API operation; Errors are exception shape names in model order.
type operation struct {
	Name   string   `json:"name"`
	Input  string   `json:"input"`
	Output string   `json:"output"`
	Errors []string `json:"errors,omitempty"`
}

// shape is one type of the model. Min and Max bound a value (numbers), a length (strings, blobs) or a size (lists).
type shape struct {
	Type      string   `json:"type"`
	Members   []member `json:"members,omitempty"`
	Member    string   `json:"member,omitempty"`
	Key       string   `json:"key,omitempty"`
	Value     string   `json:"value,omitempty"`
	Min       *int64   `json:"min,omitempty"`
	Max       *int64   `json:"max,omitempty"`
	Pattern   string   `json:"pattern,omitempty"`
	Enum      []string `json:"enum,omitempty"`
	Exception bool     `json:"exception,omitempty"`
	Status    int      `json:"status,omitempty"`
}

// member is one member of a structure; Name is the name on the wire.
type member struct {
	Name     string `json:"name"`
	Shape    string `json:"shape"`
	Required bool   `json:"required,omitempty"`
}

// refs lists the shapes s refers to, in model order.
func (s shape) refs() []string {
	var names []string
	for _, m := range s.Members {
		names = append(names, m.Shape)
	}
	for _, n := range []string{s.Member, s.Key, s.Value} {
		if n != "" {
			names = append(names, n)
		}
	}
	return names
}

// reachable returns the set of shapes that roots lead to, roots included.
func (m *model) reachable(roots []string) (map[string]bool, error) {
	seen := map[string]bool{}
	var visit func(name, from string) error
	visit = func(name, from string) error {
		if seen[name] {
			return nil
		}
		s, ok := m.Shapes[name]
		if !ok {
			return fmt.Errorf("%s refers to shape %q, which the model does not define", from, name)
		}
		seen[name] = true
		for _, ref := range s.refs() {
			if err := visit(ref, name); err != nil {
				return err
			}
		}
		return nil
	}
	for _, root := range roots {
		if err := visit(root, "an operation"); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

func loadModel(path string) (*model, error) {
	var m model
	if err := loadStrict(path, &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// encode is the text of model.json: members in the order of the structs, map keys sorted, patterns readable.
func (m *model) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(m)
	return b.Bytes(), err
}

// loadStrict reads JSON that we wrote by hand or ourselves, so a member it does not know is a mistake.
func loadStrict(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
