package policy

import (
	"encoding/json"
	"errors"
	"strings"
)

// maxDepth bounds nesting; a policy needs seven levels.
const maxDepth = 12

// kind is the type of a JSON value.
type kind string

const (
	object  kind = "object"
	array   kind = "array"
	text    kind = "string"
	number  kind = "number"
	boolean kind = "boolean"
	null    kind = "null"
)

// String returns the kind with its article, for reasons.
func (k kind) String() string {
	switch k {
	case null:
		return "null"
	case object, array:
		return "an " + string(k)
	}
	return "a " + string(k)
}

// node is a JSON value that remembers where it stood.
type node struct {
	kind    kind
	offset  int
	text    string // of a string, number or boolean
	items   []*node
	members []member
}

type member struct {
	name   string
	offset int
	value  *node
}

func (n *node) get(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// reader builds nodes from the token stream of encoding/json.
type reader struct {
	text string
	dec  *json.Decoder
}

// readJSON reads exactly one value. The syntax is checked first as a whole,
// which gives exact places of errors.
func readJSON(s string) (*node, *fault) {
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(s), &raw); err != nil {
		offset := len(s)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = int(syntax.Offset) - 1
		}
		return nil, faultAt(offset, "not JSON: %w", err)
	}
	r := &reader{text: s, dec: json.NewDecoder(strings.NewReader(s))}
	r.dec.UseNumber()
	return r.value(0)
}

// next is the offset at which the next token starts.
func (r *reader) next() int {
	i := int(r.dec.InputOffset())
	for i < len(r.text) && strings.IndexByte(" \t\r\n,:", r.text[i]) >= 0 {
		i++
	}
	return i
}

func (r *reader) token() (json.Token, *fault) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, faultAt(r.next(), "not JSON: %w", err)
	}
	return tok, nil
}

func (r *reader) value(depth int) (*node, *fault) {
	n := &node{offset: r.next()}
	tok, f := r.token()
	if f != nil {
		return nil, f
	}
	switch v := tok.(type) {
	case json.Delim:
		if depth >= maxDepth {
			return nil, faultAt(n.offset, "nested deeper than %d levels", maxDepth)
		}
		if v == '[' {
			n.kind = array
			return n, r.array(n, depth)
		}
		n.kind = object
		return n, r.object(n, depth)
	case string:
		n.kind, n.text = text, v
	case json.Number:
		n.kind, n.text = number, v.String()
	case bool:
		n.kind, n.text = boolean, "false"
		if v {
			n.text = "true"
		}
	default:
		n.kind = null
	}
	return n, nil
}

func (r *reader) array(n *node, depth int) *fault {
	for r.dec.More() {
		item, f := r.value(depth + 1)
		if f != nil {
			return f
		}
		n.items = append(n.items, item)
	}
	_, f := r.token()
	return f
}

func (r *reader) object(n *node, depth int) *fault {
	seen := map[string]bool{}
	for r.dec.More() {
		m := member{offset: r.next()}
		tok, f := r.token()
		if f != nil {
			return f
		}
		name, ok := tok.(string)
		if !ok {
			return faultAt(m.offset, "not JSON: a member name must be a string")
		}
		if seen[name] {
			return faultAt(m.offset, "member %q occurs twice", clip(name))
		}
		seen[name] = true
		m.name = name
		if m.value, f = r.value(depth + 1); f != nil {
			return f
		}
		n.members = append(n.members, m)
	}
	_, f := r.token()
	return f
}
