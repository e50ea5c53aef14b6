package ecr

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Limits of the parser.
const (
	maxDepth = 64      // nested arrays and objects
	maxNodes = 1 << 16 // values of the model in one body; the largest legitimate request has a few hundred
)

// node is one value of the model as the body has it. Only values that the model knows become nodes.
type node struct {
	present bool    // false for absent and for null
	text    string  // string
	num     int64   // integer, long; boolean as 0 or 1; timestamp in milliseconds
	float   float64 // double
	blob    []byte  // base64 text of a blob, a part of the body if nothing was escaped
	kids    []node  // members in model order, elements, or map values
	keys    []string
	size    int // elements of a list or map, counting those beyond the maximum, which are not kept
}

// parser reads JSON (RFC 8259) guided by shapes: what the model does not know is checked and skipped.
type parser struct {
	scanner
	depth int
	nodes int
}

// parse reads body as one value of the shape. Errors are *SerializationError.
func parse(shape *Shape, body []byte) (node, error) {
	p := &parser{scanner: scanner{buf: body}}
	n, err := p.value(shape)
	if err != nil {
		return node{}, err
	}
	if p.peek(); p.pos < len(p.buf) {
		return node{}, p.syntax("unexpected text after the value")
	}
	return n, nil
}

// value reads one value. With a nil shape it checks the syntax and returns nothing.
func (p *parser) value(shape *Shape) (node, error) {
	if shape != nil {
		if p.nodes++; p.nodes > maxNodes {
			return node{}, p.syntax(fmt.Sprintf("more than %d values", maxNodes))
		}
	}
	switch c := p.peek(); {
	case c == '{':
		return p.nested(shape, "Start of structure or map", p.object, KindStructure, KindMap)
	case c == '[':
		return p.nested(shape, "Start of list", p.array, KindList)
	case c == '"':
		return p.stringValue(shape)
	case c == '-' || c >= '0' && c <= '9':
		return p.numberValue(shape)
	case c == 't':
		return p.boolean(shape, "true", 1)
	case c == 'f':
		return p.boolean(shape, "false", 0)
	case c == 'n':
		return node{}, p.literal("null")
	}
	return node{}, p.unexpected()
}

// nested reads an object or array with read, if the shape allows one here.
func (p *parser) nested(shape *Shape, token string, read func(*Shape) (node, error), allowed ...Kind) (node, error) {
	if shape != nil && !slices.Contains(allowed, shape.Kind) {
		return node{}, &SerializationError{Reason: token + " found where not expected"}
	}
	if p.depth++; p.depth > maxDepth {
		return node{}, p.syntax(fmt.Sprintf("nested more than %d levels deep", maxDepth))
	}
	p.pos++
	n, err := read(shape)
	p.depth--
	return n, err
}

func (p *parser) object(shape *Shape) (node, error) {
	n := node{present: true}
	if shape != nil && shape.Kind == KindStructure {
		n.kids = make([]node, len(shape.Members))
	}
	for first := true; ; first = false {
		done, err := p.next('}', first)
		if done || err != nil {
			return n, err
		}
		key, err := p.key()
		if err != nil {
			return n, err
		}
		if err := p.member(shape, &n, key); err != nil {
			return n, err
		}
	}
}

// member reads the value of one member of an object into n.
func (p *parser) member(shape *Shape, n *node, key []byte) error {
	if shape != nil && shape.Kind == KindMap {
		return p.entry(shape, n, string(key))
	}
	if shape != nil {
		for i := range shape.Members {
			if m := &shape.Members[i]; m.Name == string(key) {
				kid, err := p.value(m.Shape)
				n.kids[i] = kid
				return within(err, m.Name)
			}
		}
	}
	_, err := p.value(nil)
	return err
}

// entry reads the value of one entry of a map into n, in place of an earlier one with the same key.
func (p *parser) entry(shape *Shape, n *node, key string) error {
	value, err := p.value(shape.Elem)
	if err != nil {
		return within(err, key)
	}
	for i := range n.keys {
		if n.keys[i] == key {
			n.kids[i] = value
			return nil
		}
	}
	n.size++
	n.keys = append(n.keys, key)
	n.kids = append(n.kids, value)
	return nil
}

func (p *parser) array(shape *Shape) (node, error) {
	n := node{present: true}
	for first := true; ; first = false {
		done, err := p.next(']', first)
		if done || err != nil {
			return n, err
		}
		var elem *Shape
		if shape != nil {
			// One element too many settles the matter: the others only need to be JSON.
			if elem = shape.Elem; shape.Max != nil && int64(n.size) >= *shape.Max {
				elem = nil
			}
		}
		kid, err := p.value(elem)
		if err != nil {
			return n, within(err, element(n.size))
		}
		n.size++
		if elem != nil {
			n.kids = append(n.kids, kid)
		}
	}
}

func (p *parser) stringValue(shape *Shape) (node, error) {
	raw, escaped, err := p.str()
	if err != nil || shape == nil {
		return node{}, err
	}
	switch shape.Kind {
	case KindString:
		if escaped {
			raw = unescape(raw)
		}
		return node{present: true, text: string(raw)}, nil
	case KindBlob:
		if escaped {
			raw = unescape(raw)
		}
		return node{present: true, blob: raw}, nil
	}
	return node{}, wrongType("STRING_VALUE", shape)
}

func (p *parser) numberValue(shape *Shape) (node, error) {
	raw, err := p.number()
	if err != nil || shape == nil {
		return node{}, err
	}
	n := node{present: true}
	switch shape.Kind {
	case KindInteger:
		n.num, err = integer(raw, math.MinInt32, math.MaxInt32)
	case KindLong:
		n.num, err = integer(raw, math.MinInt64, math.MaxInt64)
	case KindDouble:
		n.float, err = strconv.ParseFloat(raw, 64)
	case KindTimestamp:
		n.num, err = parseEpoch(raw)
	default:
		return node{}, wrongType("NUMBER_VALUE", shape)
	}
	if err != nil {
		return node{}, &SerializationError{Reason: fmt.Sprintf("the number %.40s does not fit the type %s", raw, shape.Kind)}
	}
	return n, nil
}

func (p *parser) boolean(shape *Shape, literal string, num int64) (node, error) {
	if err := p.literal(literal); err != nil || shape == nil {
		return node{}, err
	}
	if shape.Kind != KindBoolean {
		return node{}, wrongType(strings.ToUpper(literal)+"_VALUE", shape)
	}
	return node{present: true, num: num}, nil
}

// integer reads a JSON number that is whole, however it is written: 10, 10.0 and 1e1 are the same.
func integer(raw string, low, high int64) (int64, error) {
	v, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(raw, 64)
		const exact = 1 << 53 // every whole float up to here is exact
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > exact {
			return 0, err
		}
		v = int64(f)
	}
	if v < low || v > high {
		return 0, strconv.ErrRange
	}
	return v, nil
}

// wrongType words the refusal of a value of the wrong JSON type as AWS JSON services do
// ("NUMBER_VALUE cannot be converted to String", quoted in ca98am79/connect-dynamodb#100).
func wrongType(token string, shape *Shape) error {
	return &SerializationError{Reason: token + " cannot be converted to " + shape.Kind.String()}
}
